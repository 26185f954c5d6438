"""Caption files of strangers: every command and `train` have one reader."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from odd_data import CAPTIONED, every_reader, refused

from molyneux.data.open import open_dataset
from molyneux.errors import UsageError
from molyneux.training.caption_files import read_examples


@every_reader
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("ending", CAPTIONED)
def test_every_line_end_and_a_byte_order_mark(
    two: Path, read: Any, ending: str, mark: bytes, end: str
) -> None:
    text = CAPTIONED[ending].replace("\n", end)
    (two / f"captions.{ending}").write_bytes(mark + text.encode())
    assert read(two) == {"a.png": ("a cat.",), "b.png": ("a dog.",)}


@every_reader
@pytest.mark.parametrize("ending", CAPTIONED)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(two: Path, read: Any, ending: str, encoding: str) -> None:
    (two / f"captions.{ending}").write_bytes(CAPTIONED[ending].encode(encoding))
    assert f"is {encoding[:6].upper()} text; save it as UTF-8" in refused(lambda: read(two))


@every_reader
@pytest.mark.parametrize("ending", CAPTIONED)
def test_what_is_not_utf8_is_named_with_its_line(two: Path, read: Any, ending: str) -> None:
    text = CAPTIONED[ending].replace("dog", "caf\u00e9").encode("latin-1")
    (two / f"captions.{ending}").write_bytes(text)
    assert "is not UTF-8 text (line" in refused(lambda: read(two))


@every_reader
@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize("ending", CAPTIONED)
def test_only_line_feeds_end_a_line(two: Path, read: Any, ending: str, character: str) -> None:
    within = character if ending != "jsonl" or character >= " " else json.dumps(character)[1:-1]
    text = CAPTIONED[ending].replace("a cat", f"a{within}cat")
    (two / f"captions.{ending}").write_text(text, encoding="utf-8")
    assert read(two) == {"a.png": ("a cat.",), "b.png": ("a dog.",)}


@every_reader
def test_semicolons_quotes_and_empty_rows(two: Path, read: Any) -> None:
    (two / "captions.csv").write_text(
        'file;caption;split\na.png;"a; ""big"" cat,\nasleep.";x\n;;\n\nb.png;a dog, asleep.;\n'
    )
    assert read(two) == {"a.png": ('a; "big" cat, asleep.',), "b.png": ("a dog, asleep.",)}


@every_reader
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,caption\na.png,a cat, on a mat.\n", "line 2: 3 fields where .* 2 columns"),
        ("file;caption\na.png;a cat; on a mat.\n", "line 2: 3 fields"),
        ("file,caption,split\na.png,a cat.,x\nb.png,a dog.\n", "line 3: 2 fields where .* 3"),
        ('file,caption\na.png,"a cat.\nb.png,a dog.\n', "line 2: not a row"),
        ('file,caption\na.png,"a" cat.\n', "line 2: not a row"),
        ("file,caption,caption\na.png,a,b\n", "two columns `caption`"),
        ("photo,words\na.png,a\n", "no column `file`"),
        ("", "no column `file`"),
        ("file,caption\n,a cat.\n", "line 2: no photo is named"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(two: Path, read: Any, text: str, said: str) -> None:
    (two / "captions.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        read(two)


@every_reader
@pytest.mark.parametrize("wrong", ["5", "1.5", "true", "NaN", "Infinity", "1e400", "[1]", "{}"])
@pytest.mark.parametrize("key", ["caption", "captions", "categories"])
def test_a_number_is_no_text(two: Path, read: Any, key: str, wrong: str) -> None:
    rest = "" if key != "categories" else ', "caption": "a cat."'
    (two / "captions.jsonl").write_text(f'{{"file": "a.png", "{key}": {wrong}{rest}}}')
    assert f"line 1: `{key}` is" in refused(lambda: read(two))


@every_reader
@pytest.mark.parametrize("wrong", ["5", "true", "null", "NaN", '""', '["a.png"]', '{"a": 1}'])
def test_what_is_no_name_names_no_photo(two: Path, read: Any, wrong: str) -> None:
    (two / "captions.jsonl").write_text(f'{{"file": {wrong}, "caption": "a cat."}}')
    assert "line 1: no photo is named" in refused(lambda: read(two))
    # An id may stand beside the name, whatever it is called.
    (two / "captions.jsonl").write_text(
        f'{{"image": {wrong}, "file_name": "a.png", "caption": "a cat."}}'
        if wrong != "null"
        else '{"file": null, "image": "a.png", "caption": "a cat."}'
    )
    assert read(two) == {"a.png": ("a cat.",)}


@every_reader
@pytest.mark.parametrize("line", ["[1]", "5", '"a"', "null", "{'file': 1}", "[" * 100_000])
def test_a_line_that_is_no_object_is_named(two: Path, read: Any, line: str) -> None:
    (two / "captions.jsonl").write_text(f'{{"file": "a.png", "caption": "a cat."}}\n{line}')
    assert "line 2: no" in refused(lambda: read(two))


@pytest.mark.parametrize(
    ("split", "read"), [('"x"', "x"), ("5", "5"), ("5.0", "5"), ("true", "true"), ("null", None)]
)
def test_a_split_is_a_name(two: Path, split: str, read: str | None) -> None:
    (two / "captions.jsonl").write_text(f'{{"file": "a.png", "caption": "x", "split": {split}}}')
    assert next(iter(open_dataset(two))).split == read
    for wrong in ("NaN", "1.5", "[]", "Infinity"):
        (two / "captions.jsonl").write_text(f'{{"file": "a.png", "split": {wrong}}}')
        assert "line 1: `split` is" in refused(lambda: open_dataset(two))


def test_numbers_of_a_list_that_no_float_holds(two: Path) -> None:
    for weight in ("1" + "0" * 400, "NaN", "-1", "true", '"2"'):
        line = f'{{"file": "a.png", "caption": "x", "weight": {weight}}}'
        (two / "captions.jsonl").write_text(line)
        assert "line 1: the weight" in refused(lambda: read_examples(two))
    (two / "captions.jsonl").unlink()
    with (two / "captions.csv").open("w", newline="") as file:
        rows = [["file", "caption", "weight", "crop"], ["a.png", "x", "2.5", "[0, 0, 4, 4]"]]
        csv.writer(file).writerows([*rows, ["b.png", "y", "", ""], ["b.png", "z", "", ""]])
    first, second = read_examples(two)[0]
    assert (first.weight, first.crop) == (2.5, (0, 0, 4, 4))
    assert (second.weight, second.crop, second.captions) == (1.0, None, ("y", "z"))
