"""A table of results as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Literal

from molyneux.studies.results import Cell, Number, ResultTable

Form = Literal["md", "csv", "latex"]

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


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
    """Return a cell as it is read: `0.417 [0.339, 0.516] (n = 76)`; a dash for nothing."""
    if cell is None:
        return "–"
    if not isinstance(cell, Number):
        return str(cell)
    if cell.value is None:
        return f"not measured: {brief(cell.why)}" if cell.why else "–"
    text = digits(cell.value)
    if cell.low is not None and cell.high is not None:
        text += f" [{digits(cell.low)}, {digits(cell.high)}]"
    return text if cell.n is None else f"{text} (n = {cell.n})"


def as_text(table: ResultTable, form: Form) -> str:
    """Return a table in one of three forms; CSV has a column for each part of a number."""
    if form == "csv":
        return _csv(table)
    rows = [[shown(row.get(column)) for column in table.columns] for row in table.rows]
    if form == "md":
        lines = [
            f"### {table.name}: {table.title}",
            "",
            "| " + " | ".join(_cell(column) for column in table.columns) + " |",
            "|" + "---|" * len(table.columns),
            *("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows),
        ]
        lines += ["", *(f"* {note}" for note in table.notes)] if table.notes else []
        return "\n".join(lines)
    return _latex(table, rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(table: ResultTable) -> str:
    numeric = {
        column
        for column in table.columns
        if any(isinstance(row.get(column), Number) for row in table.rows)
    }
    parts = ("", " low", " high", " n")
    header = [
        f"{column}{part}"
        for column in table.columns
        for part in (parts if column in numeric else ("",))
    ]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        line: list[object] = []
        for column in table.columns:
            cell = row.get(column)
            if column not in numeric:
                line.append(cell)
            elif isinstance(cell, Number):
                line += [cell.value, cell.low, cell.high, cell.n]
            else:
                line += [cell, None, None, None]
        writer.writerow(line)
    return buffer.getvalue().rstrip("\n")


def _latex(table: ResultTable, rows: list[list[str]]) -> str:
    def escaped(text: str) -> str:
        return "".join(_LATEX.get(c, c) for c in text).replace("–", "--")

    lines = [
        r"\begin{table}",
        rf"\caption{{{escaped(table.title)}. {escaped(' '.join(table.notes))}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\hline",
        " & ".join(escaped(column) for column in table.columns) + r" \\",
        r"\hline",
        *(" & ".join(escaped(text) for text in row) + r" \\" for row in rows),
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)
