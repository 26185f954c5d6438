"""What strangers' data sets hold: each kind of oddity is read as it is meant, or named."""

from __future__ import annotations

import csv
import gzip
import inspect
import io
import json
import tarfile
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molyneux.data.coco import Coco
from molyneux.data.copies import check_copy
from molyneux.data.dataset import left_out_of
from molyneux.data.open import kind_of, open_dataset
from molyneux.data.selection import select
from molyneux.data.webdataset import Shards
from molyneux.errors import MolyneuxError, UsageError
from molyneux.training.caption_files import read_examples
from molyneux.training.data import Wanted, open_data
from molyneux.vision.photo import SUFFIXES


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 8), "red").save(path, "PNG")
    return path


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(data, "PNG")
    return data.getvalue()


def refused(opens: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        opens()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# Caption files: every command and `train` have one reader.


def by_open(folder: Path) -> dict[str, tuple[str, ...]]:
    return {item.id: item.captions for item in open_dataset(folder) if item.captions}


def by_train(folder: Path) -> dict[str, tuple[str, ...]]:
    said: dict[str, tuple[str, ...]] = {}
    for example in read_examples(folder)[0]:
        assert example.file is not None
        name = example.file.relative_to(folder).as_posix()
        said[name] = said.get(name, ()) + example.captions
    return said


every_reader = pytest.mark.parametrize("read", [by_open, by_train])


@pytest.fixture
def two(tmp_path: Path) -> Path:
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    return tmp_path


CAPTIONED = {
    "jsonl": ('{"file": "a.png", "caption": "a cat."}\n{"file": "b.png", "caption": "a dog."}'),
    "csv": "file,caption\na.png,a cat.\nb.png,a dog.",
    "tsv": "file\tcaption\na.png\ta cat.\nb.png\ta dog.",
}


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


# Names.


def written(name: str) -> list[str]:
    """Names that mean the photo `sub/ä b.png` on some system."""
    return [
        name,
        f"./{name}",
        name.replace("/", "\\"),
        ".\\" + name.replace("/", "\\"),
        unicodedata.normalize("NFD", name),
        "sub/%C3%A4%20b.png",
        "sub%5C%C3%A4%20b.png",
    ]


NAME = "sub/ä b.png"


@every_reader
@pytest.mark.parametrize("as_written", written(NAME))
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_from_another_system(tmp_path: Path, read: Any, as_written: str, form: str) -> None:
    name = unicodedata.normalize(form, NAME)  # type: ignore[arg-type]
    photo(tmp_path / name)
    line = json.dumps({"file": as_written, "caption": "a cat."})
    (tmp_path / "captions.jsonl").write_text(line)
    assert read(tmp_path) == {name: ("a cat.",)}
    (tmp_path / "captions.jsonl").unlink()
    (tmp_path / "some.txt").write_text(as_written, encoding="utf-8")
    assert [item.id for item in open_dataset(tmp_path / "some.txt")] == [name]
    assert select(open_dataset(tmp_path), [f"listed={tmp_path / 'some.txt'}"]).ids == [name]
    document = {"images": [{"id": 1, "file_name": as_written}]}
    (tmp_path / "captions.json").write_text(json.dumps(document))
    (item,) = open_dataset(tmp_path, kind="coco")
    item.read()


@every_reader
def test_whole_paths_and_addresses_of_files(tmp_path: Path, read: Any) -> None:
    file = photo(tmp_path / "a b.png")
    for name in (str(file), f"file://{file}", file.as_uri(), f"file://localhost{file}"):
        line = json.dumps({"file": name, "caption": "a cat."})
        (tmp_path / "captions.jsonl").write_text(line)
        assert read(tmp_path) == {"a b.png": ("a cat.",)}


def test_a_backslash_that_is_part_of_a_name(tmp_path: Path) -> None:
    photo(tmp_path / r"a\b.png")
    photo(tmp_path / "a%20c.png")
    text = '{"file": "a\\\\b.png", "caption": "x"}\n{"file": "a%20c.png", "caption": "y"}'
    (tmp_path / "captions.jsonl").write_text(text)
    assert by_open(tmp_path) == {r"a\b.png": ("x",), "a%20c.png": ("y",)}


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "/etc/a.png",
        r"..\a.png",
        r"sub\..\..\a.png",
        r"C:\a.png",
        "%2e%2e/a.png",
        "file:///etc/a.png",
        r"\\server\a.png",
    ],
)
def test_no_annotation_leads_out_of_the_data_set(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "set/a.png")
    photo(tmp_path / "a.png")
    place = tmp_path / "set"
    document: dict[str, Any] = {"images": [{"id": 1, "file_name": name}]}
    (place / "captions.json").write_text(json.dumps(document))
    assert "outside the data set" in refused(lambda: open_dataset(place, kind="coco"))
    document = {"images": [{"filename": name, "sentences": []}]}
    (place / "dataset_flickr30k.json").write_text(json.dumps(document))
    assert "outside the data set" in refused(lambda: open_dataset(place, kind="flickr30k"))
    (place / "labels.tsv").write_text(f"file\tname\n{name}\tcat\n")
    assert "outside the data set" in refused(lambda: open_dataset(place, kind="imagenet"))


def test_addresses_are_named_in_every_list(two: Path) -> None:
    address = "https://example.org/a.png"
    (two / "some.txt").write_text(f"a.png\n{address}\n")
    assert "line 2: https" in refused(lambda: open_dataset(two / "some.txt"))
    (two / "captions.json").write_text(json.dumps({"images": [{"id": 1, "file_name": address}]}))
    assert "addresses are not fetched" in refused(lambda: Coco(two))
    assert "addresses are not fetched" in refused(lambda: open_dataset(address))


