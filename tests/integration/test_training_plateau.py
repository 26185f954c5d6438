"""A run whose end its own held-out losses decide; projections kept on the way; a control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_scale import losses, run_toy, write_photos

from molyneux.errors import UsageError
from molyneux.metrics.people import MAN, WOMAN
from molyneux.training import run as run_module
from molyneux.training.batches import TrainingSet
from molyneux.training.evaluation import Evaluator
from molyneux.training.examples import Example, Examples
from molyneux.training.features import FeatureRows
from molyneux.training.permuted import permute_captions
from molyneux.training.recipe import Recipe
from molyneux.training.schedule import levelled
from molyneux.vision.projection import load_projection

# So large a `level` that the loss of a run this short is level at once: from step 6, until 8.
PLATEAU = {
    "steps": 7, "schedule": "plateau", "whole": 0.34, "every": 2, "warmup_steps": 2,
    "level": 5.0, "level_over": 2, "captions_together": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


class StopHereError(Exception):
    """What interrupts a run."""


def stopped_at(step: int, patch: pytest.MonkeyPatch, *args: Any, **options: Any) -> None:
    """Run until a step, and no further."""
    plain = run_module.train

    def stop(done: int, loss: float) -> None:
        if done == step:
            raise StopHereError

    def interrupted(*inside: Any, **more: Any) -> Any:
        return plain(*inside[:6], stop, *inside[7:], **more)

    patch.setattr(run_module, "train", interrupted)
    with pytest.raises(StopHereError):
        run_toy(*args, **options)
    patch.setattr(run_module, "train", plain)


@pytest.mark.parametrize("features", ["cache", "live"])
def test_two_runs_that_are_resumed_equal_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    """One is stopped before its fall is decided, one within the fall."""
    made, log = run_toy(folder, tmp_path / "one", recipe=PLATEAU, features=features)
    assert len(log) == 8
    assert levelled(Recipe(**PLATEAU), log) == 6
    for step in (5, 7):
        out = tmp_path / f"stopped at {step}"
        stopped_at(step, monkeypatch, folder, out, recipe=PLATEAU, features=features)
        again, log_again = run_toy(folder, out, recipe=PLATEAU, features=features)
        assert losses(log_again) == losses(log)
        assert log_again == log
        assert torch.equal(again.linear.weight, made.linear.weight)


def test_the_end_is_told_once_it_is_decided(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And to a run that goes on after that, at once."""
    ends: list[int] = []
    notes: list[str] = []
    told = {"on_end": ends.append, "note": notes.append}
    stopped_at(7, monkeypatch, folder, tmp_path, recipe=PLATEAU, **told)
    assert ends == [8]
    assert [line for line in notes if "training ends after step 8" in line]
    notes.clear()
    run_toy(folder, tmp_path, recipe=PLATEAU, **told)
    assert ends == [8, 8]
    assert not [line for line in notes if "training ends" in line]


def test_a_finished_run_given_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    made, log = run_toy(folder, tmp_path / "one", recipe=PLATEAU)
    again, log_again = run_toy(folder, tmp_path / "one", recipe=PLATEAU)
    assert log_again == log
    assert torch.equal(again.linear.weight, made.linear.weight)


def test_projections_are_kept_on_the_way(folder: Path, tmp_path: Path) -> None:
    """Each is what a run has that ends there: the average of its weights."""
    made, _ = run_toy(folder, tmp_path, recipe={"average": 0.0}, keep_at=(3, 9))
    third = load_projection(tmp_path / "projection-000003.safetensors")
    last = load_projection(tmp_path / "projection-000009.safetensors")
    assert third.provenance["step"] == 3
    assert third.provenance["on_the_way"] is True
    assert "on_the_way" not in made.provenance
    assert not torch.equal(third.linear.weight, last.linear.weight)
    if made.provenance["step"] == 9:
        assert torch.equal(made.linear.weight, last.linear.weight)


def test_permuted_captions_are_drawn_as_before_and_with_other_photos() -> None:
    rows = [Example(Path(f"{i}"), (f"{i}.",), weight=1 + i, source="ab"[i % 2]) for i in range(9)]
    found = permute_captions(Examples(rows), 1)
    assert [row.file for row in found.rows] == [row.file for row in rows]
    assert all(a.captions != b.captions for a, b in zip(found.rows, rows, strict=True))

    def drawn(examples: list[Example]) -> list[Any]:
        return sorted((row.captions, row.weight, row.source) for row in examples)

    assert drawn(found.rows) == drawn(rows)
    assert permute_captions(Examples(rows), 1) == found != permute_captions(Examples(rows), 2)
    with pytest.raises(UsageError, match="fewer than two"):
        permute_captions(Examples(rows[:1]), 0)


def test_people_s_words_are_counted_where_captions_agree(captioner: Any) -> None:
    """Of four photos two agree on a woman, one on a man; half of a photo's captions is enough."""
    captions = [
        ("a woman with a dog.", "a lady on a bench."),
        ("a woman in red.", "a dog."),
        ("a man and a woman.", "two people."),
        ("a man on a horse.",),
    ]
    rows = [Example(Path(f"{i}"), texts) for i, texts in enumerate(captions)]
    data = TrainingSet(FeatureRows([], (1, 1)), np.arange(4), [1] * 4, Examples(rows))
    evaluator = Evaluator(captioner.language_model, captioner.layout, data)
    written = ["a woman.", "a man.", "a woman.", "a man and a dog."]
    assert evaluator.recall_of(WOMAN, written) == 0.5
    assert evaluator.recall_of(MAN, written) == 1.0
    assert evaluator.recall_of(frozenset(("giraffe",)), written) is None
