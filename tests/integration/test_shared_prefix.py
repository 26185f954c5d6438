"""Several captions behind one image prompt: the loss and gradients of captions by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_scale import losses, run_toy, write_photos
from tiny_models import tiny_language_model
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.processes import Process
from molyneux.training import loop
from molyneux.training.batches import Draws, TrainingSet, own_parts, require_split
from molyneux.training.examples import Example, Examples
from molyneux.training.features import FeatureRows
from molyneux.training.loss import IGNORED, caption_nats
from molyneux.training.recipe import Recipe
from molyneux.training.shared_prefix import plan, shared_nats, shares_prefixes

# Of float32's rounding: sums of some hundred numbers in another order.
CLOSE = 2e-5
N_PATCHES, KEPT = 6, 4
OWNERS = [0, 0, 0, 1, 2, 2]
LENGTHS = [5, 1, 3, 4, 5, 2]
# Positions are counted inside, or from the mask alone.
COUNT_THEMSELVES = ("bloom", "falcon", "falcon_7b", "falcon_rw", "opt", "opt_350m")
FLOAT64 = ("gpt2", "gptj", "gpt_neox")  # without a norm that counts in float32 whatever comes


def given(model: Any, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Return image prompts, captions' ids of `LENGTHS`, and which patches are kept."""
    generator = torch.Generator().manual_seed(1)
    scale = model.input_embeddings().std()
    prompts = scale * torch.randn(3, KEPT, model.d_model, generator=generator).to(dtype)
    ids = torch.randint(model.d_vocab, (len(LENGTHS), max(LENGTHS)), generator=generator)
    for row, length in enumerate(LENGTHS):
        ids[row, length:] = IGNORED
    kept = torch.tensor([[0, 1, 3, 5], [0, 2, 4, 5], [1, 2, 3, 4]])
    return prompts, ids, kept


