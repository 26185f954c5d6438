"""The sample photos are there, are what they are called, and carry their credits."""

from __future__ import annotations

import importlib.util
import socket
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from molyneux.data.samples import CREDITS, sample_photos
from molyneux.errors import PhotoError
from molyneux.vision.photo import read_photo

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (451, 300),
    "coffee": (600, 400),
    "rocket": (640, 427),
    "motorcycle": (741, 500),
}


def test_every_sample_photo_is_a_photo_and_needs_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    photos = sample_photos()
    assert list(photos) == list(SIZES)
    for name, path in photos.items():
        photo = read_photo(path)
        assert photo.mode == "RGB"
        assert photo.size == SIZES[name]
        assert np.asarray(photo).std() > 20, name


def test_the_pictures_show_what_they_are_called() -> None:
    """An orange suit, a red saucer, a red tank, a dark blue sky: not swapped, not grey."""
    means = {n: np.asarray(read_photo(p)).mean(axis=(0, 1)) for n, p in sample_photos().items()}
    assert means["rocket"][2] > means["rocket"][0]  # evening sky: more blue than red
    for warm in ("astronaut", "chelsea", "coffee", "motorcycle"):
        assert means[warm][0] > means[warm][2], warm
    assert max(means, key=lambda name: means[name][0] - means[name][2]) == "coffee"


def test_every_sample_photo_has_its_credit() -> None:
    assert set(CREDITS) == set(sample_photos())
    for name, line in CREDITS.items():
        assert "\n" not in line
        terms = ("public domain", "CC0", "no licence stated")
        assert sum(term in line for term in terms) == 1, name


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