# COCO: ids and outlines.


def coco(folder: Path, text: str) -> Coco:
    (folder / "instances.json").write_text(text)
    return Coco(folder)


def with_ids(folder: Path, first: str, second: str, spoken_of: str) -> dict[str, tuple[str, ...]]:
    """Return the captions by file of a set whose annotation speaks of an id."""
    dataset = coco(
        folder,
        f'{{"images": [{{"id": {first}, "file_name": "a.png"}}, '
        f'{{"id": {second}, "file_name": "b.png"}}], '
        f'"annotations": [{{"id": 1, "image_id": {spoken_of}, "caption": "first."}}]}}',
    )
    return {Path(str(item.source)).name: item.captions for item in dataset}


@pytest.mark.parametrize(
    ("first", "second", "spoken_of"),
    [
        ("9007199254740993", "9007199254740992", '"9007199254740993"'),
        ('"9007199254740993"', '"9007199254740992"', "9007199254740993"),
        ("1" + "0" * 400, "1" + "0" * 399, "1" + "0" * 400),
        ("-5", "5", "-5"),
        ('"-5"', "5", "-5"),
        ("0", "1", "0.0"),
        ("7", "8", '"7.0"'),
        ('"a7"', '"a8"', '"a7"'),
        ('"007"', '"7"', '"007"'),
        ('"1e400"', '"1e401"', '"1e400"'),
        ('"ü"', '"NaN"', '"ü"'),
        ('"true"', '"x"', '"true"'),
    ],
)
def test_an_id_is_whatever_is_written(two: Path, first: str, second: str, spoken_of: str) -> None:
    assert with_ids(two, first, second, spoken_of) == {"a.png": ("first.",), "b.png": ()}


@pytest.mark.parametrize(
    "wrong",
    ["1e400", "NaN", "Infinity", "-Infinity", "true", "null", "1.5", "1e300", '""', "[1]", "{}"],
)
def test_what_is_no_id_is_refused(two: Path, wrong: str) -> None:
    assert (
        "is no id" in (said := refused(lambda: with_ids(two, wrong, "2", "2"))) or "exact" in said
    )
    assert "not written as COCO's" in refused(lambda: with_ids(two, "1", "2", wrong))


def test_annotations_of_photos_that_are_not_listed_are_counted(two: Path) -> None:
    assert with_ids(two, "1", "2", "9") == {"a.png": (), "b.png": ()}
    assert left_out_of(Coco(two)) == [
        "annotations of photos that are not listed: 1, such as photo 9 in instances.json"
    ]


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("width", "NaN"), ("height", "1e400"), ("file_name", "5"), ("file_name", "true")],
)
def test_a_photo_that_is_no_photo_is_refused(two: Path, key: str, wrong: str) -> None:
    text = f'{{"images": [{{"id": 1, "file_name": "a.png", "{key}": {wrong}}}]}}'
    assert "not written as COCO's" in refused(lambda: coco(two, text))


def test_entries_that_are_no_objects_are_refused(two: Path) -> None:
    for images in ("[5]", '["a.png"]', "[null]", "[[1]]"):
        assert "not written as COCO's" in refused(partial(coco, two, f'{{"images": {images}}}'))
    for more in ('"annotations": [5]', '"categories": {"id": 1}', '"annotations": 5'):
        text = f'{{"images": [{{"id": 1, "file_name": "a.png"}}], {more}}}'
        assert "not written as COCO's" in refused(partial(coco, two, text))


def outlined(folder: Path, *segmentations: str, crowd: str = "0") -> Coco:
    annotations = ", ".join(
        f'{{"id": {n}, "image_id": 1, "category_id": 1, "iscrowd": {crowd}, "segmentation": {s}}}'
        for n, s in enumerate(segmentations, 1)
    )
    return coco(
        folder,
        '{"images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 8}], "categories": '
        f'[{{"id": 1, "name": "cat"}}], "annotations": [{annotations}]}}',
    )


LEFT = "[[0, 0, 8, 0, 8, 8, 0, 8]]"


