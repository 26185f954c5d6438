"""Whether a table of LaTeX fits a page of `article`, reading what was written."""

from __future__ import annotations

import re

from molyneux.report.latex import LINE, escaped
from molyneux.report.numbers import shown
from molyneux.studies.results import ResultTable

WIDTH = 345.0
"""Points of a line of `article` at 10 pt; `\footnotesize` sets 8 pt, 4.25 pt a digit at most."""


def check_latex(table: ResultTable, text: str) -> None:
    """Assert that columns fit the line, words their columns, rows the page, and none is lost."""
    found: dict[str, list[str]] = {column: [] for column in table.columns}
    bodies = re.findall(
        r"\\begin\{tabular\}\{(.*)\}\n\\hline\n(.*) \\\\\n\\hline\n"
        r"((?:.*\n)*?)\\hline\n\\end\{tabular\}",
        text,
    )
    assert bodies, table.name
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(bodies)
    for columns, header, body in bodies:
        widths = [float(part) for part in re.findall(r"p\{([\d.]+)\\textwidth\}", columns)]
        # Each column has its own width and 3 pt on either side.
        assert sum(widths) * WIDTH + 6 * len(widths) <= WIDTH + 0.5, table.name
        rows = [split(line.removesuffix(r" \\")) for line in body.splitlines()]
        names = split(header)
        assert len(names) == len(widths)
        for row in rows:
            assert len(row) == len(widths), (table.name, row)
            for cell, width in zip(row, widths, strict=True):
                longest = max((len(seen(word)) for word in cell.split()), default=0)
                assert longest <= max(width * LINE + 0.1, 30), (table.name, cell)
        assert sum(lines_of(row, widths) for row in rows) <= 60, table.name
        for place, name in enumerate(names):
            column = next(c for c in table.columns if escaped(c) == name)
            found[column] += [row[place] for row in rows]
    for column in table.columns:
        cells = [escaped(shown(row.get(column))) for row in table.rows]
        times = len(found[column]) / max(1, len(cells))
        assert found[column] == cells * int(times), (table.name, column)
        assert times == int(times) >= bool(cells), (table.name, column)
    bare = re.sub(r"\\[&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[#_]", bare)


def split(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)&", line)]


def seen(word: str) -> str:
    """What a word looks like on paper."""
    return re.sub(r"\\text\w+\{\}|\$[^$]*\$|\\(.)", "x", word).replace("~", " ")


def lines_of(row: list[str], widths: list[float]) -> int:
    return max(-(-len(seen(c)) // max(1, int(w * LINE))) for c, w in zip(row, widths, strict=True))
