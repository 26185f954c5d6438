"""The course of a run, worked out from its recipe and its log."""

from __future__ import annotations

from typing import Any

import pytest

from molyneux.errors import UsageError
from molyneux.training.recipe import Recipe
from molyneux.training.schedule import Course, levelled

PLATEAU = Recipe(
    steps=920, learning_rate=1.0, warmup_steps=100, schedule="plateau", whole=0.15, every=100,
    level=0.005, level_over=200,
)  # fmt: skip


def log_of(losses: dict[int, float]) -> list[dict[str, Any]]:
    return [{"step": 1, "loss": 9.0}, *({"step": s, "loss_held_out": x} for s, x in losses.items())]


def test_the_rate_stays_until_the_loss_is_level_and_falls_to_nothing() -> None:
    before = Course.of(PLATEAU, log_of({800: 2.0, 900: 1.9, 1000: 1.8}))
    assert (before.fall, before.end) == (None, None)
    assert [before.learning_rate_at(step) for step in (0, 49, 99, 5000)] == [0.01, 0.5, 1, 1]
    assert not before.shows_all(5000)
    after = Course.of(PLATEAU, log_of({800: 2.0, 900: 1.9, 1000: 1.996}))
    assert (after.fall, after.end) == (1000, 1150)
    assert [after.learning_rate_at(step) for step in (999, 1000, 1075, 1149)] == pytest.approx(
        [1, 1, 0.5, 1 / 150]
    )
    assert [after.shows_all(step) for step in (999, 1000, 1149)] == [False, True, True]


def test_it_falls_no_sooner_than_the_recipe_s_steps_allow() -> None:
    """A fall from 800 ends at 920."""
    flat = dict.fromkeys(range(100, 1000, 100), 2.0)
    assert levelled(PLATEAU, log_of(flat)) == 800


def test_the_fall_itself_changes_nothing() -> None:
    log = log_of({800: 2.0, 1000: 1.999, 1100: 1.9, 1150: 1.8})
    assert Course.of(PLATEAU, log) == Course.of(PLATEAU, log[:3])


def test_a_loss_that_is_not_measured_when_it_is_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="give an --every that divides 200"):
        Recipe(schedule="plateau", every=150, level_over=200)
