"""What a bar says in a log, where nobody looks at it."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from molyneux.cli import progress
from molyneux.training.recipe import Recipe


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines; each look at the clock finds a minute gone."""
    lines: list[str] = []
    minutes = itertools.count(0, 60)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(minutes)))
    monkeypatch.setattr(progress, "shows_bars", lambda: False)
    monkeypatch.setattr(progress, "note", lines.append)
    return lines


def test_more_than_was_expected_has_no_time_left_until_the_end_is_known(said: list[str]) -> None:
    bar = progress.Bar(4, "step")
    bar.reach(1)
    bar.reach(5)
    bar.expect(8)
    bar.reach(6, "loss=2.00")
    assert said == [
        "[step 1/4, 1:00, 3:00 left]",
        "[step 5, 2:00]",
        "[step 6/8, 3:00, 1:00 left]: loss=2.00",
    ]


def test_bars_of_a_run_take_an_end_before_or_after_the_first_step(said: list[str]) -> None:
    for early in (True, False):
        said.clear()
        bars = progress.Bars(Recipe(steps=4), speaks=True)
        if early:
            bars.on_end(8)
        bars.on_step(1, 2.0)
        if not early:
            bars.on_end(8)
        bars.on_step(5, 2.0)
        assert said[-1].startswith("[step 5/8, ")


def test_stages_are_one_line_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", shown)
    stages = progress.Stages()
    stages.reach("scoring every unit")
    stages.reach("what the patches say")
    stages.close()
    assert "scoring every unit" in shown.getvalue()
    assert "\n" not in shown.getvalue()
    assert shown.getvalue().split("\r")[-1].strip() == ""


def test_in_a_log_a_stage_is_said_after_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stages = progress.Stages()
    for stage, seconds in (("one", 10), ("two", 40), ("three", 50), ("four", 75)):
        now[0] = 100.0 + seconds
        stages.reach(stage)
    stages.close()
    now[0] += 20
    stages.reach("of the next photo")
    assert capsys.readouterr().err.splitlines() == ["[0:40] two", "[1:15] four"]
