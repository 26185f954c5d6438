"""What commands print with `--json`; `conftest.py` holds each against its shipped schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import study_toy
from documents import misfits
from tiny_models import tiny_photos

from molyneux.cli import main
from molyneux.metrics import bertscore
from molyneux.models.captioner import Captioner


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
    found = json.loads(out)
    assert not misfits(str(arguments[0]), found) or arguments[0] == "data"
    return found


def test_a_study_and_what_is_asked_of_it(
    photos: Path, seeing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    (photos / "images" / "000.png").write_bytes(b"")
    asked = ["study", photos, "--out", out, "--experiments", "E2,E3", "--threads", 1]
    found = document(capsys, *asked, "--subsets", 0, "--bertscore", "none", "--clip", "none")
    assert len(found["bad"]) == 1
    assert document(capsys, "table", out)["tables"]
    assert document(capsys, "units", out, "--passing", "all")["units"]
    assert Path(document(capsys, "report", out)["report"]).is_file()
    assert [run["kind"] for run in document(capsys, "runs", tmp_path)["runs"]] == ["study"]


def test_data_sets_and_models(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = document(capsys, "data")
    assert document(capsys, "data", "coco") in sets
    copy = document(capsys, "data", "coco", photos)
    assert not misfits("data NAME FOLDER", copy)
    assert document(capsys, "models")


def test_what_needs_a_model(
    seeing: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, photo in enumerate(tiny_photos(3)):
        photo.save(tmp_path / f"{number}.png")
    one = tmp_path / "0.png"
    assert document(capsys, "reference", tmp_path, "--out", tmp_path / "table")["photos"]
    assert document(capsys, "prompts", one)["images"][0]["patches"]
    assert document(capsys, "caption", one)["images"][0]["caption"] == seeing.caption(one)
    asked = ["explain", one, "--word", "boat", "--top", 3, "--out", tmp_path / "run"]
    assert document(capsys, *asked)["images"][0]["words"][-1]["span"] is None


def test_calibration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from molyneux.metrics import calibration
    from molyneux.metrics.calibration import PAIRS, LayerCalibration

    class Backbone:
        name, n_layers, chosen_layer = "toy", 2, 1

    monkeypatch.setattr(bertscore, "load_backbone", lambda *args: Backbone())
    scored = LayerCalibration(1, tuple(f1 for *_, f1 in PAIRS), 0.0, True)
    monkeypatch.setattr(calibration, "calibrate_layer", lambda *args: scored)
    assert document(capsys, "calibrate-bertscore")["closest_layer"] == 1
