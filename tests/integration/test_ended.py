"""A command that is ended from outside: SIGTERM and SIGHUP as Ctrl-C, real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("ended")
    done = subprocess.run(
        [sys.executable, str(TESTS / "ended_process.py"), str(place)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=place,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"said": done.stderr}


def test_the_status_says_which_signal(ended: dict[str, Any]) -> None:
    others = {"explain, Ctrl-C": 130, "explain, hang-up": 129, "said": None}
    for name, case in ended.items():
        if name != "said":
            assert case["status"] == others.get(name, 143), name
    assert "interrupted by SIGTERM; nothing half-written was left behind" in ended["said"]
    assert "not foreseen" not in ended["said"]
    assert "Traceback" not in ended["said"]


def test_nothing_half_written_is_left(ended: dict[str, Any]) -> None:
    cases = [case for name, case in ended.items() if name != "said"]
    assert not [file for case in cases for file in case["left"] if file.endswith(".part")]
    for name in ("explain, first photo", "explain, Ctrl-C", "explain, hang-up", "reference"):
        assert ended[name]["left"] == [], name
    # What was finished stays, whole.
    assert "explain.json" in ended["explain, second"]["left"]


def test_the_same_command_goes_on_or_begins_anew(ended: dict[str, Any]) -> None:
    for name, case in ended.items():
        if name not in ("said", "explain, second"):
            assert case["again"] == 0, (name, ended["said"][-2000:])
    assert ended["explain, second"]["again"] == 2  # it holds a photo, which is not written over
