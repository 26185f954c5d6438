"""A table of results as LaTeX that fits a page of `article`: narrow columns, several tables.

A table with more columns than a line holds becomes several, each beginning with the columns that
name its rows; one with more rows than a page holds goes on in a further one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from molyneux.report.numbers import shown
from molyneux.studies.results import Number, ResultTable

PREAMBLE = r"% \usepackage{array} in the preamble"
LINE = 78
"""Characters that a line of `\footnotesize` holds, over the 345 pt that `article` has."""
LINES = 44
"""Lines of a table that a page holds beside its caption."""
GAP = 2
"""Characters between two columns: twice a `\tabcolsep` of 3 pt."""
LONGEST = 30
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}
_TIED = re.compile(r"\[[^\]]*\]|\(n = [^)]*\)")
"""What of a number no line ends within."""


def as_latex(table: ResultTable) -> str:
    """Return a table as one `table` or several, and its notes below."""
    cells = [[shown(row.get(column)) for column in table.columns] for row in table.rows]
    parts = [
        (columns, widths, rows)
        for columns, widths in _split_columns(table, cells)
        for rows in _split_rows([[row[c] for c in columns] for row in cells], widths)
    ]
    lines = []
    for number, (columns, widths, rows) in enumerate(parts):
        part = f" (part {number + 1} of {len(parts)})" if len(parts) > 1 else ""
        lines += [
            r"\begin{table}[p]",
            r"\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(table.title)}{part}}}",
            rf"\begin{{tabular}}{{{''.join(map(_column, widths))}}}",
            r"\hline",
            " & ".join(escaped(table.columns[c]) for c in columns) + r" \\",
            r"\hline",
            *(" & ".join(map(escaped, row)) + r" \\" for row in rows),
            r"\hline",
            r"\end{tabular}",
            r"\end{table}",
        ]
    if table.said:
        lines.append(rf"{{\footnotesize {escaped(' '.join(table.said))}\par}}")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Return text as LaTeX prints it; intervals and sample sizes stay on one line."""
    found = "".join(_SPECIAL.get(c, c) for c in " ".join(text.split()))
    return _TIED.sub(lambda tied: tied.group().replace(" ", "~"), found)


def _column(width: int) -> str:
    """Return the column of a width in characters: its text is set flush left and wraps."""
    return rf">{{\raggedright\arraybackslash}}p{{{width / LINE:.3f}\textwidth}}"


def _least(texts: Sequence[str]) -> int:
    """Return the width below which a word of a column would not fit."""
    tied = (_TIED.sub(lambda found: found.group().replace(" ", "~"), text) for text in texts)
    return max((len(word) for text in tied for word in text.split()), default=1)


def _split_columns(
    table: ResultTable, cells: list[list[str]]
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield which columns go into each table, and how wide they are."""
    texts = [[name, *(row[c] for row in cells)] for c, name in enumerate(table.columns)]
    least = [min(LONGEST, _least(column)) for column in texts]
    ample = [min(LONGEST, max(map(len, column))) for column in texts]
    keys = _keys(table)
    while keys and sum(least[c] + GAP for c in keys) > LINE // 2:
        keys.pop()
    taken, used = list(keys), sum(least[c] + GAP for c in keys)
    for c in range(len(table.columns)):
        if c in keys:
            continue
        if len(taken) > len(keys) and used + least[c] + GAP > LINE:
            yield taken, _widths(taken, least, ample)
            taken, used = list(keys), sum(least[k] + GAP for k in keys)
        taken.append(c)
        used += least[c] + GAP
    yield taken, _widths(taken, least, ample)


def _keys(table: ResultTable) -> list[int]:
    """Return the columns that name a row: those before the first that holds numbers."""
    numeric = [
        any(isinstance(row.get(column), Number | int | float) for row in table.rows)
        for column in table.columns
    ]
    first = numeric.index(True) if True in numeric else 1
    return list(range(max(1, first)))


def _widths(columns: list[int], least: list[int], ample: list[int]) -> list[int]:
    """Return widths between the least and what a column would take alone, within the line."""
    free = LINE - sum(least[c] + GAP for c in columns)
    wished = sum(ample[c] - least[c] for c in columns)
    part = min(1.0, free / wished) if wished > 0 and free > 0 else 0.0
    return [least[c] + int(part * (ample[c] - least[c])) for c in columns]


def _split_rows(rows: list[list[str]], widths: list[int]) -> Iterator[list[list[str]]]:
    """Yield as many rows as a page holds, going by how often their cells wrap."""
    taken: list[list[str]] = []
    used = 0
    for row in rows:
        height = max(-(-len(text) // width) for text, width in zip(row, widths, strict=True)) or 1
        if taken and used + height > LINES:
            yield taken
            taken, used = [], 0
        taken.append(row)
        used += height
    yield taken
