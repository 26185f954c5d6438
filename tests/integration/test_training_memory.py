"""What a training step holds in memory, and how accumulation and recomputing lower it."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training_scale import RECIPE, run_toy, write_photos
from tiny_models import KINDS, tiny_language_model

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.training import loop, recompute
from molyneux.training.recompute import recomputing, require_recomputing


class Held:
    """Counts the bytes that are kept for the way back, the frozen weights left out."""

    def __init__(self, model: torch.nn.Module) -> None:
        tensors = [*model.parameters(), *model.buffers()]
        self.frozen = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self.alive: Counter[int] = Counter()
        self.sizes: dict[int, int] = {}
        self.most = 0

    def _pack(self, tensor: torch.Tensor) -> Any:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        kept = _Kept(tensor)
        if place not in self.frozen:
            self.alive[place] += 1
            self.sizes[place] = storage.nbytes()
            self.most = max(self.most, sum(self.sizes.values()))
            weakref.finalize(kept, self._let_go, place)
        return kept

    def _let_go(self, place: int) -> None:
        self.alive[place] -= 1
        if not self.alive[place]:
            self.sizes.pop(place, None)

    def counting(self) -> Any:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)


class _Kept:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


def most_held(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> int:
    """Return the most bytes that any step of a run held."""
    most = 0
    true = loop._step

    def step(model: LanguageModel, *arguments: Any) -> Any:
        nonlocal most
        held = Held(model.model)
        with held.counting():
            found = true(model, *arguments)
        most = max(most, held.most)
        for parameter in model.model.parameters():
            assert parameter.grad is None  # nothing is allocated for frozen weights
        return found

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", step)
        run_toy(folder, out, recipe={"steps": 2, "batch": 12, "patches_kept": 1.0}, **options)
    return most


def test_memory_falls_with_the_parts_of_a_step(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = most_held(folder, tmp_path / "1", monkeypatch)
    for parts in (2, 4, 12):
        held = most_held(folder, tmp_path / str(parts), monkeypatch, accumulate=parts)
        assert held < 1.15 * whole / parts, parts  # parts differ in the length of their captions
    less = most_held(folder, tmp_path / "again", monkeypatch, recompute=True)
    assert less < 0.5 * whole


def gradient(model: LanguageModel) -> tuple[torch.Tensor, int]:
    noise = torch.randn(2, 12, model.d_model, generator=torch.Generator().manual_seed(1))
    embeddings = noise.requires_grad_()
    held = Held(model.model)
    with held.counting():
        model.run(inputs_embeds=embeddings).logits.logsumexp(-1).sum().backward()
    assert embeddings.grad is not None
    return embeddings.grad, held.most


@pytest.mark.parametrize("kind", KINDS)
def test_recomputed_layers_give_the_same_gradients(kind: str) -> None:
    model = tiny_language_model(kind)
    for module in model.model.modules():  # published OPT, GPT-2, ... have dropout inside layers
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    plain, bytes_held = gradient(model)
    require_recomputing(model)
    with recomputing(model):
        again, bytes_held_again = gradient(model)
    assert torch.equal(again, plain)
    # Three layers of which one is held at a time, beside the head.
    assert bytes_held_again < 0.75 * bytes_held
    assert not any(module.training for module in model.model.modules())
    after, bytes_held_after = gradient(model)
    assert bytes_held_after == bytes_held
    assert torch.equal(after, plain)


def test_dropout_of_a_layer_itself_is_refused() -> None:
    model = tiny_language_model("opt")
    for number in range(model.n_layers):
        model.layer(number).dropout = 0.1  # type: ignore[assignment]
    with pytest.raises(UsageError, match="dropout in them, probably"):
        require_recomputing(model)
    assert not any(module.training for module in model.model.modules())


@pytest.mark.parametrize("which", [0, 1])
def test_gradients_that_are_no_numbers_prove_nothing(
    monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    found = [torch.ones(3), torch.ones(3)]
    found[which][1] = float("nan")
    monkeypatch.setattr(recompute, "_gradient", lambda model: found.pop(0))
    with pytest.raises(UsageError, match="computes something else"):
        require_recomputing(tiny_language_model("llama"))


def test_a_model_that_offers_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_language_model("llama")
    for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):
        if hasattr(model.model, name):
            monkeypatch.setattr(model.model, name, refuse)
    with pytest.raises(UsageError, match=r"LlamaForCausalLM offers no recomputing \(no support\)"):
        require_recomputing(model)


def refuse(**_: Any) -> None:
    raise ValueError("no support")


def test_captions_are_written_as_ever_while_layers_are_recomputed(
    folder: Path, tmp_path: Path
) -> None:
    """The cache of keys and values, which recomputing forbids, is there at evaluations."""
    recipe = {"steps": 2, "every": 1, "batch": 4}
    _, plain = run_toy(folder, tmp_path / "plain", recipe=recipe)
    made, again = run_toy(folder, tmp_path / "again", recipe=recipe, recompute=True)
    assert again == plain
    assert all(entry["captions"] for entry in again)
    assert made.provenance["how"]["recompute"] is True
    assert replace(RECIPE, **recipe).steps == len(again)
