"""The sample photos are there, are what they are called, and carry their credits."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from molyneux.data.open import open_dataset
from molyneux.data.samples import PHOTOS, sample_items, sample_photos
from molyneux.errors import PhotoError
from molyneux.vision.photo import photo_sha256, read_photo
from molyneux.words.nouns import nouns_text

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (451, 300),
    "coffee": (600, 400),
    "rocket": (640, 427),
    "motorcycle_left": (741, 500),
}
OWN = ("cyclist", "bus", "hamburger", "dining-room", "zebra", "beach", "umbrellas", "church")


def test_every_sample_photo_is_a_photo_and_needs_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    photos = sample_photos()
    assert list(photos) == [*SIZES, *OWN]
    for name, path in photos.items():
        photo = read_photo(path)
        assert photo.mode == "RGB"
        assert photo.size == SIZES.get(name, (288, 288))
        assert np.asarray(photo).std() > 20, name


def test_the_pictures_show_what_they_are_called() -> None:
    """An orange suit, a red saucer, a yellow bus, a blue sky: not swapped, not grey."""
    means = {n: np.asarray(read_photo(p)).mean(axis=(0, 1)) for n, p in sample_photos().items()}
    for blue in ("rocket", "beach"):
        assert means[blue][2] > means[blue][0], blue
    for warm in ("astronaut", "chelsea", "coffee", "motorcycle_left", "bus", "hamburger"):
        assert means[warm][0] > means[warm][2], warm


def test_the_bytes_are_those_that_were_listed() -> None:
    listed = {
        line["file"]: line["sha256"]
        for file in PHOTOS.glob("*.jsonl")
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())
    }
    assert {item.id: item.sha256() for item in sample_items()} == listed
    assert {item.id: photo_sha256(item.source) for item in sample_items()} == listed


def test_every_sample_photo_has_its_credit_and_what_is_in_it() -> None:
    for item in sample_items():
        assert item.credit is not None
        assert "\n" not in item.credit
        terms = ("public domain", "CC0", "no licence stated", "CC BY 2.0")
        assert sum(term in item.credit for term in terms) == 1, item.id
        assert len(nouns_text(item.captions).split()) >= 4, item.id


def test_the_photos_of_the_package_are_a_data_set_as_any_other() -> None:
    items = {item.id: item for item in open_dataset(PHOTOS)}
    assert items == {item.id: item for item in sample_items() if item.id in items}
    assert set(items) == {f"{name}.jpg" for name in OWN}
    for item in items.values():
        assert re.fullmatch(r".+, CC BY 2\.0, https?://www\.flickr\.com/photos/\S+", item.credit)


@pytest.mark.parametrize("spec", [None, "elsewhere"])
def test_without_scikit_image_the_error_says_what_to_install(
    spec: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fake = None
    if spec:
        fake = ModuleSpec("skimage", None, is_package=True)
        fake.submodule_search_locations = [str(tmp_path_factory.mktemp("skimage"))]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: fake)
    with pytest.raises(
        PhotoError, match=r"astronaut\.png .*`pip install .*scikit-image`"
    ) as caught:
        sample_photos()
    assert "\n" not in str(caught.value)
