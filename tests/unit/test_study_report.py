"""What a study prints is what it found: every number, interval and sample size, in every form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure as Canvas

from molyneux.errors import UsageError
from molyneux.neurons.unit import Unit
from molyneux.parquet import parquet_bytes
from molyneux.report import write_report
from molyneux.report.figures import as_svg, keys
from molyneux.report.numbers import digits
from molyneux.report.text import as_text
from molyneux.report.units import list_units
from molyneux.store import SCHEMA
from molyneux.studies.parts import MEASURED, PHOTO, write_part
from molyneux.studies.results import Figure, Number, Result, ResultTable, Series, read_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE = ResultTable(
    "E9.made_up",
    "Shares & <b>odds</b>",
    ("set", "R&D_50 %", "left", "paper"),
    (
        {
            "set": "own | top",
            "R&D_50 %": Number(0.41712, 0.339, 0.5164, 76),
            "left": Number(0.04, 0.0004, 1234.6, 8),
            "paper": ".42",
        },
        {
            "set": "control {x}",
            "R&D_50 %": Number.missing("no weights here (fetch them: see below)"),
            "left": Number(-12.345),
            "paper": None,
        },
        {"set": "few, so few", "left": 3},
        {"set": "$none", "R&D_50 %": Number(0.0, 0.0, 0.0, 5)},
    ),
    ("Of #1, 50 %: a~b^2 \\ c.", "Second."),
)
MARKDOWN = """\
### E9.made_up: Shares & <b>odds</b>

| set | R&D_50 % | left | paper |
|---|---|---|---|
| own \\| top | 0.417 [0.339, 0.516] (n = 76) | 0.0400 [4.0e-04, 1235] (n = 8, few) | .42 |
| control {x} | not measured: no weights here | -12.3 | – |
| few, so few | – | 3 | – |
| $none | 0 [0, 0] (n = 5, few) | – | – |

