"""Where patches do not fill the photo, the grid covers whole patches and not a pixel more.

As with 384 pixels in patches of 14, of SigLIP: 27 patches cover 378.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders
import tiny_vlms
import torch
from PIL import Image
from tiny_models import tiny_captioner
from torch import Tensor

from molyneux.checkpoints.encoders import load_encoder
from molyneux.explain.seen import seen_photo
from molyneux.vision.encoder import prepare_pixels

# Sides in pixels, of which 4 patches (of Idefics3: 4 x 2) cover fewer.
SIDES = {"llava_onevision": (35, 32), "llava_siglip": (35, 32), "idefics3": (70, 64)}


def odd_vlm(kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a tiny model whose photos are a few pixels wider than its patches."""
    side = SIDES[kind][0]
    vision = tiny_vlms._vision(kind) | {"image_size": side}
    pins = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    square = {"height": side, "width": side}
    processors = {
        "llava_onevision": {"size": square, "image_grid_pinpoints": pins},
        "llava_siglip": {"size": square},
        "idefics3": {
            "size": {"longest_edge": 2 * side},
            "max_image_size": {"longest_edge": side},
        },
    }
    name = tiny_vlms._PROCESSORS[kind][0]
    monkeypatch.setattr(tiny_vlms, "_vision", lambda kind: vision)
    monkeypatch.setitem(tiny_vlms._PROCESSORS, kind, (name, processors[kind]))
    if kind == "llava_onevision":
        options = tiny_vlms._OPTIONS[kind] | {"image_grid_pinpoints": pins}
        monkeypatch.setitem(tiny_vlms._OPTIONS, kind, options)
    return tiny_vlms.tiny_vlm(kind)


def changed_column(photo: Image.Image, column: int) -> Image.Image:
    values = np.array(photo)
    values[:, column] = 255 - values[:, column]
    return Image.fromarray(values)


def a_photo(side: int) -> Image.Image:
    values = np.random.default_rng(0).integers(20, 90, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


def moved(before: Tensor, after: Tensor, columns: int) -> list[float]:
    """Return how far the patches of each column of the grid moved, in all."""
    distance = (after.float() - before.float()).norm(dim=-1)
    return [float(x) for x in distance.reshape(-1, columns).sum(dim=0)]


@pytest.mark.parametrize("kind", SIDES)
def test_the_patches_of_a_vision_language_model(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    side, covered = SIDES[kind]
    seeing = odd_vlm(kind, monkeypatch)
    prepare, grid = seeing.encoder.preprocessing, seeing.encoder.grid
    assert (grid.rows, grid.columns) == (4, 4)
    assert (prepare.size, prepare.under_grid) == (side, covered)
    photo = a_photo(side)
    assert prepare.region(photo) == (0, 0, covered, covered)
    assert prepare.crop_mask(torch.ones(side, side, dtype=torch.bool)).shape == (covered, covered)
    before = seeing.image_prompts([photo])[0]
    wide = covered // grid.columns
    for column in (0, wide - 1, wide, covered - wide - 1, covered - wide, covered - 1):
        after = seeing.image_prompts([changed_column(photo, column)])[0]
        of_each = moved(before, after, grid.columns)
        assert of_each.index(max(of_each)) == column // wide, column
    after = seeing.image_prompts([changed_column(photo, side - 1)])[0]
    # Idefics3's own processor resizes twice, which spreads a column over its neighbours.
    assert max(moved(before, after, grid.columns)) < (0.1 if kind == "idefics3" else 1e-4)


def test_the_patches_of_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side, covered = 70, 64
    saved, config_class, config, processor, settings = tiny_encoders.KINDS["siglip_vision_model"]
    config, settings = {**config, "image_size": side}, {"size": {"height": side, "width": side}}
    odd = (saved, config_class, config, processor, settings)
    monkeypatch.setitem(tiny_encoders.KINDS, "siglip_vision_model", odd)
    encoder = load_encoder(tiny_encoders.write_checkpoint(tmp_path, "siglip_vision_model"))
    assert encoder.preprocessing.under_grid == covered
    photo = a_photo(side)
    before, after = (
        encoder.encode(prepare_pixels(encoder, [each]))[0]
        for each in (photo, changed_column(photo, covered))
    )
    torch.testing.assert_close(before, after)

    seeing = dataclasses.replace(tiny_captioner("llama"), encoder=encoder)
    path = tmp_path / "photo.png"
    values = np.array(photo)
    values[:, covered:] = 255  # white where no patch lies: it is not shown
    Image.fromarray(values).save(path)
    shown = np.array(Image.open(io.BytesIO(seen_photo(seeing, path))))
    assert shown.shape[:2] == (covered, covered)
    assert shown[:, -4:].mean() < 120
