"""Captions of many photos are those of each, and a bad photo is named among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_photos
from tiny_vlms import tiny_vlm

from molyneux.errors import PhotoError
from molyneux.models.captions import caption_photos


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    found = [folder / f"{number}.png" for number in range(6)]
    for path, photo in zip(found, tiny_photos(6), strict=True):
        photo.save(path)
    found[2].write_bytes(b"no photo")
    return found


def one_by_one(seeing: Any, files: list[Path]) -> list[str | None]:
    return [None if path.name == "2.png" else seeing.caption(path) for path in files]


@pytest.mark.parametrize("at_once", [1, 2, 4, 16])
def test_together_and_one_by_one_are_the_same(
    captioner: Any, files: list[Path], at_once: int
) -> None:
    found = list(caption_photos(captioner, files, at_once))
    assert [None if isinstance(f, PhotoError) else f for f in found] == one_by_one(captioner, files)
    assert len(set(map(str, found))) > 2
    assert "2.png" in str(found[2])


def test_no_more_than_a_batch_is_read_ahead(captioner: Any, files: list[Path]) -> None:
    taken: list[Path] = []

    def photos() -> Any:
        for path in files:
            taken.append(path)
            yield path

    captions = caption_photos(captioner, photos(), at_once=2)
    next(captions)
    assert taken == files[:2]


def test_photos_that_cannot_be_read_are_no_batch(captioner: Any, files: list[Path]) -> None:
    found = list(caption_photos(captioner, [files[2]] * 3, at_once=2))
    assert [type(each) for each in found] == [PhotoError] * 3


def test_a_vision_language_model_is_asked_for_one_after_another(files: list[Path]) -> None:
    seeing = tiny_vlm("llava")
    found = list(caption_photos(seeing, files[:3], at_once=2))
    assert [None if isinstance(f, PhotoError) else f for f in found] == one_by_one(
        seeing, files[:3]
    )
