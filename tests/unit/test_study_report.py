"""What a study prints is what it found: every number, interval and sample size, in every form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from report_page import ReportPage

from molyneux.errors import RunError, UsageError
from molyneux.neurons.unit import Unit
from molyneux.pages.one_file import write_report
from molyneux.parquet import parquet_bytes
from molyneux.report.numbers import digits
from molyneux.report.text import as_text
from molyneux.report.units import list_units
from molyneux.store import SCHEMA
from molyneux.studies.parts import MEASURED, PHOTO, write_part
from molyneux.studies.results import (
    Figure,
    Number,
    Result,
    ResultTable,
    Series,
    Verdict,
    read_result,
)

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
        "n_layers": 3,
        "n_units": 30,
    }
    manifest = {
        "schema": SCHEMA,
        "kind": "study",
        "created": "2024-05-01T12:00:00+0000",
        "argv": ["study", "coco"],
        "settings": {"experiments": ["E2"]},
        "data": {"photos": 3},
        "model": model,
    }
    for index, error in enumerate((None, "it is no <image>", None)):
        row = {"index": index, "id": f"{index}.jpg", "error": error}
        write_part(folder, MEASURED, row, PHOTO)
    (folder / "results").mkdir()
    (folder / "results" / "E9.json").write_text(json.dumps(result.document()), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_the_page_shows_the_results_number_by_number(run: Path) -> None:
    page = ReportPage(write_report(run))
    shown = page.data["study/r0"]
    assert shown["title"] == "2 photos, 1 result"
    assert shown["few"].startswith("2 photos. Intervals over fewer than 20 photos")
    assert shown["bad"] == [["1.jpg", "it is no <image>"]]
    (result,) = shown["results"]
    assert (result["title"], result["notes"]) == ("Made up", ["a note"])
    (table,) = result["tables"]
    assert (table["name"], table["title"]) == (TABLE.name, TABLE.title)
    assert table["said"] == list(TABLE.said)
    assert [table["columns"], *(list(map(written, row)) for row in table["rows"])] == CELLS
    assert result["figures"] == [
        json.loads(json.dumps(asdict(each))) for each in (LINES, BARS, MATRIX)
    ]


def written(cell: Any) -> str:
    """Return a cell as the page writes it."""
    if not isinstance(cell, dict):
        return "–" if cell is None else str(cell)
    if cell["value"] is None:
        return str(cell["why"])
    interval = f" [{cell['low']}, {cell['high']}]" if cell["low"] is not None else ""
    few = ", few" if cell["few"] else ""
    return f"{cell['value']}{interval}" + (f" n = {cell['n']}{few}" if cell["n"] else "")


def test_a_study_begins_with_its_verdicts_which_stand_without_scripts_too(run: Path) -> None:
    verdict = Verdict("units <b>see</b>", Number(0.9, 0.8, 1.0, 194), Number(0.1), ".5", "holds")
    result = Result("E9", "Made up", (TABLE,), verdicts=(verdict,))
    (run / "results" / "E9.json").write_text(json.dumps(result.document()), encoding="utf-8")
    page = ReportPage(write_report(run))
    (row,) = page.data["study/r0"]["verdicts"]["rows"]
    assert (row["experiment"], row["claim"], row["verdict"]) == ("E9", verdict.claim, "holds")
    assert "E9 units <b>see</b> 0.900 [0.800, 1.00] (n = 194) 0.100 .5 holds" in page.text
    assert not page.all("b")


def test_a_study_that_is_not_finished_has_no_page(run: Path) -> None:
    (run / "results" / "E9.json").unlink()
    with pytest.raises(RunError, match="no results yet"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_process_without_torch_writes_the_same_page_and_lists_the_same_units(run: Path) -> None:
    columns = {"layer": [12, 3], "unit": [905, 7], "sign": [1, -1], "n_top": [2, 1]}
    columns |= {"n_specific": [2, 1], "n_multimodal": [1, 0]}
    units = pa.table({**columns, "multimodal": [True, None]})
    (run / "tables").mkdir()
    (run / "tables" / "units.parquet").write_bytes(parquet_bytes(units))
    page = write_report(run).read_bytes()
    program = (
        "import sys; from pathlib import Path; run = Path(sys.argv[1]); "
        "import molyneux.pages.one_file as pages, molyneux.report.units as units; "
        "pages.write_report(run); "
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
