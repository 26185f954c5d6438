"""What may stand where captions and categories belong, in every loader that reads them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos

from molyneux.data.coco import Coco
from molyneux.data.folder import Folder
from molyneux.data.texts import read_texts
from molyneux.data.webdataset import Shards
from molyneux.errors import UsageError
from molyneux.training.caption_files import read_examples


def test_a_text_and_a_list_of_texts_are_read() -> None:
    for given, expected in (
        (None, []),
        ("a dog.", ["a dog."]),
        (["a dog.", " ", "a cat."], ["a dog.", "a cat."]),
        ([{"caption": "a dog.", "id": 3}, "a cat."], ["a dog.", "a cat."]),
        ([], []),
    ):
        assert read_texts(given, "captions", "here") == expected


WRONG: list[Any] = [5, True, {"en": "a dog."}, [["a dog."]], ["a dog.", 5], [None]]


@pytest.mark.parametrize("wrong", WRONG, ids=json.dumps)
def test_anything_else_is_named(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"here: `captions` is .* neither a text nor a") as said:
        read_texts(wrong, "captions", "here")
    assert "\n" not in str(said.value)


def listed(place: Path, row: dict[str, Any]) -> Any:
    tiny_photos(1)[0].save(place / "0.png")
    (place / "captions.jsonl").write_text(json.dumps({"file": "0.png", **row}))
    return read_examples(place)[0][0]


def folder(place: Path, row: dict[str, Any]) -> Any:
    listed_in = place / "folder"
    listed_in.mkdir(exist_ok=True)
    tiny_photos(1)[0].save(listed_in / "0.png")
    (listed_in / "captions.jsonl").write_text(json.dumps({"file": "0.png", **row}))
    return Folder(listed_in)[0]


def shard(place: Path, row: dict[str, Any]) -> Any:
    photo = io.BytesIO()
    tiny_photos(1)[0].save(photo, "PNG")
    with tarfile.open(place / "0.tar", "w") as tar:
        for name, data in (("0.png", photo.getvalue()), ("0.json", json.dumps(row).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return next(iter(Shards(place / "0.tar")))


every_loader = pytest.mark.parametrize("loader", [listed, folder, shard])


@every_loader
def test_a_string_is_one_text_and_not_its_letters(loader: Any, tmp_path: Path) -> None:
    found = loader(tmp_path, {"captions": "a dog.", "categories": "Dog"})
    assert (found.captions, found.categories) == (("a dog.",), ("dog",))
    found = loader(tmp_path, {"captions": [{"caption": "a dog."}], "categories": ["Dog", "cat"]})
    assert (found.captions, found.categories) == (("a dog.",), ("dog", "cat"))


@every_loader
@pytest.mark.parametrize("key", ["caption", "captions", "categories"])
def test_what_is_no_text_is_refused_with_its_place(loader: Any, key: str, tmp_path: Path) -> None:
    row = {"caption": "a dog.", key: 5} if key == "categories" else {key: 5}
    with pytest.raises(UsageError, match=rf"(line 1|0\.tar/0\.json): `{key}` is 5") as said:
        loader(tmp_path, row)
    assert "\n" not in str(said.value)


def test_a_coco_caption_that_is_no_text_is_refused(tmp_path: Path) -> None:
    tiny_photos(1)[0].save(tmp_path / "0.png")
    document = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "annotations": [{"id": 7, "image_id": 1, "caption": ["a dog.", 5]}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"captions\.json, annotation 7: `caption` is"):
        Coco(tmp_path)