* Of #1, 50 %: a~b^2 \\ c.
* Second.
* few: fewer than 20 photos are behind that interval, and a bootstrap over so few is too narrow; \
take it for a hint, measure more."""
CSV = """\
set,R&D_50 %,R&D_50 % low,R&D_50 % high,R&D_50 % n,R&D_50 % few,\
left,left low,left high,left n,left few,paper
own | top,0.41712,0.339,0.5164,76,False,0.04,0.0004,1234.6,8,True,.42
control {x},,,,,,-12.345,,,,,
"few, so few",,,,,,3,,,,,
$none,0.0,0.0,0.0,5,True,,,,,,"""
CELLS = [
    ["set", "R&D_50 %", "left", "paper"],
    ["own | top", "0.417 [0.339, 0.516] n = 76", "0.0400 [4.0e-04, 1235] n = 8, few", ".42"],
    ["control {x}", "no weights here", "-12.3", "–"],
    ["few, so few", "–", "3", "–"],
    ["$none", "0 [0, 0] n = 5, few", "–", "–"],
]
LINES = Figure(
    "E9.lines",
    "What is left",
    "lines",
    "units off",
    "share left",
    (
        Series("own", (0, 10, 100), (1.0, 0.3, 0.05), (1.0, 0.2, 0.01), (1.0, 0.35, 0.2)),
        Series("another photo's", (0, 10, 100), (1.0, None, 0.8)),
    ),
    log_x=True,
)
BARS = Figure(
    "E9.bars",
    "Where they are",
    "bars",
    "layer",
    "units",
    (
        Series("own", ("L0", "L1", "L2"), (3.0, 0.5, 7.0), (2.0, 0.1, 6.5), (3.5, 0.6, 9.0)),
        Series("control", ("L2", "L0"), (0.25, 1.5)),
    ),
)
MATRIX = Figure(
    "E9.matrix",
    "Which class",
    "matrix",
    "photo of",
    "units of",
    (
        Series("bench", ("bench", "truck", "cow"), (0.71, 0.2, None)),
        Series("truck", ("bench", "truck", "cow"), (0.1, 0.62, 0.04)),
    ),
)


@pytest.mark.parametrize(("form", "text"), [("md", MARKDOWN), ("csv", CSV)])
def test_a_table_prints_every_part_of_every_number(form: Any, text: str) -> None:
    assert as_text([TABLE], form) == text


def test_csv_of_several_tables_carries_their_names() -> None:
    other = replace(TABLE, name="E9.other", columns=("set",), rows=({"set": "own, top"},))
    first, second = as_text([TABLE, other], "csv").split("\n\n")
    assert first.splitlines()[0] == f"table,{CSV.splitlines()[0]}"
    assert all(line.startswith("E9.made_up,") for line in first.splitlines()[1:])
    assert second == 'table,set\nE9.other,"own, top"'


def test_a_table_becomes_a_frame_with_its_numbers_and_says_what_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = TABLE.to_pandas()
    assert list(frame.columns) == CSV.splitlines()[0].split(",")
    assert frame["left"].tolist()[:2] == [0.04, -12.345]
    assert frame["left few"].tolist()[0] is True
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'molyneux\[sql\]'"):
        TABLE.to_pandas()


def test_json_says_which_intervals_are_over_few_photos() -> None:
    document = json.loads(json.dumps(TABLE.document()))
    said = [[row[c]["few"] for c in row if isinstance(row[c], dict)] for row in document["rows"]]
    assert said == [[False, True], [False, False], [], [True]]
    assert document["notes"][-1].startswith("few: fewer than 20 photos")
    many = replace(TABLE, rows=TABLE.rows[1:3])
    assert many.document()["notes"] == list(TABLE.notes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.00099, "9.9e-04"),
        (-0.0004, "-4.0e-04"),
        (0.001, "0.0010"),
        (0.0123, "0.0123"),
        (0.04, "0.0400"),
        (0.41752, "0.418"),
        (1, "1.00"),
        (-12.345, "-12.3"),
        (643, "643"),
        (1234.6, "1235"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_a_result_is_read_back_as_it_was_written() -> None:
    result = Result("E9", "Made up", (TABLE,), (LINES, BARS, MATRIX), ("a note",))
    assert read_result(json.loads(json.dumps(result.document()))) == result


def drawn(monkeypatch: pytest.MonkeyPatch, figure: Figure) -> Axes:
    """Return the axes a figure was drawn on: what they hold is what is seen."""
    made = []
    add = Canvas.add_subplot

    def kept(self: Canvas, *args: Any, **kwargs: Any) -> Axes:
        made.append(add(self, *args, **kwargs))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Canvas, "add_subplot", kept)
        as_svg(figure)
    (axes,) = made
    assert (axes.get_xlabel(), axes.get_ylabel()) == (figure.x_label, figure.y_label)
    return axes


def ticks(labels: list[Any]) -> list[str]:
    return [label.get_text() for label in labels]


def test_lines_go_through_the_numbers_and_bands_are_the_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    axes = drawn(monkeypatch, LINES)
    own, other = (line.get_xydata().tolist() for line in axes.lines)
    assert own == [[0, 1.0], [10, 0.3], [100, 0.05]]
    np.testing.assert_equal(other, [[0, 1.0], [10, math.nan], [100, 0.8]])
    (band,) = axes.collections
    corners = {tuple(point) for path in band.get_paths() for point in path.vertices.tolist()}
    assert corners == {(0, 1.0), (10, 0.2), (10, 0.35), (100, 0.01), (100, 0.2)}
    assert axes.get_xscale() == "symlog"  # a logarithm has no place for 0


def test_lines_over_names_stand_at_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series("own", ("early", "late"), (0.2, 0.9))
    axes = drawn(monkeypatch, Figure("E9.named", "Named", "lines", "when", "share", (series,)))
    at = dict(zip(axes.get_xticks(), ticks(axes.get_xticklabels()), strict=True))
    assert [(at[x], y) for x, y in axes.lines[0].get_xydata()] == [("early", 0.2), ("late", 0.9)]


def test_lines_have_the_colours_of_the_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(Series(f"series {i}", (1.0, 2.0), (0.1 * i, 0.5)) for i in range(8))
    figure = Figure("E9.many", "Many", "lines", "x", "y", many)
    lines, legend = drawn(monkeypatch, figure).lines, keys(figure)
    # A colour of the page's own is written by its name: the others are drawn as they are written.
    plain = [place for place, key in enumerate(legend) if key.colour.startswith("#")]
    assert len(plain) >= 2
    for place in plain:
        assert legend[place].label == f"series {place}"
        assert lines[place].get_color() == legend[place].colour
        assert lines[place].get_ydata()[0] == pytest.approx(0.1 * place)


def test_bars_are_as_high_as_the_numbers_at_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, BARS)
    names = dict(zip(axes.get_xticks(), ticks(axes.get_xticklabels()), strict=True))
    found = [
        {names[round(bar.get_x() + bar.get_width() / 2)]: bar.get_height() for bar in bars.patches}
        for bars in axes.containers
        if hasattr(bars, "patches")
    ]
    assert found == [{"L0": 3.0, "L1": 0.5, "L2": 7.0}, {"L2": 0.25, "L0": 1.5}]
    left, right = axes.patches[0], axes.patches[4]  # both at L0
    assert left.get_x() + left.get_width() == pytest.approx(right.get_x())
    (whiskers,) = axes.collections
    ends = {names[round(a[0])]: (a[1], b[1]) for a, b in whiskers.get_segments()}
    for name, low, high in (("L0", 2.0, 3.5), ("L1", 0.1, 0.6), ("L2", 6.5, 9.0)):
        assert ends[name] == pytest.approx((low, high))


def test_a_matrix_shows_and_prints_its_numbers_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = drawn(monkeypatch, MATRIX)
    (image,) = axes.images
    shades = np.ma.filled(image.get_array(), math.nan)
    np.testing.assert_equal(shades, [[0.71, 0.2, math.nan], [0.1, 0.62, 0.04]])
    assert image.origin == "upper"
    assert image.get_clim()[0] == 0
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "0.71", (1, 0): "0.20", (0, 1): "0.10", (1, 1): "0.62", (2, 1): "0.04",
    }  # fmt: skip
    assert (list(axes.get_xticks()), list(axes.get_yticks())) == ([0, 1, 2], [0, 1])
    assert ticks(axes.get_xticklabels()) == ["bench", "truck", "cow"]
    assert ticks(axes.get_yticklabels()) == ["bench", "truck"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished study of three photos, one of which could not be read."""
    folder = tmp_path / "run"
    result = Result("E9", "Made up", (TABLE,), (LINES, BARS, MATRIX), ("a note",))
    model = {
        "preset": None,
        "language_model": "a model",
        "encoder": "an eye",
        "projection": {},
        "layout": {"begin": None, "text": "A picture of"},
        "dtype": "float32",
        "reference": {"photos": 200},
    }
    manifest = {
        "schema": SCHEMA,
        "kind": "study",
        "created": "2024-05-01T12:00:00+0000",
        "argv": ["study", "coco"],
        "settings": {"experiments": ["E2"]},
        "model": model,
    }
    for index, error in enumerate((None, "it is no <image>", None)):
        row = {"index": index, "id": f"{index}.jpg", "error": error}
        write_part(folder, MEASURED, row, PHOTO)
    (folder / "results").mkdir()
    (folder / "results" / "E9.json").write_text(json.dumps(result.document()), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


class Page(HTMLParser):
    """The cells of each table, the drawings by their captions, and the items of all lists."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, str] = {}
        self.items: list[str] = []
        self.titles: list[str] = []
        self._text: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._text[tag] = ""
        if tag == "tr":
            self._row: list[str] = []

    def handle_data(self, data: str) -> None:
        for tag in self._text:
            self._text[tag] += data

    def handle_endtag(self, tag: str) -> None:
        text = " ".join(self._text.pop(tag, "").split())
        if tag in ("td", "th"):
            self._row.append(text)
        elif tag == "tr":
            self.tables[self._name].append(self._row)
        elif tag == "code":
            self._name = text
            self.tables[text] = []
        elif tag == "figcaption":
            self._caption = text
        elif tag == "svg":
            self.figures.setdefault(self._caption, text)
        elif tag == "li":
            self.items.append(text)
        elif tag in ("h1", "h3"):
            self.titles.append(text)


def test_the_page_shows_the_results_number_by_number(run: Path) -> None:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.tables[TABLE.name] == CELLS
    assert page.titles == ["2 photos, 1 result", f"{TABLE.title}{TABLE.name}"]
    assert "Warning: 2 photos." in write_report(run).read_text(encoding="utf-8")
    for note in ("a note", *TABLE.said, "1.jpg: it is no <image>", "own", "another photo's"):
        assert note in page.items
    assert list(page.figures) == [LINES.title, BARS.title, MATRIX.title]
    for figure, found in zip((LINES, BARS, MATRIX), page.figures.values(), strict=True):
        assert figure.x_label in found
        assert figure.y_label in found
    assert "0.71 0.20 0.10 0.62 0.04" in page.figures[MATRIX.title]


def test_a_process_without_torch_writes_the_same_page_and_lists_the_same_units(run: Path) -> None:
    columns = {"layer": [12, 3], "unit": [905, 7], "sign": [1, -1], "n_top": [2, 1]}
    columns |= {"n_specific": [2, 1], "n_multimodal": [1, 0]}
    units = pa.table({**columns, "multimodal": [True, None]})
    (run / "tables").mkdir()
    (run / "tables" / "units.parquet").write_bytes(parquet_bytes(units))
    page = write_report(run).read_bytes()
    program = (
        "import sys; from pathlib import Path; run = Path(sys.argv[1]); "
        "import molyneux.report.study_page, molyneux.report.units as units; "
        "molyneux.report.study_page.write_study_report(run); "
        "print([row['unit'] for row in units.list_units(run, 'all', 5)[0]]); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(run)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "1"},
    )
    assert (run / "report.html").read_bytes() == page
    names = [str(Unit(12, 905)), f"{Unit(3, 7)}-"]
    assert said.stdout.strip() == str(names)
    assert [row["unit"] for row in list_units(run, "all", 5)[0]] == names
    assert [row["unit"] for row in list_units(run, "multimodal", 5)[0]] == names[:1]


def test_units_of_a_run_before_one_photo_had_to_meet_all_are_not_called_multimodal(
    run: Path,
) -> None:
    columns = {"layer": [12], "unit": [905], "sign": [1], "n_top": [2], "n_specific": [2]}
    (run / "tables").mkdir()
    table = pa.table({**columns, "multimodal": [True]})
    (run / "tables" / "units.parquet").write_bytes(parquet_bytes(table))
    (row,), total = list_units(run, "all", 5)
    assert (row["apart"], row["n_multimodal"], row["multimodal"]) == (True, None, None)
    assert total == 1
    assert list_units(run, "multimodal", 5) == ([], 0)
