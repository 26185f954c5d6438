"""E9's tables from rows whose answers are known: each control can fail a claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from molyneux.studies.e9_transfer import summary
from molyneux.studies.e9_transfer.claims import ABOVE, CLAIMS, MEASURES, SETS
from molyneux.studies.e9_transfer.measure import TABLES
from molyneux.studies.e9_transfer.summary import Measured, Photos, placements, said, summarise
from molyneux.studies.results import FALLS, HOLDS, Number, Result

CONCEPTS = ("boat", "cat", "dog", "pizza")
EACH = 6
N = len(CONCEPTS) * EACH
MANIFEST = {"settings": {"found": ["there", "0"]}}
ROLES = {
    "activation": ("own", "matched", "fake"),
    "ablation": ("own", "other", "matched", "fake", "absent"),
    "transplant": ("own", "other", "matched", "fake", "absent"),
    "reading": ("own", "other", "matched", "fake", "direction"),
    "field": ("own", "other", "matched", "fake", "centre", "chance"),
}


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of a test need no 2,000 draws."""
    monkeypatch.setattr(summary, "DRAWS", 200)


def own_of(photo: int) -> str:
    return CONCEPTS[photo // EACH]


def tables(level: dict[tuple[str, str], float], shown: Any = own_of) -> dict[str, pa.Table]:
    """Return rows in which each role does so much more on photos of the concept than on others.

    Args:
        level: by measure and role; 1 of `own` and 0 of others where it is not given.
        shown: the concept of a photo, by what the labels say.
    """
    rng = np.random.default_rng(0)

    def value(measure: str, role: str, photo: int, concept: str) -> float:
        there = own_of(photo) == concept
        more = level.get((measure, role), float(role == "own"))
        return (more if there else 0.0) + 0.1 * float(rng.standard_normal())

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for photo in range(N):
        concept = shown(photo)
        of_photo = {"named": [concept], "mentioned": [concept], "concept": concept}
        of_photo |= {"other": "x", "receiver": "y", "behind": -1.0, "behind_receiver": -4.0}
        rows["e9_photos"].append({"photo": photo, **of_photo})
        for name in SETS:
            for each in CONCEPTS:
                start = {"photo": photo, "concept": each, "set": name}
                for role in ROLES["activation"]:
                    mean = value("activation", role, photo, each)
                    rows["e9_activation"].append(start | {"role": role, "mean": mean, "z": mean})
                for role in ROLES["reading"]:
                    percentile = value("reading", role, photo, each)
                    rows["e9_reading"].append(start | {"role": role, "percentile": percentile})
            start = {"photo": photo, "concept": concept, "set": name}
            for kind in ("ablation", "transplant"):
                for role in ROLES[kind]:
                    nats = value(kind, role, photo, concept)
                    rows["e9_effects"].append(start | {"role": role, "kind": kind, "nats": nats})
            for role in ROLES["field"]:
                iou = value("field", role, photo, concept)
                of_field = {"role": role, "area": 0.5, "iou": iou, "auprc": iou}
                rows["e9_fields"].append(start | of_field)
    return {
        name: pa.Table.from_pylist(found, schema=pa.schema([("photo", pa.int32()), *TABLES[name]]))
        for name, found in rows.items()
    }


def result_of(found: dict[str, pa.Table]) -> Result:
    counts = [{"concept": c, "found_on": 5, "here": EACH, "measured": EACH} for c in CONCEPTS]
    counts.append({"concept": "tree", "found_on": 9, "here": 2, "measured": 0})
    return summarise("Transfer", found, counts, MANIFEST)


def verdicts(result: Result) -> dict[tuple[str, str], str]:
    places = [(measure, name) for name in SETS for measure in MEASURES]
    found = [claim.verdict(result).verdict for claim in CLAIMS]
    return dict(zip(places, found, strict=True))


def test_units_that_carry_their_concept_hold() -> None:
    result = result_of(tables({}))
    assert set(verdicts(result).values()) == {HOLDS}
    (transfer,) = (table for table in result.tables if table.name == "E9.transfer")
    for row in transfer.rows:
        own = row["own"]
        assert isinstance(own, Number)
        assert own.n == N
        assert own.value == pytest.approx(1, abs=0.1)
    (left_out,) = (table for table in result.tables if table.name == "E9.left_out")
    assert [row["concept"] for row in left_out.rows if row["left out"]] == ["tree"]
    assert "fewer than 5 photos here" in str(left_out.rows[-1]["left out"])
    (word,) = (table for table in result.tables if table.name == "E9.word")
    difference = word.rows[0]["difference"]
    assert isinstance(difference, Number)
    assert difference.value == pytest.approx(3)


def test_with_swapped_labels_none_holds() -> None:
    def next_to(photo: int) -> str:
        return CONCEPTS[(photo // EACH + 1) % len(CONCEPTS)]

    assert set(verdicts(result_of(tables({}, next_to))).values()) == {FALLS}


@pytest.mark.parametrize(
    ("measure", "control"),
    [(m, r) for m, roles in ROLES.items() for r in roles if r != "own"],
)
def test_each_control_can_fail_its_claim(measure: str, control: str) -> None:
    found = verdicts(result_of(tables({(measure, control): 1.0})))
    for (of, name), verdict in found.items():
        assert verdict == (FALLS if of == measure else HOLDS), (of, name)


def test_other_concepts_units_can_fail_activation() -> None:
    """Units that respond to every photo of every concept tell none from the others."""
    found = tables({})
    rows = found["e9_activation"].to_pylist()
    for row in rows:
        if row["role"] == "own":
            row["mean"] = row["photo"] / N
    found["e9_activation"] = pa.Table.from_pylist(rows, schema=found["e9_activation"].schema)
    result = result_of(found)
    assert verdicts(result)["activation", "total"] == FALLS
    (transfer,) = (table for table in result.tables if table.name == "E9.transfer")
    row = next(row for row in transfer.rows if row["measure"] == "activation")
    assert "other" in str(row["own is"])


def test_placements_are_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, size=(2, 12)).astype(float)
    named = np.zeros((2, 12), dtype=bool)
    named[0, :5] = named[1, 5:9] = True
    without = ~named
    without[0, 11] = False  # something related to it is there
    values[1, 10] = np.nan
    found = placements(values, Photos(("boat", "cat"), named, without))
    for k in range(2):
        pairs = [
            (a > b) + (a == b) / 2
            for a in values[k, named[k]]
            for b in values[k, without[k]]
            if not np.isnan(b)
        ]
        assert np.nanmean(found[k]) == pytest.approx(np.mean(pairs))
        assert np.isnan(found[k][~named[k]]).all()


def test_few_photos_leave_a_claim_open() -> None:
    own = np.full((2, 30), np.nan)
    own[0, :10] = 1.0
    own[1, 10:19] = 1.0
    assert said(Measured({"own": own, "other": np.zeros_like(own)}, 0.0)) is None
    own[1, 19] = 1.0
    assert said(Measured({"own": own, "other": np.zeros_like(own)}, 0.0)) == ABOVE
    assert said(Measured({"own": own, "other": own}, 0.0)) == "not above other"