@pytest.mark.parametrize(
    "left",
    [
        LEFT,
        "[0, 0, 8, 0, 8, 8, 0, 8]",
        "[[0, 0], [8, 0], [8, 8], [0, 8]]",
        "[[[0, 0], [8, 0], [8, 8], [0, 8]]]",
        "[[[0, 0], [8, 0], [8, 4], [0, 4]], [[0, 4], [8, 4], [8, 8], [0, 8]]]",
        '[["0", "0"], ["8", "0"], ["8", "8"], ["0", "8"]]',
        json.dumps(LEFT),
        '{"counts": [0, 64, 64], "size": [8, 16]}',
        '{"counts": "0P2P2", "size": [8, 16]}',
        "[[-9, -9, 8, -9, 8, 99, -9, 99]]",
    ],
)
def test_an_outline_is_drawn_however_it_is_written(two: Path, left: str) -> None:
    dataset = outlined(two, left)
    assert not left_out_of(dataset)
    mask = next(iter(dataset)).mask("cat")
    assert mask is not None
    assert mask[:, :8].all()
    assert not mask[:, 8:].any()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("[[NaN, 1, 2, 3, 4, 5]]", "a corner lies at nan"),
        ("[[0, 0, Infinity, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e400, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e300, 0, 8, 8]]", "a corner lies at inf"),
        ("[[0, 0, 1e9, 0, 8, 8]]", r"a corner lies at 1e\+09"),
        (f"[[0, 0, {10**400}, 0, 8, 8]]", "too large"),
        ("[[[NaN, 0], [8, 0], [8, 8]]]", "a corner lies at nan"),
        ("[[0, 0, 8, 0, 8, 8, 0]]", "7 numbers"),
        ("[[0, 0, 8, 0, 8, true]]", "true or false"),
        ('[["a", 0, 8, 0, 8, 8]]', "could not convert"),
        ("[[0, 0, 8, 0, 8, null]]", "NoneType"),
        ("7", "cannot be a int"),
        ("true", "cannot be a bool"),
        ('"no json"', "Expecting value"),
        ('{"counts": [0, 64, 64]}', "size"),
        ('{"counts": [0, 64], "size": [8, 16]}', "fill 64 pixels"),
        ('{"counts": [0, NaN], "size": [8, 16]}', "is no id"),
        ('{"counts": [-1, 129], "size": [8, 16]}', "fill 128 pixels"),
        ('{"counts": "P2P", "size": [8, 16]}', "within a number"),
        ('{"counts": "é", "size": [8, 16]}', "which the packing does not use"),
        ('{"counts": [0, 64, 64], "size": [1e9, 1e9]}', "pixels"),
        ('{"counts": [], "size": [0, 0]}', "pixels"),
        ('{"counts": 5, "size": [8, 16]}', "not iterable"),
    ],
)
def test_an_outline_that_cannot_be_drawn_is_named_and_left_out(
    two: Path, broken: str, said: str
) -> None:
    dataset = outlined(two, LEFT, broken)
    (item,) = dataset
    assert item.categories == ("cat",)
    assert item.instances == {"cat": 2}
    assert item.mask("cat") is None  # half a mask would be a wrong one
    (line,) = left_out_of(dataset)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(line)
    assert "outlines that cannot be drawn: 1, such as annotation 2 in instances.json" in line
    assert dataset.record()["left_out"]["outlines that cannot be drawn"]["count"] == 1


@pytest.mark.parametrize("nothing", ["null", "[]", "[[]]", '""', "[[1, 2, 3, 4]]", "[[1, 2]]"])
def test_an_outline_without_an_inside_is_a_box(two: Path, nothing: str) -> None:
    dataset = outlined(two, nothing)
    assert not next(iter(dataset)).has_masks
    assert not left_out_of(dataset)


@pytest.mark.parametrize("crowd", ["1", "true", '"1"', "1.0"])
def test_a_crowd_however_it_is_said(two: Path, crowd: str) -> None:
    assert next(iter(outlined(two, LEFT, crowd=crowd))).instances == {}


@pytest.mark.parametrize("crowd", ["0", "false", '"0"', "0.0", "null", '""'])
def test_no_crowd_however_it_is_said(two: Path, crowd: str) -> None:
    assert next(iter(outlined(two, LEFT, crowd=crowd))).instances == {"cat": 1}


# Hidden files, and those a system leaves.

NOBODYS = [
    "._a.png",
    ".hidden.png",
    ".thumbs/a.png",
    "__MACOSX/a.png",
    "__MACOSX/._a.png",
    ".ipynb_checkpoints/a-checkpoint.png",
    "@eaDir/a.png",
    "sub/@eaDir/a.png/SYNOPHOTO_THUMB.png",
    "~$a.png",
    "$RECYCLE.BIN/a.png",
]
LEFT_BEHIND = [".DS_Store", "Thumbs.db", "desktop.ini", "sub/.DS_Store", "sub/Thumbs.db"]


def litter(folder: Path) -> None:
    for name in (*NOBODYS, *LEFT_BEHIND):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\x05\x16\x07")


def test_hidden_files_of_a_folder_are_nobodys(two: Path) -> None:
    photo(two / "sub/deep/c.PNG")
    litter(two)
    assert [item.id for item in open_dataset(two)] == ["a.png", "b.png", "sub/deep/c.PNG"]
    found = check_copy(two)
    assert (found["photos"], found["missing"], found["left_out"]) == (3, 0, [])
    (two / "some.txt").write_text(".hidden.png\n")  # unless somebody asks for one
    photo(two / ".hidden.png")
    assert len(list(open_dataset(two / "some.txt"))) == 1


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "val/cat/3.png"):
        photo(tmp_path / name)
    for folder in (tmp_path, tmp_path / "train", tmp_path / "train/cat"):
        litter(folder)
    items = list(open_dataset(tmp_path, kind="imagenet"))
    assert {item.label for item in items} == {"cat", "dog"}
    assert len(items) == 3
    assert kind_of(tmp_path / "train") == "imagenet"


def test_a_hidden_folder_may_be_the_data_set(tmp_path: Path) -> None:
    photo(tmp_path / ".cache/photos/a.png")
    assert len(list(open_dataset(tmp_path / ".cache/photos"))) == 1
    with pytest.raises(UsageError, match="nothing in"):
        open_dataset(tmp_path)


def test_hidden_annotations_are_nobodys(two: Path) -> None:
    for name in ("._captions.json", "._a.parquet", "._0.tar", "._val-annotations-bbox.csv"):
        (two / name).write_bytes(b"\0\x05\x16\x07")
    (two / "._results.token").write_bytes(b"\0")
    assert kind_of(two) == "folder"
    (two / "captions.json").write_text('{"images": [{"id": 1, "file_name": "a.png"}]}')
    assert len(list(open_dataset(two))) == 1


