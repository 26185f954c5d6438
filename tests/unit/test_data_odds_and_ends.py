"""What no system has, and other odds and ends: read as it is meant, or named."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from odd_data import by_open, by_train, coco, every_reader, photo, refused

from molyneux.data.coco import Coco
from molyneux.data.copies import check_copy
from molyneux.data.dataset import left_out_of
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import UsageError


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
