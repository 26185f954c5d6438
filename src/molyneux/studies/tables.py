"""What an experiment concludes: numbers with intervals, tables and figures, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from molyneux.statistics.bootstrap import Estimate


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
    """An experiment's tables and figures."""

    experiment: str
    title: str
    tables: tuple[ResultTable, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()

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
    return Result(
        document["experiment"], document["title"], tables, figures, tuple(document["notes"])
    )
