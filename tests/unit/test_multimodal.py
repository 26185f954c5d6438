"""The table of units and its funnel, on a study made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from molyneux.studies.derived.multimodal.units import (
    APART,
    JOINED,
    SAME,
    SCHEMA,
    SWAPPED,
    all_met,
    funnel,
    unit_conditions,
)
from molyneux.studies.e6_causality.measure import UNITS
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number
from molyneux.studies.settings import StudySettings

LISTED = pa.schema(
    [
        ("photo", pa.int32()),
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("specific", pa.float64()),
        ("text", pa.string()),
    ]
)
TESTED = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("role", pa.string()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("found_in", pa.list_(pa.string())),
        ("active_in", pa.list_(pa.string())),
        ("selective", pa.bool_()),
        ("n_classes", pa.int32()),
    ]
)


def listed(photo: int, unit: int, ranking: str = "top", **other: Any) -> dict[str, Any]:
    row = {"photo": photo, "view": "patches", "ranking": ranking, "rank": 0, "layer": 0}
    return {**row, "unit": unit, "sign": 1, "specific": 2.0, "text": f"word{unit}", **other}


def confirmed(
    unit: int, selective: bool, n_classes: int, active: tuple[str, ...] = ("dog",), **other: Any
) -> dict[str, Any]:
    row = {"view": "patches", "ranking": "top", "role": "found", "layer": 0, "unit": unit}
    row |= {"found_in": ["dog", "cat"], "active_in": list(active) if selective else []}
    return {**row, "sign": 1, "selective": selective, "n_classes": n_classes, **other}


def silenced(photo: int, unit: int, effect: float, ranking: str = "top") -> dict[str, Any]:
    row = {"photo": photo, "ranking": ranking, "rank": 0, "layer": 0, "unit": unit}
    return {**row, "effect": effect, "total": effect}


def finished(
    *,
    e2: list[dict[str, Any]],
    e5: list[dict[str, Any]] | None = None,
    e6: list[dict[str, Any]] | None = None,
    nouns: tuple[str | None, ...] = ("dog", "cat", "bus"),
) -> Finished:
    """A model of 2 x 8 units: units 0 to 5 of layer 0 write words; unit 7 is a sink."""
    interpretable = np.zeros((2, 2, 8), dtype=bool)
    interpretable[:, 0, :6] = True
    interpretable[0, 0, 5] = False  # not in its negative direction
    sinks = np.zeros((2, 8), dtype=bool)
    sinks[0, 7] = True
    model = ModelTables(interpretable, {"patches": sinks, "last": ~sinks}, np.ones((2, 8)))
    measured = {"e2_units": pa.Table.from_pylist(e2, schema=LISTED)}
    if e5 is not None:
        measured["e5_units"] = pa.Table.from_pylist(e5, schema=TESTED)
    if e6 is not None:
        schema = pa.schema([("photo", pa.int32()), *UNITS])
        measured["e6_units"] = pa.Table.from_pylist(e6, schema=schema)
    photos = pa.table({"sha256": [f"{i}" for i in range(len(nouns))], "noun": nouns})
    return Finished(Path(), StudySettings(), {}, model, photos, measured)


# Unit 0 meets everything; each of the next ones lacks one thing or was not tested for it.
E2 = [
    *(listed(photo, 0) for photo in (0, 1, 2)),
    *(listed(0, unit) for unit in (1, 2, 3, 4, 6, 7)),
    listed(0, 0, "specific", specific=4.0),
    listed(1, 0, "specific", specific=2.0),
    *(listed(0, unit, "specific") for unit in (1, 2, 3, 6, 7)),
    listed(2, 4, "specific", view="last"),  # counts in the patch view only
    listed(0, 5, "specific", sign=-1),
]
E5 = [
    confirmed(0, True, 1),
    confirmed(0, False, 3, sign=-1),
    confirmed(1, False, 0),
    confirmed(1, True, 1, view="last"),  # found in another view
    confirmed(2, True, 1, role="control"),  # stands in for a unit that was found
    confirmed(3, True, 2),
    confirmed(0, True, 1, layer=1),
]
E6 = [
    silenced(0, 0, 0.5),
    silenced(0, 0, 0.5, "specific"),  # the same silencing, listed twice
    silenced(1, 0, 0.3),
    silenced(0, 3, 0.1),
    *(silenced(0, 6, effect, "other_specific") for effect in np.linspace(0, 0.2, 101).tolist()),
]


@pytest.fixture
def rows() -> dict[tuple[int, int], dict[str, Any]]:
    table, _ = unit_conditions(finished(e2=E2, e5=E5, e6=E6))
    assert table.schema.equals(SCHEMA)
    return {(row["layer"], row["unit"]): row for row in table.to_pylist()}


def test_a_row_per_unit_that_is_listed_or_tested(rows: Any) -> None:
    assert list(rows) == [*((0, unit) for unit in range(8)), (1, 0)]


def test_photos_are_counted_in_the_patch_view(rows: Any) -> None:
    assert {unit: row["n_top"] for (layer, unit), row in rows.items() if layer == 0} == {
        0: 3,
        1: 1,
        2: 1,
        3: 1,
        4: 1,
        5: 0,
        6: 1,
        7: 1,
    }
    assert rows[0, 0]["n_specific"] == 2
    assert rows[0, 4]["n_specific"] == 0
    assert rows[0, 0]["specific"] == 3.0
    assert rows[0, 4]["specific"] is None
    assert rows[1, 0]["n_top"] == 0
    assert rows[0, 7]["sink"]
    assert not rows[0, 0]["sink"]


def test_the_direction_of_most_photos_decides_what_a_unit_writes() -> None:
    e2 = [
        listed(0, 5, sign=1, text="up"),
        listed(1, 5, sign=-1, text="down"),
        listed(2, 5, sign=-1, text="down"),
        listed(0, 4, sign=1),
        listed(1, 4, sign=-1),
    ]
    row = unit_conditions(finished(e2=e2))[0].to_pylist()
    five = next(r for r in row if r["unit"] == 5)
    assert (five["sign"], five["interpretable"], five["tokens"]) == (-1, False, "down")
    even = next(r for r in row if r["unit"] == 4)
    assert (even["sign"], even["interpretable"]) == (1, True)


def test_effects_are_means_over_photos_beside_other_photos_units(rows: Any) -> None:
    # Unit 0: .5 on one photo (twice listed) and .3 on another. Others' 95th percentile: .19.
    assert (rows[0, 0]["effect"], rows[0, 0]["n_effect"]) == (pytest.approx(0.4), 2)
    assert rows[0, 0]["above_other"] is True
    assert rows[0, 3]["above_other"] is False
    assert rows[0, 1]["effect"] is None
    assert rows[0, 1]["above_other"] is None
    assert rows[0, 6]["n_effect"] == 0, "its effects are those on another photo's word"
    metadata = unit_conditions(finished(e2=E2, e5=E5, e6=E6))[0].schema.metadata
    assert float(metadata[b"threshold"]) == pytest.approx(0.19)
    assert metadata[b"n_other"] == b"101"


def test_selective_in_any_direction_and_null_where_untested(rows: Any) -> None:
    assert [rows[0, unit]["selective"] for unit in range(5)] == [True, False, None, True, None]
    assert rows[0, 0]["n_classes"] == 3
    assert rows[0, 2]["n_classes"] is None


def test_each_met_on_any_photo_is_all_five_and_never_a_guess(rows: Any) -> None:
    assert {unit: row["apart"] for (layer, unit), row in rows.items() if layer == 0} == {
        0: True,
        1: False,  # not selective
        2: None,  # neither was tested
        3: False,  # its effect is small
        4: False,  # not specific
        5: False,  # never a top unit
        6: False,  # writes no words
        7: False,
    }
    assert all_met((True, None, True)) is None
    assert all_met((True, None, False)) is False


def test_the_funnel_counts_untested_units_apart() -> None:
    table = funnel(*unit_conditions(finished(e2=E2, e5=E5, e6=E6)))
    counts = [
        [row.get(name) for name in (SAME, "failed", "untested", "of these sinks", APART)]
        for row in table.rows
    ]
    assert counts == [
        [9, None, None, 1, 9],
        [7, 2, 0, 1, 7],  # unit 5 and L1.u0 are never top
        [5, 2, 0, 0, 5],  # 6 and 7 write no words
        [4, 1, 0, 0, 4],  # 4 is not specific
        [1, 1, 2, 0, 1],  # 3 has a small effect, 1 and 2 were not tested
        [1, 0, 0, 0, 1],
    ]
    assert "1 units meet all five" in table.notes[0]
    assert "1 more fail none" in table.notes[0]


# Unit 0 meets everything for photo 0, a dog; units 1 to 4 meet everything too, each one condition
# on another photo than the rest.
APART_E2 = [
    *(listed(0, unit) for unit in (0, 2, 3, 4)),
    listed(1, 1),
    *(listed(0, unit, "specific") for unit in (0, 1, 3, 4)),
    listed(1, 2, "specific"),
]
APART_E5 = [
    *(confirmed(unit, True, 1) for unit in (0, 1, 2, 3)),
    confirmed(4, True, 1, ("cat",)),
]
APART_E6 = [
    *(silenced(0, unit, 0.5) for unit in (0, 1, 2, 4)),
    silenced(0, 3, 0.05),
    silenced(1, 3, 2.0),
    *(silenced(0, 6, 0.1, "other_specific") for _ in range(10)),
]


def test_conditions_have_to_hold_for_one_photo_and_its_word() -> None:
    table, pairs = unit_conditions(finished(e2=APART_E2, e5=APART_E5, e6=APART_E6))
    rows = {row["unit"]: row for row in table.to_pylist()}
    assert [rows[unit]["apart"] for unit in range(5)] == [True] * 5
    # 1 is a top unit and 2 is specific on the other photo; 3 takes from its word alone; 4 is
    # selective for what the other photo's word names.
    assert [rows[unit]["multimodal"] for unit in range(5)] == [True, False, False, False, False]
    assert [rows[unit]["n_multimodal"] for unit in range(5)] == [1, 0, 0, 0, 0]
    found = funnel(table, pairs).rows
    assert [row[APART] for row in found[1:]] == [5, 5, 5, 5, 5]
    assert [row[SAME] for row in found[1:]] == [5, 5, 3, 2, 1]


def test_the_class_has_to_be_what_the_word_names() -> None:
    everything = [listed(0, 0), listed(0, 0, "specific")]
    effect = [silenced(0, 0, 0.5), silenced(1, 0, 0.1, "other_specific")]
    for noun, expected in (("flower", None), ("dog", True), ("cat", False)):
        study = finished(
            e2=everything, e5=[confirmed(0, True, 1)], e6=effect, nouns=(noun, "bus", "train")
        )
        (row,) = unit_conditions(study)[0].to_pylist()
        assert row["multimodal"] is expected, noun
        assert row["selective"] is True
    opposite = [confirmed(0, True, 1, sign=-1)]
    (row,) = unit_conditions(finished(e2=everything, e5=opposite, e6=effect))[0].to_pylist()
    assert row["multimodal"] is None  # measured in the direction that it does not write here


def controls(own: bool) -> list[dict[str, Any]]:
    """Return the funnel of 6 photos of as many words and units.

    Args:
        own: whether each photo has a unit of its own, or all photos have all units.
    """
    nouns = ("dog", "cat", "bus", "train", "bird", "horse")
    of = {photo: (photo,) if own else tuple(range(6)) for photo in range(6)}
    e2 = [listed(p, u, ranking) for p in of for u in of[p] for ranking in ("top", "specific")]
    e2 += [listed(p, 7) for p in of]  # beside it, a top unit that meets nothing else
    e5 = [confirmed(u, True, 1, tuple(nouns[p] for p in of if u in of[p])) for u in range(6)]
    e5[0]["found_in"] = list(nouns)
    e6 = [silenced(p, u, 0.5) for p in of for u in of[p]]
    e6 += [silenced(0, 6, 0.1, "other_specific")]
    study = finished(e2=e2, e5=e5, e6=e6, nouns=nouns)
    study.model.interpretable[:, 0, 5] = True
    return list(funnel(*unit_conditions(study)).rows)


def value(cell: Any) -> float:
    assert isinstance(cell, Number)
    assert cell.value is not None
    return cell.value


def test_conditions_of_different_photos_meet_where_units_are_the_photos_alike() -> None:
    whole = controls(own=True)
    assert [row[SAME] for row in whole[1:]] == [7, 6, 6, 6, 6]
    assert [value(row[JOINED]) for row in whole[1:]] == [7, 6, 0, 0, 0]
    assert whole[-1][APART] == 6
    # Where every unit is every photo's, there is nothing to tell own from others: the control
    # comes out as high.
    alike = controls(own=False)
    assert [row[SAME] for row in alike[1:]] == [7, 6, 6, 6, 6]
    assert [value(row[JOINED]) for row in alike[1:]] == [7, 6, 6, 6, 6]


def test_conditions_of_like_units_meet_where_all_units_meet_them() -> None:
    # A photo's own unit has none beside it but one that writes no words.
    assert [row[SWAPPED] for row in controls(own=True)[1:]] == [7, 1, 0, 0, 0]
    assert controls(own=False)[-1][SWAPPED] >= 6


def test_one_word_alone_has_no_other_photos() -> None:
    found = funnel(*unit_conditions(finished(e2=E2, e5=E5, e6=E6, nouns=("dog",) * 3))).rows
    joined = found[1][JOINED]
    assert isinstance(joined, Number)
    assert joined.value is None
    assert joined.why


def test_without_the_tests_nothing_is_multimodal() -> None:
    table, pairs = unit_conditions(finished(e2=E2))
    assert set(table["multimodal"].to_pylist()) == {None, False}
    assert set(table["effect"].to_pylist()) == {None}
    rows = funnel(table, pairs).rows
    assert (rows[4][SAME], rows[4]["untested"]) == (0, 4)
    assert "none was measured" in " ".join(funnel(table, pairs).notes)


def test_a_study_without_nouns_gives_an_empty_table() -> None:
    table, pairs = unit_conditions(finished(e2=[], e5=[], e6=[], nouns=(None, None)))
    assert table.num_rows == 0
    assert [row[SAME] for row in funnel(table, pairs).rows] == [0] * 6
