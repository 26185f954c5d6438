"""`molyneux study` at the command line: what compares texts, and what a wrong name costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import study_toy

from molyneux.cli import main
from molyneux.models.captioner import Captioner
from molyneux.studies import texts
from molyneux.studies.folder import find_tables, read_results
from molyneux.studies.results import Number

N = 3
NOTHING = ("--bertscore", "none", "--clip", "none")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    study_toy.save_photos(folder, N)
    return folder


@pytest.fixture(scope="module")
def seeing(photos: Path) -> Any:
    return study_toy.seeing_captioner(photos)


@pytest.fixture
def loaded(seeing: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the commands' captioner replaced by a tiny one; returns when that was loaded."""
    times: list[str] = []

    def load(*args: object, **options: object) -> Any:
        times.append("loaded")
        return seeing

    monkeypatch.setattr(Captioner, "load", load)
    return times


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def study(photos: Path, out: Path, *more: object, experiments: str = "E2") -> list[object]:
    asked = ["study", photos, "--out", out, "--threads", 1, "--subsets", 0]
    return [*asked, "--experiments", experiments, *more]


def test_texts_are_not_compared_where_none_is_asked_for(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    asked = study(photos, out, *NOTHING, "--seeds", 1, experiments="E1,E2,E6")
    status, _, err = said(capsys, *asked)
    assert status == 0, err
    assert "no CLIPScore" not in err
    tables = {table.name: table for table in find_tables(read_results(out), None)}
    cells = {
        "E1.bertscore": "mean", "E2.bertscore": "maximum", "E2.clipscore": "maximum",
        "E2.differences": "mean", "E6.captions": "BERTScore with the original",
    }  # fmt: skip
    for name, column in cells.items():
        for row in tables[name].rows:
            cell = row[column]
            assert isinstance(cell, Number)
            assert cell.value is None
            assert str(cell.why).startswith("not asked for ("), (name, row)
        metric = "CLIPScore" if name == "E2.clipscore" else "BERTScore"
        assert any(n.startswith(f"{metric}: left out here: not") for n in tables[name].notes)
    kept = [row["noun kept"] for row in tables["E6.captions"].rows if row["set"] == "top"]
    assert all(isinstance(cell, Number) and cell.value is not None for cell in kept)
    status, text, _ = said(capsys, "table", out, "E2.bertscore")
    assert status == 0
    assert "| not measured: not asked for |" in text
    assert json.loads((out / "scorers.json").read_text())["bert"] is None

    # The same again goes on; with a backbone it is another study.
    assert said(capsys, *asked)[0] == 0
    loaded.clear()
    status, _, err = said(capsys, *study(photos, out, "--clip", "none", experiments="E1,E2,E6"))
    assert status == 2
    assert 'settings.bertscore: "none" in the folder, null now' in err
    assert loaded == []  # nor was a backbone fetched: the tests have no network


def test_a_wrong_backbone_costs_nothing(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, wrong = tmp_path / "run", tmp_path / "no such folder"
    status, _, err = said(capsys, *study(photos, out, "--bertscore", wrong))
    assert status == 1
    assert err.strip().splitlines()[-1].startswith("molyneux: no BERTScore: cannot load")
    assert not loaded
    assert not out.exists()
    # Experiments without texts take no backbone at all.
    asked = study(photos, out, "--bertscore", wrong, experiments="E3")
    assert said(capsys, *asked)[0] == 0


def test_what_clip_lacks_is_said_before_the_folder_is_made(
    photos: Path,
    tmp_path: Path,
    loaded: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, wrong = tmp_path / "run", tmp_path / "no such folder"
    found = {}
    real = texts.load_scorers

    def load(settings: Any, note: Any) -> Any:
        found["folder"] = out.exists()
        return real(settings, note)

    monkeypatch.setattr(texts, "load_scorers", load)
    status, _, err = said(capsys, *study(photos, out, "--bertscore", "none", "--clip", wrong))
    assert status == 0
    lines = err.splitlines()
    lacks = next(i for i, line in enumerate(lines) if "no CLIPScore: cannot load" in line)
    begins = next(i for i, line in enumerate(lines) if line.startswith(f"{N} photos, experiments"))
    assert lacks < begins
    assert found == {"folder": False}


def test_photos_that_could_not_be_read_are_not_counted_as_done(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "empty.jpg").write_bytes(b"")
    (tmp_path / "set" / "good.png").write_bytes(next(photos.glob("*.png")).read_bytes())
    out = tmp_path / "run"
    assert said(capsys, *study(tmp_path / "set", out, *NOTHING, experiments="E3"))[0] == 0
    _, text, _ = said(capsys, "runs", tmp_path)
    assert "finished, 1 photo, 1 could not be read" in text
    for path in (out / "results").iterdir():
        path.unlink()
    _, text, _ = said(capsys, "runs", tmp_path, "--json")
    (found,) = json.loads(text)["runs"]
    assert found["state"] == "1 of 2 photos, 1 could not be read"


def test_units_of_an_unfinished_study_and_of_one_without_e2(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert said(capsys, *study(photos, out, *NOTHING, experiments="E3"))[0] == 0
    status, _, err = said(capsys, "units", out)
    assert status == 1
    assert "is a study without E2" in err
    for path in (out / "results").iterdir():
        path.unlink()
    lines = {said(capsys, verb, out)[2] for verb in ("units", "table")}
    assert len(lines) == 1
    assert "has no results yet" in lines.pop()


@pytest.mark.parametrize(
    ("change", "status", "line"),
    [
        (["--experiments", "E99"], 2, "there is no experiment 'E99'; name some of E1, E2"),
        (["--experiments", "E5"], 2, "E5 takes labelled photos; name their set with"),
        (["--experiments", ","], 2, "no experiment was named"),
        (["--experiments", "R"], 2, "R follows from what others measure"),
        (["--where", "split=train"], 2, "has split=train"),
        (["--where", "masks"], 2, "meets all of: masks"),
        (["--where", "nonsense"], 2, "no condition is called 'nonsense'"),
        (["--selectivity", "CLASSES", "--classes", "zebra,horse"], 2, "there is no class"),
        (["--selectivity", "CLASSES", "--classes", "7"], 2, "classes of this data set have"),
        (["--selectivity", "CLASSES", "--classes", "1"], 2, "classes is 1; give 2 or more"),
        (["--selectivity", "nowhere"], 2, "nowhere"),
        (["--out", "SOMETHING"], 2, "already holds something"),
    ],
)
def test_what_needs_no_model_is_checked_without_one(
    change: list[str],
    status: int,
    line: str,
    photos: Path,
    tmp_path: Path,
    loaded: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    study_toy.save_photos(tmp_path / "classes" / "cat", 4)
    study_toy.save_photos(tmp_path / "classes" / "dog", 4)
    (tmp_path / "something").mkdir()
    (tmp_path / "something" / "thesis.txt").write_text("years of work")
    places = {"CLASSES": tmp_path / "classes", "SOMETHING": tmp_path / "something"}
    asked: list[object] = ["study", photos, "--per-class", 4, *NOTHING]
    if "--out" not in change:
        asked += ["--out", tmp_path / "run"]
    found, _, err = said(capsys, *asked, *(places.get(word, word) for word in change))
    last = err.strip().splitlines()[-1]
    assert line in last
    assert last.startswith("molyneux: ")
    assert found == status
    assert loaded == []
    assert not (tmp_path / "run").exists()


def test_an_empty_or_missing_data_set_is_said_before_a_model_is_loaded(
    tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        status, _, err = said(capsys, *study(tmp_path / name, tmp_path / "run"))
        assert status == 2
        assert name in err
    assert loaded == []


def test_a_resumed_study_names_each_setting_that_differs(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    asked = study(photos, out, *NOTHING, experiments="E3")
    assert said(capsys, *asked)[0] == 0
    loaded.clear()
    changed = ["--seed", 7, "--seeds", 2, "--per-class", 8, "--classes", "cat,dog"]
    status, _, err = said(capsys, *asked, *changed, "--where", "captions")
    assert status == 2
    for old_and_new in (
        "settings.seed: 0 in the folder, 7 now",
        "settings.seeds: 5 in the folder, 2 now",
        "settings.per_class: 40 in the folder, 8 now",
        'settings.classes: 10 in the folder, ["cat", "dog"] now',
        'data.where: [] in the folder, ["captions"] now',
    ):
        assert old_and_new in err
    assert loaded == []


def test_what_no_photo_has_is_said_at_the_start(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare").mkdir()
    for path in photos.glob("*.png"):
        (tmp_path / "bare" / path.name).write_bytes(path.read_bytes())
    asked = study(tmp_path / "bare", tmp_path / "run", *NOTHING, experiments="E2,E4")
    status, _, err = said(capsys, *asked)
    assert status == 0, err
    assert "E2 needs captions, and no photo here has any" in err
    assert "E4 needs masks, and no photo here has any" in err
    assert "warning: 3 photos; intervals over fewer than 20" in err


def test_units_print_rounded_numbers_and_json_whole_ones(
    photos: Path, tmp_path: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert said(capsys, *study(photos, out, *NOTHING, experiments="E2"))[0] == 0
    _, text, _ = said(capsys, "units", out, "--passing", "all", "--top", 5)
    _, document, _ = said(capsys, "units", out, "--passing", "all", "--top", 5, "--json")
    units = json.loads(document)["units"]
    assert any(len(str(unit["specific"])) > 8 for unit in units if unit["specific"] is not None)
    lines = [line for line in text.splitlines() if line.startswith("unit L")]
    assert len(lines) == len(units)
    for line in lines:
        printed = [word for word in line.split() if word.replace(".", "").lstrip("-").isdigit()]
        assert all(len(word) <= 7 for word in printed), line