def test_links_to_folders_are_not_followed_and_counted(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere/deep/c.png")
    here = tmp_path / "here"
    here.mkdir()
    (here / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert "linked is a link to a folder, which is not followed" in refused(
        lambda: open_dataset(here)
    )
    photo(here / "a.png")
    dataset = open_dataset(here)
    assert [item.id for item in dataset] == ["a.png"]
    (said,) = left_out_of(dataset)
    assert said.startswith("links to folders, which are not followed: 1, such as ")


# Suffixes.


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_every_suffix_in_every_loader(tmp_path: Path, suffix: str, case: Any) -> None:
    photo(tmp_path / f"flat/a{case(suffix)}")
    assert len(list(open_dataset(tmp_path / "flat"))) == 1
    for label in ("cat", "dog"):
        photo(tmp_path / f"classes/{label}/a{case(suffix)}")
    assert len(list(open_dataset(tmp_path / "classes", kind="imagenet"))) == 2
    tar(tmp_path / "0.tar", {f"a{case(suffix)}": png(), "a.txt": b"x"})
    assert len(list(open_dataset(tmp_path / "0.tar"))) == 1


def test_what_is_read_is_said_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "a.HEIC").write_bytes(b"x")
    for opens in (
        lambda: open_dataset(tmp_path),
        lambda: open_dataset(tmp_path, kind="folder"),
        lambda: open_dataset(tmp_path, kind="imagenet"),
    ):
        message = refused(opens)
        assert "it has files that end in .heic" in message
        assert all(suffix in message for suffix in SUFFIXES)
    photo(tmp_path / "b.png")
    (said,) = left_out_of(open_dataset(tmp_path))
    assert said.startswith("pictures that end in .heic, which is not read: 1, such as ")


@every_reader
@pytest.mark.parametrize("name", ["Captions.jsonl", "CAPTIONS.JSONL"])
def test_a_caption_file_s_name_in_either_case(two: Path, read: Any, name: str) -> None:
    (two / name).write_text(CAPTIONED["jsonl"])
    assert read(two) == {"a.png": ("a cat.",), "b.png": ("a dog.",)}


def test_upper_case_names_of_lists_and_shards(two: Path) -> None:
    (two / "LIST.TXT").write_text("a.png\n")
    assert len(list(open_dataset(two / "LIST.TXT"))) == 1
    (two / "SOME.JSONL").write_text('{"file": "a.png", "caption": "x"}\n')
    assert Wanted(str(two / "SOME.JSONL")).is_list
    assert len(read_examples(two / "SOME.JSONL")[0]) == 1
    tar(two / "shards/0.TAR", {"a.png": png()})
    assert kind_of(two / "shards") == kind_of(two / "shards/0.TAR") == "webdataset"


# Shards.


def packed(
    files: dict[str, bytes] | list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT
) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def tar(path: Path, files: Any, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(files, form))
    return path


def of_shards(place: Path) -> dict[str, tuple[str, ...]]:
    """Return captions by id, having seen that every way of reading gives the same items."""
    dataset = Shards(place)
    said = {item.id: item.captions for item in dataset}
    assert {item.id: item.captions for item in dataset.entries()} == said
    chosen = select(dataset)
    assert [item.id for _, item in chosen.items()] == chosen.ids == list(said)
    for _, item in chosen.items(skip=lambda index: index % 2 == 1):
        assert item.read().size == (16, 8)
    return said


both = pytest.mark.parametrize("ending", ["tar", "tar.gz"])


def save(place: Path, ending: str, data: bytes) -> Path:
    file = place / f"0.{ending}"
    file.write_bytes(gzip.compress(data) if ending == "tar.gz" else data)
    return file


P = png()


@both
@pytest.mark.parametrize(
    "files",
    [
        ["a.png", "b.png", "a.txt", "b.txt"],
        ["a.txt", "b.txt", "a.png", "b.png"],
        ["a.png", "b.png", "b.txt", "a.txt"],
        ["a.png", "b.txt", "a.txt", "b.png"],
    ],
)
def test_shards_that_are_not_sorted_are_read(tmp_path: Path, ending: str, files: list[str]) -> None:
    data = packed([(f, P if f.endswith("png") else f"of {f[0]}".encode()) for f in files])
    file = save(tmp_path, ending, data)
    assert of_shards(file) == {
        f"{file.name}/a": ("of a",),
        f"{file.name}/b": ("of b",),
    }


@both
def test_what_a_mac_leaves_in_a_shard_is_nobodys(tmp_path: Path, ending: str) -> None:
    names = ["./._a.png", "./a.png", "./._a.txt", "./a.txt", "__MACOSX/a.png", "./.DS_Store"]
    names += ["./._b.png", "./b.png", "./._b.txt", "./b.txt", "Thumbs.db"]
    data = packed([(n, P if n in ("./a.png", "./b.png") else b"said") for n in names])
    file = save(tmp_path, ending, data)
    assert of_shards(file) == {f"{file.name}/a": ("said",), f"{file.name}/b": ("said",)}
    (tmp_path / f"._0.{ending}").write_bytes(b"\0\x05")
    assert len(Shards(tmp_path).shards) == len(Shards(str(tmp_path / "*")).shards) == 1


@both
@pytest.mark.parametrize("joined", ["cat", "cat, and more zeros", "tar -A"])
def test_joined_archives_are_read_to_the_end(tmp_path: Path, ending: str, joined: str) -> None:
    first = packed({"a.png": P, "a.txt": b"one", "b.png": P, "b.txt": b"two"})
    second = packed({"a.txt": b"three", "a.png": P, "c.json": b'{"caption": "four"}', "c.png": P})
    if joined == "tar -A":
        first = first[: -10240 if len(first) > 10240 else None].rstrip(b"\0")
        first += b"\0" * (-len(first) % 512)
    elif joined != "cat":
        first += b"\0" * 512 * 21
    file = save(tmp_path, ending, first + second)
    name = file.name
    assert of_shards(file) == {
        f"{name}/a": ("one",),
        f"{name}/b": ("two",),
        f"{name}#2/a": ("three",),
        f"{name}#2/c": ("four",),
    }
    origins = {Shards(file).origin(one) for one in of_shards(file)}
    assert len(origins) == 4
    assert f"{file.resolve()}#2/a" in origins


@pytest.mark.skipif(not hasattr(gzip, "compress"), reason="gzip is missing")
def test_joined_compressed_archives(tmp_path: Path) -> None:
    one, two = packed({"a.png": P}), packed({"a.png": P})
    (tmp_path / "0.tgz").write_bytes(gzip.compress(one) + gzip.compress(two))
    assert list(of_shards(tmp_path / "0.tgz")) == ["0.tgz/a", "0.tgz#2/a"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_folders_and_every_form_of_archive(tmp_path: Path, form: int) -> None:
    deep = "/".join(["folder" * 4] * (5 if form == tarfile.USTAR_FORMAT else 20))
    files = [("x/", b""), (f"{deep}/", b""), (f"{deep}/ü.PNG", P), (f"{deep}/ü.TXT", b"said")]
    file = tar(tmp_path / "0.tar", files, form)
    assert of_shards(file) == {f"0.tar/{deep}/ü": ("said",)}
    assert not left_out_of(Shards(file))


@both
def test_what_a_shard_has_and_nobody_gets_is_counted(tmp_path: Path, ending: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in (
            ("a.png", P),
            ("a.jpg", P),
            ("a.cls", b"3"),
            ("a.txt", b"said"),
            ("b.txt", b"alone"),
            ("c.png", P),
            ("c.txt", "caf\u00e9".encode("latin-1")),
            ("d.png", P),
            ("d.json", b"[1]"),
            ("e.v2.png", P),
            ("e.txt", b"x"),
            ("f.png", P),
            ("f.txt", "\ufeffmarked\u2028still one\nanother".encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("g.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        archive.addfile(link)
    file = save(tmp_path, ending, data.getvalue())
    chosen = select(dataset := Shards(file))
    name = file.name
    assert chosen.ids == [f"{name}/{key}" for key in "acdf"]
    assert of_shards(file)[f"{name}/f"] == ("marked still one", "another")
    lines = left_out_of(dataset)
    assert lines == [
        f"JSON files that hold no object: 1, such as {name}/d.json",
        f"captions that are not UTF-8 text: 1, such as {name}/c.txt (not UTF-8 text, at byte 3)",
        f"files that are neither photos nor their texts: 2, such as {name}/a.cls",
        f"links, which no shard's reader follows: 1, such as {name}/g.png",
        f"second photos of one name: 1, such as {name}/a.jpg",
        f"texts without a photo: 2, such as {name}/b.txt",
    ]
    assert len(chosen.record()["left_out"]) == 6
    list(dataset.entries())
    assert left_out_of(dataset) == lines  # what is read again is not counted again
    assert check_copy(file)["left_out"] == lines
    notes: list[str] = []
    open_data(Wanted(str(file)), None, notes.append)
    assert f"left out of {file}: {lines[0]}" in notes


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b'{"caption": 5}', "`caption` is 5"),
        (b'{"label": 1.5}', "`label` is 1.5"),
        (b'{"label": NaN}', "`label` is NaN"),
        (b'{"split": []}', r"`split` is \[\]"),
        (b'{"categories": [1]}', "`categories` is"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_shard_s_json_is_read_as_every_other(tmp_path: Path, said: bytes, message: str) -> None:
    file = tar(tmp_path / "0.tar", {"a.png": P, "a.json": said})
    with pytest.raises(UsageError, match=message):
        list(Shards(file))


def test_labels_of_a_shard(tmp_path: Path) -> None:
    for label, read in (("5", "5"), ("5.0", "5"), ("true", "true"), ('"Dog"', "Dog"), ("-1", "-1")):
        file = tar(tmp_path / "0.tar", {"a.png": P, "a.json": f'{{"label": {label}}}'.encode()})
        (item,) = Shards(file)
        assert (item.label, item.categories) == (read, (read.lower(),))


@pytest.mark.parametrize("ending", ["tar.gz", "tar"])
def test_damaged_shards_are_named(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).bytes(60_000)
    file = save(tmp_path, ending, packed({"a.png": noise, "b.png": noise}))
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:9000] + b"\xff" * 9000 + whole[18000:], b"x"):
        file.write_bytes(broken)
        if ending == "tar" and len(broken) == len(whole):
            continue  # the bytes of a photo, which the photo's reader judges
        with pytest.raises(MolyneuxError, match=r"shard .*0\.tar"):
            list(Shards(file))
    file.write_bytes(whole + b"no archive" * 99 if ending == "tar" else whole)
    if ending == "tar":
        with pytest.raises(UsageError, match="the header at byte 122880 is damaged"):
            list(Shards(file))


# Parquet.


def parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


@pytest.mark.parametrize("as_text", [False, True])
def test_a_parquet_s_photos_may_be_files(
    tmp_path: Path, as_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "set/images/ä b.png")
    monkeypatch.chdir(tmp_path)  # the names start at the file, wherever one is
    for name in ("images/ä b.png", r"images\ä b.png", "images/%C3%A4%20b.png"):
        image = name if as_text else {"bytes": None, "path": name}
        file = parquet(tmp_path / "set/0.parquet", [{"image": image, "caption": "x"}])
        for item in (*open_dataset(file), *open_dataset("set")):
            assert item.read().size == (16, 8)
    photo(tmp_path / "a.png")
    for name in ("../a.png", str(tmp_path / "a.png"), r"..\a.png", "%2e%2e/a.png"):
        image = name if as_text else {"bytes": None, "path": name}
        file = parquet(tmp_path / "set/0.parquet", [{"image": image}])
        said = refused(partial(list, open_dataset(file)))
        assert "0.parquet, row 0: " in said
        assert "outside the data set" in said
    image = "https://example.org/a.png" if as_text else {"path": "https://example.org/a.png"}
    file = parquet(tmp_path / "set/0.parquet", [{"image": image}])
    assert "addresses are not fetched" in refused(lambda: list(open_dataset(file)))


@pytest.mark.parametrize("key", ["caption", "captions", "text", "sentences_raw"])
@pytest.mark.parametrize("wrong", [5, 1.5, True, float("nan"), [1], {"raw": 5}, {"x": "y"}])
def test_a_number_is_no_caption_in_a_parquet(tmp_path: Path, key: str, wrong: Any) -> None:
    file = parquet(tmp_path / "0.parquet", [{"image": {"bytes": P}, key: wrong}])
    said = refused(lambda: list(open_dataset(file)))
    assert f"0.parquet, row 0: `{key}` is" in said


def test_texts_of_a_parquet_however_they_are_held(tmp_path: Path) -> None:
    for value in (
        ["one", "two"],
        [{"raw": "one"}, {"raw": "two"}],
        {"raw": ["one", "two"]},
        [{"caption": "one", "id": 1}, {"caption": "two", "id": 2}],
        "one\u2028",
        None,
    ):
        file = parquet(tmp_path / "0.parquet", [{"image": {"bytes": P}, "caption": value}])
        (item,) = open_dataset(file)
        assert item.captions == ("one", "two")[: {str: 1, type(None): 0}.get(type(value), 2)]


@pytest.mark.parametrize(
    ("label", "read"),
    [(5, "5"), (5.0, "5"), (float("nan"), None), (None, None), ("Dog", "Dog"), (True, "true")],
)
def test_labels_of_a_parquet(tmp_path: Path, label: Any, read: str | None) -> None:
    rows = [{"image": {"bytes": P}, "label": label}, {"image": {"bytes": P}, "label": None}]
    first, second = open_dataset(parquet(tmp_path / "0.parquet", rows))
    assert (first.label, second.label) == (read, None)


def parquet_described(file: Path, label: int, features: str) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": [png()], "label": [label]})
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), file)
    return file


@pytest.mark.parametrize(("label", "read"), [(1, "dog"), (-1, None), (2, "2")])
def test_a_class_of_minus_one_is_none(tmp_path: Path, label: int, read: str | None) -> None:
    features = json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"]}}}})
    (item,) = open_dataset(parquet_described(tmp_path / "0.parquet", label, features))
    assert item.label == read


@pytest.mark.parametrize(
    "features",
    [
        '{"info": {"features": {"label": ["cat", "dog"]}}}',
        '{"info": {"features": {"label": {"names": 5}}}}',
        "[" * 100_000,
        "{",
    ],
    ids=["a list", "a number", "deep", "cut"],
)
def test_what_a_parquet_says_of_its_columns_need_not_read(tmp_path: Path, features: str) -> None:
    (item,) = open_dataset(parquet_described(tmp_path / "0.parquet", 1, features))
    assert (item.label, len(item.sha256())) == ("1", 64)


def test_a_damaged_page_of_a_parquet_is_named(tmp_path: Path) -> None:
    file = parquet_described(tmp_path / "0.parquet", 1, "{}")
    data = bytearray(file.read_bytes())
    data[4:40] = b"\xff" * 36  # the header of the first page
    file.write_bytes(data)
    said = refused(lambda: [item.sha256() for item in open_dataset(file)])
    assert said.startswith(f"cannot read {file}: ")


@pytest.mark.parametrize("wrong", [5, 10**12, 1.5, True, [1, 2], [[0, 0], [0, 0]]])
def test_a_photo_of_a_parquet_is_bytes_or_a_name(tmp_path: Path, wrong: Any) -> None:
    file = parquet(tmp_path / "0.parquet", [{"image": wrong}])
    assert "row 0: " in refused(lambda: list(open_dataset(file)))


def test_categories_that_are_numbers_are_counted(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": P}, "categories": [1, 2]}, {"image": {"bytes": P}}]
    dataset = open_dataset(parquet(tmp_path / "0.parquet", rows))
    select(dataset)
    assert left_out_of(dataset)[0].startswith("rows whose categories are numbers and name nothing")


# The other layouts.


def test_labels_tsv_is_read_as_every_other_table(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    labels = tmp_path / "labels.tsv"
    labels.write_bytes(b"\xef\xbb\xbffile\tname\r\na.png\tGreat \x22shark\r\n\r\n")
    (item,) = open_dataset(tmp_path)
    assert item.label == 'Great "shark'
    for text, said in (
        ("file\tname\na.png\tcat\tx\n", "line 2: 3 fields"),
        ("file\tname\tsplit\na.png\tcat\n", "line 2: 2 fields"),
        ("file,name\na.png,cat\n", "no column `file`"),
    ):
        labels.write_text(text)
        assert said in refused(lambda: open_dataset(tmp_path))
    labels.write_bytes("file\tname\na.png\tcat\n".encode("utf-16"))
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))


def test_names_of_classes_may_be_marked(tmp_path: Path) -> None:
    photo(tmp_path / "train/n01/a.png")
    photo(tmp_path / "train/n02/b.png")
    (tmp_path / "words.txt").write_bytes(
        b"\xef\xbb\xbfn01\tgoldfish\x0c, Carassius\r\nn02\tshark\r\n"
    )
    assert [item.label for item in open_dataset(tmp_path, kind="imagenet")] == ["goldfish", "shark"]


def test_flickr_s_files_may_be_marked_and_hold_no_numbers(tmp_path: Path) -> None:
    photo(tmp_path / "flickr30k-images/1.jpg")
    token = tmp_path / "results.token"
    token.write_bytes("\ufeff1.jpg#0\tA\u2028dog .\r\n1.jpg#1\tA\x85cat .\r\n".encode())
    (item,) = open_dataset(tmp_path)
    assert (item.id, item.captions) == ("1.jpg", ("A dog .", "A cat ."))
    for sentence in (5, None, ["x"], {"en": "x"}, True):
        entry = {"filename": "1.jpg", "sentences": [{"raw": sentence}]}
        (tmp_path / "dataset_flickr30k.json").write_text(json.dumps({"images": [entry]}))
        if sentence in (None, ["x"]):
            assert len(list(open_dataset(tmp_path))) == 1
        else:
            assert "`raw` is" in refused(lambda: open_dataset(tmp_path))
    token.write_bytes("1.jpg#0\tx\n".encode("utf-16"))
    (tmp_path / "dataset_flickr30k.json").unlink()
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))


