"""Replication on subsets: answers worked out by hand, and what chance alone gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from molyneux.studies.derived.replication.experiment import Replication
from molyneux.studies.derived.replication.summary import (
    count_subsets,
    deal_photos,
    homogeneity,
    luck,
)
from molyneux.studies.e2_agreement.summary import headline
from molyneux.studies.e6_causality.measure import CURVES
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number
from molyneux.studies.settings import StudySettings

SCORES = pa.schema(
    [("photo", pa.int32())]
    + [(name, pa.string()) for name in ("view", "ranking", "against")]
    + [(name, pa.float64()) for name in ("bert_max", "bert_mean")]
)


def score(photo: int, against: str, value: float | None, **other: Any) -> dict[str, Any]:
    row = {"photo": photo, "view": "patches", "ranking": "top", "against": against}
    return {**row, "bert_max": value, "bert_mean": value, **other}


def curve(photo: int, name: str, ratio: float, seed: int | None = None, step: int = 100) -> dict:
    return {
        "photo": photo,
        "view": "patches",
        "positions": "all",
        "intervention": "zero",
        "set": name,
        "seed": seed,
        "step": step,
        "share": step / 46080,
        "ratio": ratio,
    }


def finished(
    n: int, *, scores: Any = None, curves: Any = None, seed: int = 0, subsets: int = 5
) -> Finished:
    measured = {}
    if scores is not None:
        measured["e2_scores"] = pa.Table.from_pylist(scores, schema=SCORES)
    if curves is not None:
        schema = pa.schema([("photo", pa.int32()), *CURVES])
        measured["e6_curves"] = pa.Table.from_pylist(curves, schema=schema)
    units = np.zeros((2, 4))
    model = ModelTables(np.zeros((2, 2, 4), bool), {}, units)
    photos = pa.table({"sha256": [f"{i:064x}" for i in range(n)]})
    return Finished(
        Path(), StudySettings(("E2", "E6"), seed=seed, subsets=subsets), {}, model, photos, measured
    )


def test_photos_are_dealt_into_disjoint_subsets_by_their_hashes() -> None:
    study = finished(23)
    groups = deal_photos(study, 5)
    assert sorted(np.concatenate(groups).tolist()) == list(range(23))
    assert sorted(len(group) for group in groups) == [4, 4, 5, 5, 5]
    turned = study.photos.take(pa.array(range(22, -1, -1)))
    again = deal_photos(replace(study, photos=turned), 5)
    assert [sorted((22 - group).tolist()) for group in again] == [g.tolist() for g in groups]
    other = deal_photos(finished(23, seed=1), 5)
    assert any(a.tolist() != b.tolist() for a, b in zip(groups, other, strict=True))


def test_homogeneity_by_hand() -> None:
    # Means 2 and 5; within subsets the squares are 2 + 2 over 4 - 2: variance 2.
    # chi-square = 2 (1.5^2) 2 / 2 = 4.5. All: 1, 3, 4, 6 with variance 13/3, se = sqrt(13/12).
    found = homogeneity([np.array([1.0, 3.0]), np.array([4.0, 6.0])])
    assert found is not None
    spread, expected, statistic, p = found
    assert spread == pytest.approx(3 / 2**0.5)
    assert expected == pytest.approx((13 / 12) ** 0.5 * 2**0.5)
    assert statistic == pytest.approx(4.5)
    assert p == pytest.approx(0.0338949, rel=1e-5)


def test_subsets_of_one_sample_spread_as_sampling_predicts() -> None:
    rng = np.random.default_rng(0)
    trials = [homogeneity(list(rng.normal(3, 2, size=(5, 40)))) for _ in range(800)]
    found = np.array([trial for trial in trials if trial is not None])
    assert (found[:, 0] ** 2).mean() == pytest.approx((found[:, 1] ** 2).mean(), rel=0.08)
    assert (found[:, 3] < 0.05).mean() == pytest.approx(0.05, abs=0.025)


def test_homogeneity_says_nothing_of_too_few() -> None:
    assert homogeneity([np.array([1.0]), np.array([4.0, 6.0])]) is None
    assert homogeneity([np.array([1.0, 1.0]), np.array([2.0, 2.0])]) is None


def test_agreement_is_own_minus_shuffled_per_photo() -> None:
    scores = [
        score(0, "own", 0.5),
        score(0, "shuffled", 0.2),
        score(1, "own", 0.4),
        score(1, "shuffled", None),
        score(2, "own", 0.9, view="last"),
        score(0, "own", 0.8, ranking="specific", bert_mean=0.3),
        score(0, "shuffled", 0.7, ranking="specific", bert_mean=0.1),
        score(0, "random", 5.0),
    ]
    found = headline(finished(3, scores=scores))
    top = found["top - shuffled: largest BERTScore"]
    assert top[0] == pytest.approx(0.3)
    assert np.isnan(top[1:]).all()
    assert found["specific - shuffled: largest BERTScore"][0] == pytest.approx(0.1)
    assert found["specific - shuffled: mean BERTScore"][0] == pytest.approx(0.2)


def test_subsets_show_their_own_means() -> None:
    rng = np.random.default_rng(1)
    left = rng.uniform(size=80)
    curves = [curve(i, "top", left[i]) for i in range(80)]
    curves += [curve(i, "random", 0.9 + 0.1 * s, seed=s) for i in range(80) for s in range(2)]
    scores = [score(i, a, 0.5 if a == "own" else 0.4) for i in range(80) for a in ("own",)]
    study = finished(80, curves=curves, scores=scores, subsets=4)
    result = Replication().summarise(study)
    assert result is not None
    table, seeds = result.tables
    assert (result.experiment, table.name, seeds.name) == ("R", "R.subsets", "R.seeds")
    rows = {row["number"]: row for row in table.rows}
    row = rows["top: probability left at 100 units"]
    groups = deal_photos(study, 4)
    for i, group in enumerate(groups):
        assert value(row[f"subset {i + 1}"]) == pytest.approx(left[group].mean())
    found = homogeneity([left[group] for group in groups])
    assert found is not None
    assert [value(row[k]) for k in ("spread", "expected spread", "chi-square", "p")] == (
        pytest.approx(list(found))
    )
    assert row["all photos"].n == 80  # type: ignore[union-attr]
    paired = rows["top - random: probability left at 100 units"]
    assert value(paired["all photos"]) == pytest.approx((left - 0.95).mean())
    # Nothing was shuffled, so there is no such number, and the cell says why.
    missing = rows["top - shuffled: mean BERTScore"]["p"]
    assert isinstance(missing, Number)
    assert missing.value is None
    assert missing.why


def test_every_control_seed_stands_by_itself() -> None:
    curves = [curve(i, "top", 0.2) for i in range(10)]
    curves += [curve(i, "random", 0.8 + 0.1 * s, seed=s) for i in range(10) for s in range(3)]
    result = Replication().summarise(finished(10, curves=curves))
    assert result is not None
    table = result.tables[1]
    assert [row["control"] for row in table.rows] == [
        "random, seed 0",
        "random, seed 1",
        "random, seed 2",
        "standard deviation over seeds",
    ]
    assert [value(row["100 units, mean"]) for row in table.rows] == pytest.approx(
        [0.8, 0.9, 1.0, 0.1]
    )
    assert [value(row["top - random at 100"]) for row in table.rows[:3]] == pytest.approx(
        [-0.6, -0.7, -0.8]
    )


def test_nothing_measured_is_nothing_replicated() -> None:
    assert Replication().summarise(finished(10)) is None


def test_a_subset_has_twenty_photos_or_there_are_fewer() -> None:
    assert [count_subsets(n, 5) for n in (197, 100, 99, 40, 39, 0)] == [5, 5, 4, 2, 0, 0]
    curves = [curve(i, "top", 0.2) for i in range(79)]
    result = Replication().summarise(finished(79, curves=curves))
    assert result is not None
    table = result.tables[0]
    assert [name for name in table.columns if name.startswith("subset")] == [
        "subset 1",
        "subset 2",
        "subset 3",
    ]
    assert "79 photos are too few for 5 subsets of 20 or more: there are 3." in table.notes
    few = Replication().summarise(finished(39, curves=curves[:39]))
    assert few is not None
    assert few.tables[0].columns == ("experiment", "number", "all photos")
    assert "there are none, and nothing is replicated" in few.tables[0].notes[0]
    assert Replication().summarise(finished(100, curves=curves, subsets=0)) is None


def test_luck_is_the_binomial_by_counting() -> None:
    # Of the 32 ways that five signs fall, two have all alike and twelve four or more.
    assert luck(5, 5, 0.5, sides=2) == pytest.approx(2 / 32)
    assert luck(4, 5, 0.5, sides=2) == pytest.approx(12 / 32)
    assert luck(2, 5, 0.5, sides=2) == 1
    assert luck(0, 5, 0.025) == 1
    assert luck(1, 5, 0.025) == pytest.approx(1 - 0.975**5)
    # Sampled: subsets of noise agree in sign with the mean over all as often as that.
    rng = np.random.default_rng(0)
    means = rng.normal(size=(4000, 5))
    agree = (np.sign(means) == np.sign(means.mean(axis=1, keepdims=True))).sum(axis=1)
    assert (agree == 5).mean() == pytest.approx(2 / 32, abs=0.012)


def replicated(differences: np.ndarray) -> dict[str, Any]:
    n = len(differences)
    curves = [curve(i, "top", float(differences[i])) for i in range(n)]
    curves += [curve(i, "random", 0.0, seed=0) for i in range(n)]
    result = Replication().summarise(finished(n, curves=curves))
    assert result is not None
    rows = {row["number"]: row for row in result.tables[0].rows}
    return dict(rows["top - random: probability left at 100 units"])


def test_a_difference_of_a_part_of_the_photos_does_not_replicate() -> None:
    study = finished(100)
    groups = deal_photos(study, 5)
    rng = np.random.default_rng(0)
    everywhere = rng.normal(-0.5, 0.1, size=100)
    row = replicated(everywhere)
    assert (row["same sign"], row["shown alone"]) == ("5 of 5", "5 of 5")
    assert value(row["by luck"]) == pytest.approx(2 / 32)
    assert value(row["alone by luck"]) == pytest.approx(0.025**5)
    once = np.abs(rng.normal(0, 0.1, size=100))
    once[groups[2]] = -5.0
    row = replicated(once)
    assert value(row["all photos"]) < 0
    assert (row["same sign"], row["shown alone"]) == ("1 of 5", "1 of 5")
    assert value(row["by luck"]) == 1
    assert value(row["p"]) < 1e-6


def test_a_number_that_is_no_difference_claims_no_sign() -> None:
    result = Replication().summarise(
        finished(100, curves=[curve(i, "top", 0.2) for i in range(100)])
    )
    assert result is not None
    cell = result.tables[0].rows[0]["same sign"]
    assert isinstance(cell, Number)
    assert "no difference" in str(cell.why)


def value(cell: Any) -> float:
    assert isinstance(cell, Number)
    assert cell.value is not None
    return cell.value
