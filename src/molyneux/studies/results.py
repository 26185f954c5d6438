"""What an experiment concludes: numbers with intervals, tables and figures, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from molyneux.parquet import import_pandas
from molyneux.statistics.bootstrap import Estimate, bootstrap, mean

DRAWS = 2000
FEW = 20
"""Photos below which an interval is too narrow to lean on: it is shown, and said."""
FEW_NOTE = (
    f"few: fewer than {FEW} photos are behind that interval, and a bootstrap over so few is too "
    "narrow; take it for a hint, measure more."
)
NONE = "no photo has one"
HOLDS, FALLS, OPEN = "holds", "does not hold", "open"


@dataclass(frozen=True)
class Number:
    """A number, its 95 % interval over photos, and how many photos are behind it.

    Attributes:
        why: why there is no value, where there is none.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str | None = None

    @classmethod
    def of(cls, estimate: Estimate) -> Number:
        """Return a bootstrap estimate as a table's number."""
        return cls(estimate.value, estimate.low, estimate.high, estimate.n)

    @classmethod
    def missing(cls, why: str) -> Number:
        """Return the number that could not be had, and why."""
        return cls(None, why=why)

    @property
    def few(self) -> bool:
        """Whether it has an interval, over fewer photos than one can lean on."""
        return self.low is not None and self.n is not None and self.n < FEW


Cell = str | int | Number | None


@dataclass(frozen=True)
class ResultTable:
    """One table of results.

    Attributes:
        name: as `molyneux table` takes it, such as `E6.word`.
        notes: how the numbers were computed: definitions, what a maximum runs over, the controls.
        columns: in order; a row may leave some out. The column `paper` holds the paper's number.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Cell], ...]
    notes: tuple[str, ...] = ()

    @property
    def has_few(self) -> bool:
        """Whether an interval in it is over few photos."""
        return any(isinstance(c, Number) and c.few for row in self.rows for c in row.values())

    @property
    def said(self) -> tuple[str, ...]:
        """The notes, and that intervals are over few photos where one is."""
        return (*self.notes, FEW_NOTE) if self.has_few else self.notes

    def document(self) -> dict[str, Any]:
        """Return the table as `molyneux table --json` prints it."""
        found = asdict(self)
        for row, cells in zip(found["rows"], self.rows, strict=True):
            for name, cell in cells.items():
                if isinstance(cell, Number):
                    row[name]["few"] = cell.few
        return found | {"notes": list(self.said)}

    def flat(self) -> tuple[list[str], list[list[Any]]]:
        """Return a header and rows in which every part of a number has a column of its own.

        A column `left` with numbers becomes `left`, `left low`, `left high`, `left n` and
        `left few`, which is whether its interval is over fewer than 20 photos.
        """
        numeric = {
            column
            for column in self.columns
            if any(isinstance(row.get(column), Number) for row in self.rows)
        }
        header = [
            f"{column}{part}"
            for column in self.columns
            for part in (("", " low", " high", " n", " few") if column in numeric else ("",))
        ]
        lines = []
        for row in self.rows:
            line: list[Any] = []
            for column in self.columns:
                cell = row.get(column)
                if column not in numeric:
                    line.append(cell)
                elif isinstance(cell, Number):
                    few = cell.few if cell.low is not None else None
                    line += [cell.value, cell.low, cell.high, cell.n, few]
                else:
                    line += [cell, None, None, None, None]
            lines.append(line)
        return header, lines

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame` with the columns of `flat`.

        Raises:
            UsageError: pandas is not installed.
        """
        header, lines = self.flat()
        return import_pandas().DataFrame(lines, columns=header)


@dataclass(frozen=True)
class Verdict:
    """What was found of a claim.

    Attributes:
        claim: a sentence that can be true or false.
        here: what was measured.
        control: the same of what must not show it.
        paper: what the paper has for it; None if nothing.
        verdict: `HOLDS`, `FALLS` or `OPEN`.
    """

    claim: str
    here: Cell
    control: Cell
    paper: str | None
    verdict: str


@dataclass(frozen=True)
class Series:
    """One line, or one set of bars, of a figure; the interval is optional."""

    label: str
    x: tuple[float | str, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class Figure:
    """One figure: lines, bars, or a matrix (`series` are its rows)."""

    name: str
    title: str
    kind: Literal["lines", "bars", "matrix"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()
    log_x: bool = False


@dataclass(frozen=True)
class Result:
    """An experiment's tables and figures, and what they say to its claims."""

    experiment: str
    title: str
    tables: tuple[ResultTable, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the result as it is written to `results/<experiment>.json`."""
        return asdict(self)


def read_result(document: dict[str, Any]) -> Result:
    """Return a result from its document."""

    def cell(value: Any) -> Cell:
        return Number(**value) if isinstance(value, dict) else value

    tables = tuple(
        ResultTable(
            table["name"],
            table["title"],
            tuple(table["columns"]),
            tuple({name: cell(value) for name, value in row.items()} for row in table["rows"]),
            tuple(table["notes"]),
        )
        for table in document["tables"]
    )

    def series(value: dict[str, Any]) -> Series:
        columns: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return Series(**columns)

    figures = tuple(
        Figure(
            **{
                **figure,
                "notes": tuple(figure["notes"]),
                "series": tuple(series(one) for one in figure["series"]),
            }
        )
        for figure in document["figures"]
    )
    verdicts = tuple(
        Verdict(**{**one, "here": cell(one["here"]), "control": cell(one["control"])})
        for one in document.get("verdicts", ())  # of an older run: none were kept
    )
    return Result(
        document["experiment"],
        document["title"],
        tables,
        figures,
        tuple(document["notes"]),
        verdicts,
    )


def over_photos(
    values: np.ndarray, statistic: Callable[..., float] = mean, why: str = NONE
) -> Number:
    """Return a statistic of the photos' values, those without one (NaN) left out.

    Args:
        why: what the cell says where no photo has a value.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Number.missing(why)
    return Number.of(bootstrap(values, statistic=statistic, draws=DRAWS))


def difference(own: np.ndarray, control: np.ndarray, why: str = NONE) -> Number:
    """Return the mean of own - control over the photos that have both."""
    return over_photos(np.asarray(own, dtype=float) - np.asarray(control, dtype=float), why=why)


def ratio(part: np.ndarray, whole: np.ndarray, why: str = NONE) -> Number:
    """Return mean(part) / mean(whole) over the photos that have both."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    both = ~np.isnan(part) & ~np.isnan(whole)
    part, whole = part[both], whole[both]
    if len(part) == 0 or whole.mean() == 0:
        return Number.missing(why)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = bootstrap(
            part, whole, statistic=lambda a, b: float(np.mean(a) / np.mean(b)), draws=DRAWS
        )
    ends = (found.low, found.high)
    low, high = (end if np.isfinite(end) else None for end in ends)
    return Number(found.value, low, high, found.n)


def is_above_zero(number: Number) -> bool:
    """Return whether a number's interval lies above 0."""
    return number.low is not None and number.low > 0
