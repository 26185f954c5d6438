"""`molyneux demo`: every sample photo, its credit, and captions that are known to be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from molyneux.cli import main
from molyneux.data.dataset import Item
from molyneux.data.samples import sample_items
from molyneux.models.captioner import Captioner


@pytest.fixture
def samples(captioner: Any, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """Three of the sample photos, then one more; a tiny model stands for the preset's."""
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    few = sample_items()[4:8]
    monkeypatch.setattr("molyneux.data.samples.sample_items", lambda: few)
    return few[:3]


def test_the_demo_shows_credits_and_marks_wrong_captions(
    samples: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--images", "3", "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "run" / "explain.json").read_text(encoding="utf-8"))
    assert [each["path"] for each in document["images"]] == [item.id for item in samples]
    for each, item in zip(document["images"], samples, strict=True):
        assert each["credit"] == item.credit
        assert item.credit in err
        assert item.credit in page
        assert set(each["known"]) >= {"bus"} or item.id != "bus.jpg"
    wrong = [each for each in document["images"] if each.get("agrees") is False]
    assert wrong, "a random model names what is there"
    assert out.count("people see something else here") == len(wrong)


def test_what_takes_long_is_said_unless_quiet_is_asked_for(
    samples: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--images", "1", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "loading torch and smollm2-effnet"
    assert "explaining 1 photo" in said
    assert main(["demo", "--images", "1", "--out", str(tmp_path / "other"), "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_more_photos_than_there_are_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--images", "99", "--out", str(tmp_path / "run")]) == 2
    assert "13 sample photos" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
