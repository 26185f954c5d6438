"""Tiny parts in the places of GPT-J, BEiT and LiMBeR's projections, as published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import (
    D_MODEL,
    PADDING_ROWS,
    ToyEncoder,
    tiny_model,
    tiny_photos,
    tiny_tokenizer,
)

from molyneux.cli import main
from molyneux.models import presets
from molyneux.models.presets import PRESETS
from molyneux.vision.encoder import PatchGrid
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, random_projection
from molyneux.weights.limber import Checkpoint, fetch_projection

D_FEATURES = 32  # of the tiny BEiT
N_PATCHES = 16


def save_gptj(folder: Path, *, rows: str = "padded") -> Path:
    """Save a tiny GPT-J: `padded` as published (a placeholder token for every padding row),
    `limber` as LiMBeR cut it (one token of its own behind the vocabulary)."""
    model, tokenizer = tiny_model("gptj"), tiny_tokenizer()
    if rows == "padded":
        tokenizer.add_tokens([f"<|extratoken_{i + 1}|>" for i in range(PADDING_ROWS)])
        assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    else:
        tokenizer.add_special_tokens({"cls_token": "<|image|>"})
        model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_few(folder: Path) -> Path:
    """Save four photos for a reference table."""
    folder.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
    return folder


def made(name: str, encoder: str, **provenance: Any) -> Projection:
    return random_projection(
        D_FEATURES,
        D_MODEL,
        6.0,
        {"language_model": name, "encoder": encoder, "layout": Layout(None).record(), **provenance},
    )


def stand_in(
    name: str, gptj: Path, encoder: Path | str, monkeypatch: pytest.MonkeyPatch, n_patches: int
) -> Checkpoint:
    """Put tiny parts into one of the paper's presets, its projections in the cache."""
    own = PRESETS[name]
    called = encoder.name if isinstance(encoder, Path) else encoder
    checkpoint = Checkpoint("own", "0" * 40, called, D_FEATURES, n_patches, D_MODEL)
    control = replace(checkpoint, name="control", encoder=f"random:{called}")
    for seed, each in enumerate((checkpoint, control)):
        _keep(each, seed, monkeypatch)
    preset = replace(
        own,
        language_model="tiny-gptj",
        language_model_source=str(gptj),
        encoder=called,
        encoder_source=str(encoder) if isinstance(encoder, Path) else None,
        published=checkpoint,
        control=control if own.control else None,
        folders=(checkpoint.folder,),
    )
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, name: preset})
    return checkpoint


def _keep(checkpoint: Checkpoint, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a projection into the cache, by the same way as a published one."""
    import io

    from molyneux.weights import limber

    generator = torch.Generator().manual_seed(seed)
    state = {
        "proj.weight": torch.randn(D_MODEL, D_FEATURES, generator=generator).bfloat16(),
        "proj.bias": torch.randn(D_MODEL, generator=generator).bfloat16(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    monkeypatch.setattr(limber, "LANGUAGE_MODEL", "tiny-gptj")
    monkeypatch.setattr(limber, "_require_blob", lambda *args: None)  # tested in test_limber
    fetch_projection(checkpoint, opener=lambda url: io.BytesIO(buffer.getvalue()))


class Pooled:
    """An encoder that pools a photo to one vector, as NF-ResNet50 does in LiMBeR."""

    def __init__(self, name: str, n_patches: int = 1) -> None:
        toy = ToyEncoder(D_FEATURES)
        self.name, self.d_features = name, D_FEATURES
        self.grid = PatchGrid(1, n_patches)
        self.preprocessing = toy.preprocessing
        self._toy, self._n = toy, n_patches

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._toy.encode(pixels).mean(dim=1, keepdim=True).expand(-1, self._n, -1)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err