def test_open_images_tables_may_be_marked_and_are_whole(tmp_path: Path) -> None:
    photo(tmp_path / "validation/a1.jpg")
    classes = tmp_path / "class-descriptions-boxable.csv"
    classes.write_bytes(b"\xef\xbb\xbf/m/1,Dog\r\n")
    boxes = tmp_path / "validation-annotations-bbox.csv"
    boxes.write_bytes(b"\xef\xbb\xbfImageID,LabelName,IsGroupOf\r\na1,/m/1,0\r\n")
    (item,) = open_dataset(tmp_path)
    assert (item.id, item.instances) == ("a1", {"dog": 1})
    boxes.write_text("ImageID,LabelName,IsGroupOf\na1,/m/1,0,1\n")
    assert "line 2: 4 fields" in refused(lambda: open_dataset(tmp_path))
    boxes.write_text("ImageID,LabelName\n../a1,/m/1\n")
    assert "outside the data set" in refused(lambda: open_dataset(tmp_path))
    boxes.write_bytes("ImageID,LabelName\na1,/m/1\n".encode("utf-16"))
    assert "UTF-16" in refused(lambda: open_dataset(tmp_path))
    boxes.unlink()
    narratives = tmp_path / "open_images_validation_localized_narratives.jsonl"
    for caption, image in (("5", '"a1"'), ('"x"', "5"), ('"x"', "null"), ("[1]", '"a1"')):
        narratives.write_text(f'{{"image_id": {image}, "caption": {caption}}}')
        assert "line 1" in refused(lambda: open_dataset(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_lists_of_another_encoding_are_named(two: Path, encoding: str) -> None:
    listed = two / "some.txt"
    listed.write_bytes("é.png\n".encode(encoding))
    for opens in (
        lambda: open_dataset(listed),
        lambda: select(open_dataset(two), [f"listed={listed}"]),
    ):
        assert "UTF-8" in refused(opens)
    assert encoding == "latin-1" or encoding.upper() in refused(lambda: open_dataset(listed))


def test_lists_may_be_marked_and_hold_every_character(tmp_path: Path) -> None:
    names = ["a\u2028b.png", "c\x0bd.png", "e\x85f.png", "g.png"]
    for name in names:
        photo(tmp_path / name)
    listed = tmp_path / "some.txt"
    listed.write_bytes(("\ufeff" + "\r\n".join(names)).encode())
    assert [item.id for item in open_dataset(listed)] == names
    chosen = select(open_dataset(tmp_path), [f"listed={listed}"])
    assert sorted(chosen.ids) == sorted(names)
    assert chosen.unmatched == 0


# Names of files that no system has, and other odds and ends.


def test_a_name_that_is_too_long_names_no_photo(two: Path) -> None:
    name = "x" * 300 + ".png"
    (two / "captions.jsonl").write_text(
        json.dumps({"file": name, "caption": "x"}) + '\n{"file": "a.png", "caption": "y"}'
    )
    assert by_open(two) == {"a.png": ("y",)}
    images = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "a.png"}]
    (two / "captions.json").write_text(json.dumps({"images": images}))
    assert check_copy(two, "coco")["missing"] == 1
    assert select(Coco(two), ["present"]).ids == ["2"]
    (two / "some.txt").write_text(f"{name}\na.png\n{'é' * 200}.png")
    assert len(select(open_dataset(two / "some.txt"), ["present"])) == 1
    for place in (two / name, "x" * 5000, "a\0b", str(two / name / "y")):
        said = refused(lambda place=place: open_dataset(place))  # type: ignore[misc]
        assert "check the name" in said or "name a data set's folder" in said


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("~/photos", "~ stands for a home folder"),
        (r"photos\coco", "backslashes"),
        ("C:/photos", "a drive's letter"),
        ("my%20photos", "%20"),
        ("https://example.org/photos", "addresses are not fetched"),
        (Path("https://example.org/photos"), "addresses are not fetched"),
        ("https://example.org/{000..999}.tar", "addresses are not fetched"),
        ("s3://photos/0.tar", "addresses are not fetched"),
        ("{0..99999999999}.tar", "there is no shard 0.tar"),
    ],
)
def test_why_a_place_is_not_there(place: Any, said: str) -> None:
    assert said in refused(lambda: open_dataset(place))


