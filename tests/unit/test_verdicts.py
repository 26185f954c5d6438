"""A verdict is what the table it names says: no more, and open where that is too little."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from molyneux.errors import UsageError
from molyneux.studies.folder import find_tables
from molyneux.studies.results import (
    FALLS,
    HOLDS,
    OPEN,
    Cell,
    Number,
    Result,
    ResultTable,
    Verdict,
    read_result,
)
from molyneux.studies.verdicts import At, Claim, verdict_table

OWN = At("E9.shares", "left", {"set": "own"})
OTHER = At("E9.shares", "left", {"set": "another's"})


def result(apart: Cell, *, verdicts: tuple[Verdict, ...] = ()) -> Result:
    columns = ("set", "units", "left", "difference")
    rows: tuple[dict[str, Cell], ...] = (
        {"set": "own", "units": 10, "left": Number(0.5, 0.4, 0.6, 40)},
        {"set": "own", "units": 100, "left": Number(0.2, 0.1, 0.3, 40), "difference": apart},
        {"set": "another's", "units": 100, "left": Number(0.9, 0.8, 1.0, 40)},
    )
    table = ResultTable("E9.shares", "Shares", columns, rows)
    return Result("E9", "Shares", (table,), verdicts=verdicts)


def claim(side: int | str) -> Claim:
    return Claim("it is less", OWN, OTHER, At("E9.shares", "difference", {"set": "own"}), side)


@pytest.mark.parametrize(
    ("apart", "side", "verdict"),
    [
        (Number(-0.7, -0.8, -0.6, 40), -1, HOLDS),
        (Number(-0.7, -0.8, -0.6, 40), 1, FALLS),
        (Number(0.1, -0.1, 0.3, 40), 1, FALLS),
        (Number(0.1, -0.1, 0.3, 40), -1, FALLS),
        (Number(0.2, 0.1, 0.3, 40), 1, HOLDS),
        (Number(0.2, 0.1, 0.3, 19), 1, OPEN),  # few
        (Number(0.2), 1, OPEN),
        (Number.missing("no weights"), 1, OPEN),
        (None, 1, OPEN),
        ("equivalent", "equivalent", HOLDS),
        ("not shown equivalent", "equivalent", FALLS),
        (None, "equivalent", OPEN),
    ],
)
def test_a_claim_holds_where_its_interval_lies_on_its_side(
    apart: Cell, side: int | str, verdict: str
) -> None:
    found = claim(side).verdict(result(apart))
    assert found.verdict == verdict
    assert found.here == Number(0.2, 0.1, 0.3, 40)  # the last of several rows
    assert found.control == Number(0.9, 0.8, 1.0, 40)


@pytest.mark.parametrize(
    "place",
    [
        At("E9.other", "left", {"set": "own"}),
        At("E9.shares", "right", {"set": "own"}),
        At("E9.shares", "left", {"set": "nobody's"}),
        At("E9.shares", "left", {"size": "own"}),
    ],
)
def test_what_is_not_there_is_open(place: At) -> None:
    found = Claim("it is less", place, place, place).verdict(result(None))
    assert (found.here, found.control, found.verdict) == (None, None, OPEN)


def test_verdicts_are_kept_with_their_numbers_and_make_a_table() -> None:
    bare = result(Number(-0.7, -0.8, -0.6, 40))
    kept = replace(bare, verdicts=(claim(-1).verdict(bare), claim("no").verdict(bare)))
    again = read_result(json.loads(json.dumps(kept.document())))
    assert again == kept
    older = {name: value for name, value in kept.document().items() if name != "verdicts"}
    assert read_result(older).verdicts == ()
    table = verdict_table([bare, again])
    assert table is not None
    assert [(row["experiment"], row["verdict"]) for row in table.rows] == [
        *(("E9", HOLDS), ("E9", FALLS)),
    ]
    assert verdict_table([bare]) is None
    assert find_tables([again], "verdicts") == [table]
    assert [each.name for each in find_tables([again], None)] == ["verdicts", "E9.shares"]
    assert [each.name for each in find_tables([again], "e9")] == ["E9.shares"]
    with pytest.raises(UsageError, match="there is no table 'verdicts'"):
        find_tables([bare], "verdicts")


@pytest.mark.parametrize(("experiment", "warned"), [("E6", True), ("E9", False)])
def test_that_a_cause_is_no_sight_is_said_beside_claims_of_causes(
    experiment: str, warned: bool
) -> None:
    found = result(Number(-0.2, -0.3, -0.1, 76))
    said = replace(found, experiment=experiment, verdicts=(claim(-1).verdict(found),))
    table = verdict_table(one for one in [said])  # any iterable, read once
    assert table is not None
    assert any("Of sight speaks E7" in note for note in table.notes) is warned
