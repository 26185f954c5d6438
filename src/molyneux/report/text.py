"""Tables of results as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from molyneux.report.latex import PREAMBLE, as_latex
from molyneux.report.numbers import shown
from molyneux.studies.results import ResultTable

Form = Literal["md", "csv", "latex"]


def as_text(tables: Sequence[ResultTable], form: Form) -> str:
    """Return tables in one of three forms.

    CSV has a column for each part of a number; where there are several tables, each begins with a
    header of its own, and every line with the table's name.
    """
    if form == "csv":
        named = len(tables) > 1
        return "\n\n".join(_csv(table, named) for table in tables)
    if form == "latex":
        return "\n\n".join([PREAMBLE, *(as_latex(table) for table in tables)])
    return "\n\n".join(_markdown(table) for table in tables)


def _markdown(table: ResultTable) -> str:
    rows = [[shown(row.get(column)) for column in table.columns] for row in table.rows]
    lines = [
        f"### {table.name}: {table.title}",
        "",
        "| " + " | ".join(_cell(column) for column in table.columns) + " |",
        "|" + "---|" * len(table.columns),
        *("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows),
    ]
    lines += ["", *(f"* {note}" for note in table.said)] if table.said else []
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _csv(table: ResultTable, named: bool) -> str:
    header, lines = table.flat()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for first, line in (("table", header), *((table.name, line) for line in lines)):
        writer.writerow([first, *line] if named else line)
    return buffer.getvalue().rstrip("\n")