def test_white_space_around_a_name(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / " b.png")
    (tmp_path / "captions.csv").write_text('file, caption\n a.png , "one, two"\n" b.png", "x"\n')
    assert by_open(tmp_path)["a.png"] == ("one, two",)
    (tmp_path / "captions.csv").unlink()
    lines = [{"file": " a.png ", "caption": "x"}, {"file": " b.png", "caption": "y"}]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert by_open(tmp_path) == by_train(tmp_path) == {"a.png": ("x",), " b.png": ("y",)}
    (tmp_path / "some.txt").write_text(" a.png \n b.png\n")
    assert [item.id for item in open_dataset(tmp_path / "some.txt")] == ["a.png", " b.png"]


def test_photos_outside_class_folders_are_counted(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "stray.png", "train/stray.png"):
        photo(tmp_path / name)
    dataset = open_dataset(tmp_path, kind="imagenet")
    assert len(list(dataset)) == 2
    (line,) = left_out_of(dataset)
    assert line.startswith("photos in no folder of a class: 2, such as ")


def test_two_categories_of_one_id_are_refused(two: Path) -> None:
    names = '[{"id": 1, "name": "cat"}, {"id": "1", "name": "dog"}]'
    text = f'{{"images": [{{"id": 1, "file_name": "a.png"}}], "categories": {names}}}'
    assert "two categories have the id 1" in refused(lambda: coco(two, text))
    assert "which is no text" in refused(lambda: coco(two, text.replace('"cat"', "5")))