def both(captioner: Any, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """Return nats and the prompts' gradient, shared and separate."""
    model, layout = captioner.language_model, captioner.layout
    found = []
    for shared in (True, False):
        prompts, ids, kept = given(model, dtype)
        prompts.requires_grad_()
        if shared:
            nats = shared_nats(model, layout, prompts, ids, OWNERS, kept, N_PATCHES)
        else:
            nats = caption_nats(model, layout, prompts[OWNERS], ids, kept[OWNERS], N_PATCHES)
        weights = torch.linspace(1, 2, len(LENGTHS))
        (gradient,) = torch.autograd.grad((nats * weights).sum(), prompts)
        found.append((nats.detach(), gradient))
    return found


def test_every_family_that_shares_has_the_same_loss_and_gradient(
    family_captioner: Any, kind: str
) -> None:
    model, layout = family_captioner.language_model, family_captioner.layout
    shares = shares_prefixes(model, layout)
    if kind not in COUNT_THEMSELVES:
        assert shares
    if shares:
        (nats, gradient), (nats_alone, gradient_alone) = both(family_captioner)
        assert (nats - nats_alone).abs().max() <= CLOSE * nats_alone.abs().max()
        assert (gradient - gradient_alone).abs().max() <= CLOSE * gradient_alone.abs().max()


@pytest.mark.parametrize("kind", FLOAT64)
def test_in_float64_they_differ_by_the_loss_s_own_float32_alone(kind: str) -> None:
    """Logits are made float32 for the loss, so that is how near two orders of its sums come."""
    from tiny_models import tiny_captioner

    captioner = tiny_captioner(kind)
    model = tiny_language_model(kind, dtype=torch.float64)
    captioner = replace(captioner, language_model=model)
    (nats, gradient), (nats_alone, gradient_alone) = both(captioner, torch.float64)
    assert (nats - nats_alone).abs().max() <= 1e-6 * nats_alone.abs().max()
    assert (gradient - gradient_alone).abs().max() <= 1e-6 * gradient_alone.abs().max()


def test_a_model_that_ignores_the_mask_is_found_out(
    captioner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = captioner.language_model
    assert shares_prefixes(model, captioner.layout)
    own = type(model).run

    def careless(self: Any, *, beside: Any, **options: Any) -> Any:
        return own(self, beside={"position_ids": beside["position_ids"]}, **options)

    monkeypatch.setattr(type(model), "run", careless)
    assert not shares_prefixes(model, captioner.layout)


def test_a_model_that_counts_positions_itself_is_found_out(
    captioner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = captioner.language_model
    own = type(model).run

    def careless(self: Any, *, beside: Any, **options: Any) -> Any:
        if beside["attention_mask"].dim() == 4:
            beside = {"attention_mask": beside["attention_mask"]}
        return own(self, beside=beside, **options)

    monkeypatch.setattr(type(model), "run", careless)
    assert not shares_prefixes(model, captioner.layout)


def test_a_plan_sees_its_own_prefix_and_caption_alone() -> None:
    """Against the definition, place by place."""
    order = plan(3, LENGTHS, OWNERS, 3)
    mask = order.mask()[:, 0]
    rows, width = order.source.shape
    for row in range(rows):
        for i in range(width):
            for j in range(width):
                one = order.photo[row, i] == order.photo[row, j]
                caption = order.caption[row, j] in (-1, order.caption[row, i])
                assert mask[row, i, j] == (i == j or bool(j < i and one and caption))
    used = order.source[order.photo >= 0]
    assert sorted(used.tolist()) == list(range(9 + sum(n - 1 for n in LENGTHS)))
    assert len(order.predicts) == sum(LENGTHS)


def test_long_photos_take_rows_of_their_own() -> None:
    order = plan(100, [20, 20, 20, 5], [0, 0, 1, 2], 3)
    assert order.source.shape == (3, 138)
    assert order.source.shape[0] * order.source.shape[1] >= 300 + 61


def toy_set(n: int, captions: Callable[[int], int]) -> TrainingSet:
    rows = [
        Example(Path(f"{i}"), tuple(f"{i} {j}." for j in range(captions(i))), weight=1 + i)
        for i in range(n)
    ]
    store = FeatureRows([np.zeros((n, 4, 2), np.float16)], (4, 2))
    return TrainingSet(store, np.arange(n), [1] * n, Examples(rows))


def test_captions_are_counted_and_drawn_by_weight() -> None:
    """Whether a photo has one caption or five, its captions are drawn as its weight says."""
    data = toy_set(4, lambda i: 5 if i % 2 else 1)
    recipe = Recipe(batch=6000, captions_together=3)
    batch = Draws(data, recipe).step(0)
    texts, owners = batch.each_caption()
    assert len(texts) == 6000
    assert [text.split()[0] for text in texts] == [str(batch.rows[owner]) for owner in owners]
    counts = np.bincount([int(text[0]) for text in texts], minlength=4) / 6000
    assert np.abs(counts - np.array([1, 2, 3, 4]) / 10).max() < 0.03
    whole = batch.captions[:-1]
    assert {len(texts) for texts in whole} == {1, 3}
    assert all(len(set(texts)) == len(texts) for texts in whole)


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (2, 2)])
def test_the_parts_of_a_step_are_the_step(world: int, accumulate: int) -> None:
    data = toy_set(5, lambda i: 4)
    batch = Draws(data, Recipe(batch=16, captions_together=4)).step(3)
    parts = [p for rank in range(world) for p in own_parts(batch, Process(rank, world), accumulate)]
    assert [text for part in parts for text in part.each_caption()[0]] == batch.each_caption()[0]
    with pytest.raises(UsageError, match=r"4 behind each photo.*give --batch 20 or more"):
        require_split(16, Process(0, 1), 5, 4)


def write_many(folder: Path) -> Path:
    """Photos of one, two or three captions."""
    write_photos(folder)
    lines = []
    texts = ["a dog.", "a man riding a small red horse.", "a cat and a dog."]
    for number in range(12):
        captions = texts[: 1 + number % 3]
        lines.append(Example(Path(f"{number}.png"), tuple(captions)))
    (folder / "captions.jsonl").write_text(
        "\n".join(json.dumps({"file": str(e.file), "captions": e.captions}) for e in lines)
    )
    return folder


TOGETHER = {"captions_together": 3, "batch": 8}


def test_a_run_is_the_same_together_and_separately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in parts, and live. Adam scales what rounding leaves of a gradient near 0."""
    folder = write_many(tmp_path / "photos")
    made, log = run_toy(folder, tmp_path / "shared", recipe=TOGETHER)
    in_parts, log_in_parts = run_toy(folder, tmp_path / "parts", recipe=TOGETHER, accumulate=2)
    live, log_live = run_toy(folder, tmp_path / "live", recipe=TOGETHER, features="live")
    monkeypatch.setattr(loop, "shares_prefixes", lambda model, layout: False)
    said: list[str] = []
    alone, log_alone = run_toy(folder, tmp_path / "alone", recipe=TOGETHER, note=said.append)
    assert any("a prompt of its own" in line for line in said)
    assert losses(log_live) == losses(log)
    assert torch.equal(live.linear.weight, made.linear.weight)
    for other, log_other in ((in_parts, log_in_parts), (alone, log_alone)):
        assert losses(log_other) == pytest.approx(losses(log), rel=1e-5)
        torch.testing.assert_close(other.linear.weight, made.linear.weight, rtol=0, atol=2e-5)


def test_a_run_that_is_resumed_equals_one_that_is_not(tmp_path: Path) -> None:
    folder = write_many(tmp_path / "photos")
    made, log = run_toy(folder, tmp_path / "one", recipe=TOGETHER)

    class StopHereError(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        if step == 6:
            raise StopHereError

    from molyneux.training import run as run_module

    plain = run_module.train

    def interrupted(*args: Any, **options: Any) -> Any:
        return plain(*args[:6], stop, *args[7:], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "train", interrupted)
        with pytest.raises(StopHereError):
            run_toy(folder, tmp_path / "two", recipe=TOGETHER)
    again, log_again = run_toy(folder, tmp_path / "two", recipe=TOGETHER)
    assert torch.equal(again.linear.weight, made.linear.weight)
    assert log_again == log
