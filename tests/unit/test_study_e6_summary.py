"""E6's summary of a study made by hand: every number is worked out beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from molyneux.statistics.correlation import spearman
from molyneux.studies.e6_causality.experiment import Causality
from molyneux.studies.e6_causality.measure import BERTSCORE, CAPTIONS, CURVES, UNITS
from molyneux.studies.e6_causality.singles import agreement
from molyneux.studies.e6_causality.summary import EFFECTS, MEAN, MEDIAN, headline
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number, Result, ResultTable, read_result
from molyneux.studies.settings import StudySettings

LOGPROB, MARGIN, UNRELATED = EFFECTS.values()


def curve(photo: int, name: str, ratio: float, step: int = 100, **other: Any) -> dict[str, Any]:
    row = {
        "photo": photo,
        "view": "patches",
        "positions": "all",
        "intervention": "zero",
        "set": name,
        "seed": None,
        "step": step,
        "share": step / 1000,
        "probability": ratio / 2,
        "ratio": ratio,
        "logprob_change": float(np.log(ratio)),
        "margin_change": None,
        "unrelated_change": -0.5,
        "rank": 3,
    }
    return row | other


# Photo 3 has no noun: it is in no table. Photo 2 found no other photo to compare with.
TOP = (0.1, 0.2, 0.6)
OTHER = (0.5, 0.8)
CURVE_ROWS = [
    *(curve(photo, "intact", 1.0, 0) for photo in range(3)),
    *(curve(photo, "top", ratio) for photo, ratio in enumerate(TOP)),
    *(curve(photo, "top", ratio / 2, 200) for photo, ratio in enumerate(TOP)),
    *(curve(photo, "other", ratio) for photo, ratio in enumerate(OTHER)),
    *(curve(p, "random", 0.8 + 0.1 * s, seed=s) for p in range(3) for s in (0, 1)),
    *(curve(p, "top", 0.7, positions="patches") for p in range(3)),
    *(curve(p, "top", 0.9, positions="patches", intervention="patch_mean") for p in range(3)),
    *(curve(p, "top", 0.8, positions="patches", intervention="blank") for p in range(3)),
    *(
        curve(p, "random", 1.0 + s, positions="patches", seed=s, intervention="zero")
        for p in range(3)
        for s in (0, 1)
    ),
    *(
        curve(p, "random", 0.95, positions="patches", seed=0, intervention=kind)
        for p in range(3)
        for kind in ("patch_mean", "blank")
    ),
    *(curve(p, "top", 0.3, view="last") for p in range(3)),
]
CAPTION_ROWS = [
    {"photo": p, "set": "top", "step": 100, "text": "", "has_noun": p == 0} for p in range(3)
]
BERT_ROWS = [
    *(
        {"photo": p, "set": "top", "step": 100, "to_original": 0.1 * p, "to_human": None}
        for p in range(3)
    ),
    *(
        {"photo": p, "set": "unrelated", "step": 0, "to_original": 0.3, "to_human": 0.2}
        for p in range(3)
    ),
]
UNIT_ROWS = [
    {
        "photo": p,
        "ranking": ranking,
        "rank": i,
        "layer": 0,
        "unit": i,
        "effect": effect,
        "total": total,
    }
    for p in range(3)
    for ranking in ("top", "specific")
    for i, (effect, total) in enumerate([(0.1, 1.0), (0.2, 2.0), (-0.3, -3.0 - p)])
]


@pytest.fixture
def study() -> Finished:
    rows = {
        "e6_curves": (CURVE_ROWS, CURVES),
        "e6_captions": (CAPTION_ROWS, CAPTIONS),
        "e6_units": (UNIT_ROWS, UNITS),
        "e6_bertscore": (BERT_ROWS, BERTSCORE),
    }
    measured = {
        name: pa.Table.from_pylist(found, schema=pa.schema([("photo", pa.int32()), *schema]))
        for name, (found, schema) in rows.items()
    }
    model = ModelTables(np.zeros((2, 1, 4), dtype=bool), {}, np.ones((1, 4)))
    photos = pa.table({"sha256": list("abcd")})
    return Finished(Path(), StudySettings(), {"bertscore": "tiny"}, model, photos, measured)


@pytest.fixture
def result(study: Finished) -> Result:
    return Causality().summarise(study)


def table(result: Result, name: str) -> ResultTable:
    return next(t for t in result.tables if t.name == name)


def row(result: Result, name: str, **where: Any) -> dict[str, Any]:
    rows = [
        r
        for r in table(result, name).rows
        if all(r.get(k) == wanted for k, wanted in where.items())
    ]
    assert len(rows) == 1, rows
    return dict(rows[0])


def test_every_table_names_only_its_columns(result: Result) -> None:
    for found in result.tables:
        for line in found.rows:
            assert set(line) <= set(found.columns), found.name
    assert read_result(result.document()) == result


def test_a_word_is_a_mean_and_a_median_over_photos(result: Result) -> None:
    found = row(result, "E6.word", view="patches", silenced="all", units=100, set="top")
    assert found[MEAN].value == pytest.approx(0.3)
    assert found[MEAN].low <= 0.3 <= found[MEAN].high
    assert found[MEDIAN].value == pytest.approx(0.2)
    assert found[MEAN].n == 3
    assert found[LOGPROB].value == pytest.approx(np.log(TOP).mean())
    assert found[UNRELATED].value == pytest.approx(-0.5)
    assert found[MARGIN].value is None
    assert found[MARGIN].why
    assert found["paper"] is None, "the paper's number is that of the grid's last step"
    last = row(result, "E6.word", view="patches", silenced="all", units=200, set="top")
    assert "80 %" in last["paper"]


def test_seeds_are_averaged_within_a_photo(result: Result) -> None:
    found = row(result, "E6.word", view="patches", silenced="all", units=100, set="random")
    assert found[MEAN].value == pytest.approx(0.85)
    assert found[MEAN].n == 3


def test_differences_are_over_photos_that_have_both(result: Result) -> None:
    where = {"view": "patches", "silenced": "all", "units": 100}
    found = row(result, "E6.differences", own="top", control="other", **where)
    assert found["probability left"].value == pytest.approx((0.1 - 0.5 + 0.2 - 0.8) / 2)
    assert found["probability left"].n == 2
    assert found[UNRELATED].value == 0
    found = row(result, "E6.differences", own="top", control="random", **where)
    assert found["probability left"].value == pytest.approx(0.3 - 0.85)
    pairs = {(r["own"], r["control"]) for r in table(result, "E6.differences").rows}
    assert pairs == {("top", "other"), ("top", "random")}, "what was not measured has no row"


def test_interventions_stand_beside_the_same_units_zeroed(result: Result) -> None:
    left = {
        (r["set"], r["set to"]): r[MEAN].value  # type: ignore[union-attr]
        for r in table(result, "E6.interventions").rows
    }
    assert left == {
        ("top", "zero"): pytest.approx(0.7),
        ("top", "patch_mean"): pytest.approx(0.9),
        ("top", "blank"): pytest.approx(0.8),
        ("random", "zero"): pytest.approx(1.0),  # the seed that was replaced, not the mean of two
        ("random", "patch_mean"): pytest.approx(0.95),
        ("random", "blank"): pytest.approx(0.95),
    }


def test_captions(result: Result) -> None:
    found = row(result, "E6.captions", set="top", units=100)
    assert found["BERTScore with the original"].value == pytest.approx(0.1)
    assert found["BERTScore with human captions"].value is None
    assert "human" in found["BERTScore with human captions"].why
    assert found["noun kept"].value == pytest.approx(1 / 3)
    unrelated = row(result, "E6.captions", set="unrelated", units=0)
    assert unrelated["BERTScore with human captions"].value == pytest.approx(0.2)
    assert unrelated.get("noun kept") is None
    assert "tiny" in " ".join(table(result, "E6.captions").notes)
    figure = next(f for f in result.figures if f.name == "E6.bertscore")
    assert [series.label for series in figure.series] == ["top", "unrelated caption"]


def test_single_units_and_their_prediction(result: Result) -> None:
    found = row(result, "E6.single", ranking="top")
    assert found["effect (logits)"].value == pytest.approx(0.0)
    assert found["total (logits)"].value == pytest.approx((0 - 1 / 3 - 2 / 3) / 3)
    assert found["effect above 0"].value == pytest.approx(2 / 3)
    assert found["Spearman"].value == pytest.approx(1)
    assert 0.9 < found["Pearson"].value < 1
    assert row(result, "E6.single", ranking="other_specific")["Pearson"].value is None


def test_agreement_needs_three_units_that_differ() -> None:
    photo = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    effect = np.array([1.0, 2, 1, 2, 3, 1, 1, 1])
    total = np.array([1.0, 2, 3, 2, 1, 1, 2, 3])
    found = agreement(photo, effect, total, 4, spearman)
    assert found[1] == pytest.approx(-1)
    assert np.isnan(found[[0, 2, 3]]).all()


def test_curves_run_along_the_grid_in_both_means(result: Result) -> None:
    figures = {figure.name: figure for figure in result.figures}
    assert {"E6.patches.all.mean", "E6.patches.all.median", "E6.last.all.mean"} <= set(figures)
    top = next(s for s in figures["E6.patches.all.median"].series if s.label == "top")
    assert top.x == (100, 200)
    assert top.y == (pytest.approx(0.2), pytest.approx(0.1))
    assert figures["E6.patches.all.mean"].log_x
    steps = [r["units"] for r in table(result, "E6.grid").rows if r["set"] == "top"]
    assert steps == [100, 200, 100, 100]


def test_headline_is_one_value_per_photo(study: Finished) -> None:
    found = headline(study)
    left = found["top: probability left at 100 units"]
    assert left[:3] == pytest.approx(TOP)
    assert np.isnan(left[3])
    paired = found["top - random: probability left at 100 units"]
    assert paired[:3] == pytest.approx(np.array(TOP) - 0.85)
    assert np.isnan(found["specific: probability left at 200 units"]).all()
    assert np.isnan(found["top: caption BERTScore at 200 units"]).all(), "no caption at 200"


def test_headline_has_the_caption_at_the_last_step(study: Finished) -> None:
    rows = [{**row, "step": 200} for row in BERT_ROWS[:3]]
    rows += [{**row, "set": "random", "to_original": 0.9} for row in rows]
    schema = pa.schema([("photo", pa.int32()), *BERTSCORE])
    study.measured["e6_bertscore"] = pa.Table.from_pylist(rows, schema=schema)
    found = headline(study)
    assert found["top: caption BERTScore at 200 units"][:3] == pytest.approx([0, 0.1, 0.2])
    paired = found["top - random: caption BERTScore at 200 units"]
    assert paired[:3] == pytest.approx([-0.9, -0.8, -0.7])
    del study.measured["e6_bertscore"]
    assert not any("caption" in name for name in headline(study))


def test_a_study_without_nouns_says_that_there_is_nothing(study: Finished) -> None:
    study.measured.update({name: rows.slice(0, 0) for name, rows in study.measured.items()})
    result = Causality().summarise(study)
    for found in result.tables:
        for line in found.rows:
            for cell in line.values():
                assert not isinstance(cell, Number) or (cell.value is None and cell.why)
    assert headline(study)