def test_one_condition_is_not_its_letters(two: Path) -> None:
    assert select(open_dataset(two), "present").where == ("present",)
    with pytest.raises(UsageError, match="not among the 2 chosen"):
        select(open_dataset(two)).only(["gone.png"])


@every_reader
def test_half_a_character(two: Path, read: Any) -> None:
    """As where a text was cut within an emoji: in a sentence it is one character that is none."""
    (two / "captions.jsonl").write_text(r'{"file": "a.png", "caption": "a cat \ud83d"}')
    assert read(two) == {"a.png": ("a cat \ufffd",)}
    for name in (r"\ud83d.png", r"a\u0000.png"):
        (two / "captions.jsonl").write_text(f'{{"file": "{name}", "caption": "x"}}')
        assert "line 1: no photo is named" in refused(lambda: read(two))


@pytest.mark.parametrize("cut", [r"\ud83d", r"a\u0000b"])
def test_half_a_character_is_no_name_and_no_id(two: Path, cut: str) -> None:
    text = f'{{"images": [{{"id": 1, "file_name": "{cut}.png"}}]}}'
    assert "is no photo's name" in refused(lambda: coco(two, text))
    text = f'{{"images": [{{"id": "{cut}", "file_name": "a.png"}}]}}'
    assert "is no id" in refused(lambda: coco(two, text))


