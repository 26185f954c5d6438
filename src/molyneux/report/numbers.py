"""Numbers and cells of tables, as they are read."""

from __future__ import annotations

import math
import re

from molyneux.studies.results import Cell, Number


def digits(value: float) -> str:
    """Return three digits that matter, at most four decimals; below 0.001 a power of ten."""
    if value == 0 or not math.isfinite(value):
        return str(value) if value else "0"
    size = abs(value)
    if size < 0.001:
        return f"{value:.1e}"
    places = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:.{min(places, 4)}f}"


def brief(why: str) -> str:
    """Return a reason up to its first detail: a cell is narrow, and the notes have it whole."""
    return re.split(r" \(|[;:] ", why, maxsplit=1)[0]


def shown(cell: Cell) -> str:
    """Return a cell as it is read: `0.417 [0.339, 0.516] (n = 76)`; a dash for nothing.

    `(n = 8, few)` says that the interval is over fewer photos than one can lean on.
    """
    if cell is None:
        return "–"
    if not isinstance(cell, Number):
        return str(cell)
    if cell.value is None:
        return f"not measured: {brief(cell.why)}" if cell.why else "–"
    text = digits(cell.value)
    if cell.low is not None and cell.high is not None:
        text += f" [{digits(cell.low)}, {digits(cell.high)}]"
    if cell.n is None:
        return text
    return f"{text} (n = {cell.n}, few)" if cell.few else f"{text} (n = {cell.n})"
