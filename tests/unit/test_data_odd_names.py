"""Names of photos from strangers' systems: they name the photo that was meant, or none."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from odd_data import by_open, every_reader, photo, refused

from molyneux.data.coco import Coco
from molyneux.data.open import open_dataset
from molyneux.data.selection import select


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
