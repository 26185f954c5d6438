"""What commands print with `--json` against the names that docs/document.md gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import study_toy
from tiny_models import tiny_photos

from molyneux.cli import main
from molyneux.metrics import bertscore
from molyneux.models.captioner import Captioner

PAGE = Path(__file__).parents[2] / "docs" / "document.md"
# Their names are those of columns, splits, parts or loaders, and no names of the document.
GIVEN = {"rows", "splits", "full", "licences", "data"}


def documented(command: str) -> set[str]:
    """The names in a command's row of the page."""
    text = PAGE.read_text(encoding="utf-8")
    (cell,) = re.findall(
        rf"^\| `molyneux {re.escape(command)} --json` \| [^`]*`([^`]+)`.*\|$", text, re.MULTILINE
    )
    return set(re.findall(r'"(\w+)"', cell))


def printed(document: Any) -> set[str]:
    """The names in a document, at any depth."""
    if isinstance(document, list):
        return set().union(*map(printed, document))
    if not isinstance(document, dict):
        return set()
    # The photos of a known set are by split; elsewhere they are a number.
    inner = [value for name, value in document.items() if name not in GIVEN | {"photos"}]
    return set(document) | printed(inner)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_toy.save_coco(tmp_path_factory.mktemp("data") / "coco", 4)


@pytest.fixture
def seeing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    captioner = study_toy.seeing_captioner(photos / "images")
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    return captioner


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status = main([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out)


def test_a_study_and_what_is_asked_of_it(
    photos: Path, seeing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    (photos / "images" / "000.png").write_bytes(b"")
    asked = ["study", photos, "--out", out, "--experiments", "E2,E3", "--threads", 1]
    found = document(capsys, *asked, "--subsets", 0, "--bertscore", "none", "--clip", "none")
    assert len(found["bad"]) == 1
    assert printed(found) == documented("study")
    assert printed(document(capsys, "table", out)) == documented("table")
    cells = [
        cell
        for table in document(capsys, "table", out)["tables"]
        for row in table["rows"]
        for cell in row.values()
    ]
    (numbers,) = {frozenset(cell) for cell in cells if isinstance(cell, dict)}
    assert numbers == {"value", "low", "high", "n", "why"}
    units = document(capsys, "units", out, "--passing", "all")
    assert units["units"]
    assert printed(units) == documented("units")
    assert printed(document(capsys, "report", out)) == documented("report")
    assert printed(document(capsys, "runs", tmp_path)) == documented("runs")


def test_data_sets_and_models(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(document(capsys, "data")) == documented("data")
    assert printed(document(capsys, "data", "coco")) == documented("data")
    copy = document(capsys, "data", "coco", photos)
    assert printed(copy) == documented("data NAME FOLDER")
    assert printed(document(capsys, "models")) == documented("models")


def test_what_needs_a_model(
    seeing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, photo in enumerate(tiny_photos(3)):
        photo.save(tmp_path / f"{number}.png")
    one = tmp_path / "0.png"
    sinks = document(capsys, "reference", tmp_path, "--out", tmp_path / "table")
    assert printed(sinks) == documented("reference")
    found = document(capsys, "prompts", one)
    found["model"] = {}
    assert printed(found) == documented("prompts")


def test_calibration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from molyneux.metrics import calibration
    from molyneux.metrics.calibration import PAIRS, LayerCalibration

    class Backbone:
        name, n_layers, chosen_layer = "toy", 2, 1

    monkeypatch.setattr(bertscore, "load_backbone", lambda *args: Backbone())
    scored = LayerCalibration(1, tuple(f1 for *_, f1 in PAIRS), 0.0, True)
    monkeypatch.setattr(calibration, "calibrate_layer", lambda *args: scored)
    found = document(capsys, "calibrate-bertscore")
    assert printed(found) == documented("calibrate-bertscore")


def test_a_name_that_is_not_documented_would_be_noticed() -> None:
    runs = {"runs": [{"run": "a", "kind": "study", "created": "", "state": "", "mood": 1}]}
    assert printed(runs) - documented("runs") == {"mood"}
