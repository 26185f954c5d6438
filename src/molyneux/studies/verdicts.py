"""What a study says to each claim, in a line: the claim, the number, its control, the verdict.

An experiment declares its claims as places in its own tables, so that a verdict is never computed
apart from the table that a reader can check it by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from molyneux.studies.results import (
    FALLS,
    FEW,
    HOLDS,
    OPEN,
    Cell,
    Number,
    Result,
    ResultTable,
    Verdict,
)

NAME = "verdicts"


@dataclass(frozen=True)
class At:
    """A cell of an experiment's tables.

    Attributes:
        table: its name, such as `E6.word`.
        column: as the table has it.
        row: what its row says in other columns; of several such rows the last counts.
    """

    table: str
    column: str
    row: Mapping[str, Cell] = field(default_factory=dict)

    def of(self, result: Result) -> Cell:
        """Return the cell; None where there is no such table, row or column."""
        rows = [row for table in result.tables if table.name == self.table for row in table.rows]
        found = [row for row in rows if all(row.get(k) == v for k, v in self.row.items())]
        return found[-1].get(self.column) if found else None


@dataclass(frozen=True)
class Claim:
    """A claim, and where an experiment's tables have what decides it.

    Attributes:
        here: what was measured.
        control: the same of what must not show it.
        decided: the number whose interval must lie on one side of 0, as a difference of the two
            does; or the text that says it.
        side: of 0, where it holds: 1 above, -1 below; or the text that is said then.
    """

    claim: str
    here: At
    control: At
    decided: At
    side: int | str = 1
    paper: str | None = None

    def verdict(self, result: Result) -> Verdict:
        """Return what a result says; open where it has too little, or fewer than 20 photos."""
        here, control = self.here.of(result), self.control.of(result)
        return Verdict(self.claim, here, control, self.paper, self._said(self.decided.of(result)))

    def _said(self, cell: Cell) -> str:
        if isinstance(self.side, str):
            return OPEN if cell is None else HOLDS if cell == self.side else FALLS
        if not isinstance(cell, Number) or cell.low is None or cell.high is None or cell.few:
            return OPEN
        return HOLDS if (cell.low > 0 if self.side > 0 else cell.high < 0) else FALLS


def verdict_table(results: Iterable[Result]) -> ResultTable | None:
    """Return all experiments' verdicts as one table; None where there are none."""
    given = tuple(results)
    rows = tuple(
        {
            "experiment": result.experiment,
            "claim": one.claim,
            "here": one.here,
            "control": one.control,
            "paper": one.paper,
            "verdict": one.verdict,
        }
        for result in given
        for one in result.verdicts
    )
    if not rows:
        return None
    said = [
        "A claim of a difference holds where the 95 % interval of the difference from its control "
        "lies on the claim's side of 0; one of no difference where the interval lies inside the "
        f"margin that its experiment states. It is open below {FEW} photos or where nothing was "
        "measured. Each row is taken from the tables below, which say how it was measured.",
        "Of claims of a difference that are all false one in forty would hold by chance.",
    ]
    if any(result.experiment == "E6" and result.verdicts for result in given):
        said.append(
            "E6 says what causes a word, not that anything was seen: it asks for no word that the "
            "photo does not show, whose own units might take as much of it. Of sight speaks E7."
        )
    return ResultTable(
        NAME,
        "What holds here",
        ("experiment", "claim", "here", "control", "paper", "verdict"),
        rows,
        tuple(said),
    )
