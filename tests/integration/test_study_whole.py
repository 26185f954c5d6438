"""All experiments at once on a tiny model: parts, tables, results, units and the page."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import study_toy
from latex_pages import check_latex
from PIL import Image
from report_page import ReportPage
from tiny_partners import square_photos, with_partners_of

from molyneux.atlas import open_atlas
from molyneux.atlas.build import build_atlas
from molyneux.atlas.join import join_runs, read_runs
from molyneux.pages.one_file import write_report
from molyneux.report.text import as_text
from molyneux.report.units import list_units
from molyneux.store import Run
from molyneux.studies import texts
from molyneux.studies.experiment import TextScorers, load_experiments
from molyneux.studies.folder import find_tables, read_results
from molyneux.studies.results import OPEN, Number, read_result
from molyneux.studies.settings import StudySettings
from molyneux.studies.study import conclude, run_study

N = 12
MEASURED_E6 = Path(__file__).parents[2] / "benchmarks/results/smollm2-effnet@1/study/E6.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("study")
    data = study_toy.save_coco(place / "coco", N)
    classes = place / "classes"
    for label in ("bench", "truck"):
        study_toy.save_photos(classes / label, 6)
        (classes / label / "captions.jsonl").unlink()
    for number in range(6):  # the two classes do not look alike
        path = classes / "truck" / f"{number:03d}.png"
        with Image.open(path) as photo:
            inverted = Image.fromarray(255 - np.asarray(photo))
        inverted.save(path)
    captioner = with_partners_of(
        study_toy.seeing_captioner(data / "images"),
        square_photos(tmp_path_factory.mktemp("partners")),
        lambda _: "volcano",
        lambda k: ("A cat.",) * 3 if k == 3 else (),
    )
    settings = StudySettings(
        units=20,
        seeds=2,
        subsets=3,
        classes=2,
        per_class=6,
    )
    scorers = TextScorers(study_toy.Overlap(), None, "no CLIP weights here")  # type: ignore[arg-type]
    out = place / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "load_scorers", lambda settings, note: scorers)
        done = run_study(captioner, data, labelled=classes, settings=settings, out=out)
    assert (done.good, done.bad) == (N, [])
    return out


def test_every_experiment_has_results(run: Path) -> None:
    results = read_results(run)
    assert [result.experiment for result in results] == [
        "E1", "E2", "E3", "E4", "E5", "E6", "E7", "R", "U",
    ]  # fmt: skip
    for result in results:
        assert result.tables, result.experiment


def test_every_claim_is_decided_by_a_cell_that_is_there(run: Path) -> None:
    kept = read_results(run)
    results = {result.experiment: result for result in kept}
    names = ["E1", "E2", "E3", "E4", "E5", "E6"]
    for experiment in load_experiments(names):
        assert experiment.claims
        if experiment.name == "E6":
            # Of so small a model a hundred units leave none for the controls.
            results["E6"] = read_result(json.loads(MEASURED_E6.read_text(encoding="utf-8")))
        for claim in experiment.claims:
            for place in (claim.here, claim.control, claim.decided):
                assert place.of(results[experiment.name]) is not None, (claim.claim, place)
    for name in (*names, "E7"):
        (experiment,) = load_experiments([name])
        (own,) = (result for result in kept if result.experiment == name)
        assert own.verdicts
        assert list(own.verdicts) == experiment.verdicts(own)
    (table,) = find_tables(kept, "verdicts")
    page = ReportPage(write_report(run))
    shown = page.data["study/r0"]
    assert [row["claim"] for row in shown["verdicts"]["rows"]] == [r["claim"] for r in table.rows]
    assert [row["verdict"] for row in table.rows].count(OPEN) > 5  # of 12 photos
    for row in table.rows:
        assert str(row["claim"]) in page.text
    for result, found in zip(kept, shown["results"], strict=True):
        assert [each["name"] for each in found["tables"]] == [each.name for each in result.tables]


def test_every_number_stands_with_its_photos(run: Path) -> None:
    for table in find_tables(read_results(run), None):
        numbers = [c for row in table.rows for c in row.values() if isinstance(c, Number)]
        for number in numbers:
            if number.value is None:
                assert number.why, table.name
            else:
                assert np.isfinite(number.value), table.name
                assert number.n is None or number.n > 0
                if number.low is not None and number.high is not None:
                    assert number.low <= number.value + 1e-9
                    assert number.high >= number.value - 1e-9


def test_tables_without_clip_say_why(run: Path) -> None:
    texts_ = as_text(find_tables(read_results(run), "E1"), "md")
    assert "no CLIP weights here" in texts_


@pytest.mark.parametrize("form", ["md", "csv"])
def test_tables_print_all_their_rows(run: Path, form: Any) -> None:
    for table in find_tables(read_results(run), None):
        text = as_text([table], form)
        if form == "csv":
            rows = list(csv.reader(text.splitlines()))
            assert len({len(row) for row in rows}) == 1, table.name
        else:
            rows = [line for line in text.splitlines() if line.startswith("| ")]
        assert len(rows) == 1 + len(table.rows), table.name


def test_every_table_fits_a_page_of_latex(run: Path) -> None:
    for table in find_tables(read_results(run), None):
        check_latex(table, as_text([table], "latex"))


def test_intervals_over_few_photos_are_marked_everywhere(run: Path) -> None:
    page = ReportPage(write_report(run))
    shown = page.data["study/r0"]
    assert shown["few"].startswith(f"{N} photos. Intervals over fewer than")
    rows = [row for result in shown["results"] for t in result["tables"] for row in t["rows"]]
    cells = [cell for row in rows for cell in row if isinstance(cell, dict) and cell["n"]]
    assert any(cell["few"] for cell in cells)
    assert all(cell["few"] == (cell["low"] is not None) for cell in cells if cell["n"] == N)
    assert f"(n = {N}, few)" in page.text
    for table in find_tables(read_results(run), "E6"):
        numbers = [c for row in table.rows for c in row.values() if isinstance(c, Number)]
        assert all(number.few == (number.low is not None) for number in numbers)
        if table.has_few:
            assert ", few)" in as_text([table], "md")


def test_the_page_opens_from_disk(run: Path) -> None:
    page = ReportPage(write_report(run))
    drawings = set()
    results = page.data["study/r0"]["results"]
    for result, found in zip(read_results(run), results, strict=True):
        assert found["experiment"] == result.experiment
        assert found["figures"] == json.loads(json.dumps([asdict(one) for one in result.figures]))
        drawings |= {figure.kind for figure in result.figures}
    assert drawings == {"lines", "bars", "matrix"}
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action"} & set(attributes)
        assert (attributes.get("href") or "data:").startswith("data:")


def test_concluding_again_changes_nothing(run: Path) -> None:
    before = {p: p.read_bytes() for p in sorted(run.rglob("*.parquet"))}
    documents = {p: p.read_bytes() for p in sorted(run.glob("results/*.json"))}
    conclude(Run(run))
    assert {p: p.read_bytes() for p in sorted(run.rglob("*.parquet"))} == before
    assert {p: p.read_bytes() for p in sorted(run.glob("results/*.json"))} == documents


def test_units_are_counted_down(run: Path) -> None:
    rows, total = list_units(run, "all", 5)
    assert len(rows) == 5
    assert total == pq.read_table(run / "tables/units.parquet").num_rows
    (funnel,) = find_tables(read_results(run), "U")
    left = [row["left"] for row in funnel.rows]
    assert left[0] == total
    assert left == sorted(left, reverse=True)
    assert list_units(run, "multimodal", 5)[1] == left[-1]


def test_tables_open_in_one_line(run: Path) -> None:
    pandas = pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    path = run / "tables" / "e2_units.parquet"
    frame = pandas.read_parquet(path)
    ((count,),) = duckdb.sql(f"select count(*) from '{path}'").fetchall()
    assert len(frame) == count > 0


def test_the_study_is_joined_to_an_atlas(run: Path, tmp_path: Path) -> None:
    """Every unit's counts and effect, by loops over the study's own tables."""
    captioner = study_toy.seeing_captioner(run.parent / "coco" / "images")
    atlas = tmp_path / "atlas"
    name = json.loads((run / "manifest.json").read_text())["model"]["language_model"]
    build_atlas(captioner.language_model, atlas, names={"language_model": name})
    joined = join_runs(open_atlas(atlas), read_runs(open_atlas(atlas), [run]))
    listed = pq.read_table(run / "tables/e2_units.parquet").to_pylist()
    silenced = pq.read_table(run / "tables/e6_units.parquet").to_pylist()
    tested = pq.read_table(run / "tables/e5_units.parquet").to_pylist()
    assert joined.effects is not None
    for row in joined.effects.to_pylist():
        unit = (row["layer"], row["unit"])
        own = [r for r in listed if (r["layer"], r["unit"], r["view"]) == (*unit, "patches")]
        for ranking in ("top", "specific"):
            photos = {r["photo"] for r in own if r["ranking"] == ranking}
            assert row[f"n_{ranking}"] == len(photos)
        alone = [r for r in silenced if (r["layer"], r["unit"]) == unit]
        effects = {r["photo"]: r["effect"] for r in alone if r["ranking"] != "other_specific"}
        assert row["n_effect"] == len(effects)
        if effects:
            assert row["effect"] == pytest.approx(np.mean([*effects.values()]), abs=1e-6)
        passed = [
            r["selective"]
            for r in tested
            if (r["layer"], r["unit"], r["role"], r["view"]) == (*unit, "found", "patches")
        ]
        assert row["selective"] == (any(passed) if passed else None)
    assert sum(row["n_effect"] for row in joined.effects.to_pylist()) > 20
