"""LaTeX of tables that are too wide, too long, and full of what LaTeX takes for its own."""

from __future__ import annotations

import re

from latex_pages import check_latex

from molyneux.report.latex import LINE, as_latex, escaped
from molyneux.studies.results import Number, ResultTable


def wide(columns: int, rows: int) -> ResultTable:
    names = tuple(f"a rather long heading, number {n}" for n in range(columns))
    number = Number(0.41712, 0.339, 0.5164, 12)
    return ResultTable(
        "E9.wide",
        "Wide & long",
        ("view", "set_of_units", *names),
        tuple(
            {
                "view": "patches",
                "set_of_units": f"set_{row} of units that are matched by layer and strength",
                **dict.fromkeys(names, number),
            }
            for row in range(rows)
        ),
        ("A note: 50 % of #1 & {x}.",),
    )


def test_wide_tables_become_several_that_name_their_rows() -> None:
    table = wide(12, 3)
    text = as_latex(table)
    check_latex(table, text)
    parts = text.count(r"\begin{table}")
    assert parts > 1
    assert text.count("view & set\\_of\\_units & ") == parts
    assert f"(part {parts} of {parts})" in text
    assert text.count("A note") == 1
    assert "few: fewer than 20 photos" in text


def test_long_tables_go_on_on_another_page() -> None:
    table = wide(2, 100)
    text = as_latex(table)
    check_latex(table, text)
    assert text.count(r"\begin{table}") > 2


def test_a_small_table_is_one() -> None:
    table = ResultTable("E9.a", "A", ("set", "left"), ({"set": "own", "left": 3},))
    text = as_latex(table)
    check_latex(table, text)
    assert text.count(r"\begin{table}") == 1
    assert "part" not in text


def test_a_table_without_rows_or_numbers() -> None:
    for table in (
        ResultTable("E9.none", "None", ("control",), ()),
        ResultTable("E9.words", "Words", ("a", "b"), ({"a": "x" * 200, "b": None},)),
    ):
        text = as_latex(table)
        widths = re.findall(r"p\{([\d.]+)", text)
        assert 0 < sum(map(float, widths)) <= 1
        assert len(widths) == len(table.columns)


def test_what_latex_takes_for_its_own_is_escaped_and_intervals_stay_whole() -> None:
    assert escaped(r"R&D_50 % #1 {x} $a ~b^2 \c") == (
        r"R\&D\_50 \% \#1 \{x\} \$a \textasciitilde{}b\textasciicircum{}2 \textbackslash{}c"
    )
    assert escaped("0.4 [0.3, 0.5] (n = 8, few)") == "0.4 [0.3,~0.5] (n~=~8,~few)"
    assert escaped("two\nlines") == "two lines"
    assert LINE > 60