@pytest.mark.parametrize("split", ["..", "../x", "/etc", "a/b", "x" * 300, "."])
def test_a_split_leads_nowhere(tmp_path: Path, split: str) -> None:
    photo(tmp_path / "x/a.png")
    photo(tmp_path / "a.png")
    place = tmp_path / "set"
    place.mkdir()
    document = {"images": [{"id": 1, "file_name": "a.png", "split": split}]}
    (place / "captions.json").write_text(json.dumps(document))
    assert "none of the photos" in refused(lambda: Coco(place))
    photo(place / "a.png")
    assert next(iter(Coco(place))).split == split


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"where": 5}, "where takes conditions"),
        ({"where": [5]}, "where takes conditions"),
        ({"where": ["x"]}, "no condition is called 'x'"),
        ({"images": 0}, "cannot choose 0 photos"),
        ({"images": 1.5}, "images takes a whole number"),
        ({"images": "3"}, "images takes a whole number"),
        ({"images": True}, "images takes a whole number"),
        ({"seed": "0"}, "seed takes a whole number"),
        ({"dataset": "photos"}, "dataset takes a Dataset"),
        ({"dataset": None}, "dataset takes a Dataset"),
    ],
)
def test_what_cannot_be_selected_is_said(two: Path, arguments: dict[str, Any], said: str) -> None:
    untyped = inspect.unwrap(select)  # as without the tests' check of types
    given = {"dataset": open_dataset(two), **arguments}
    assert said in refused(lambda: untyped(**given))
    assert len(untyped(open_dataset(two), None)) == 2
    for kind in (5, [], "cocoa"):
        message = refused(lambda kind=kind: inspect.unwrap(open_dataset)(two, kind=kind))  # type: ignore[misc]
        assert "no kind of data set is called" in message or "kind takes a str" in message
