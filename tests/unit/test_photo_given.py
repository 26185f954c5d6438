"""Photos that are no file: images, arrays and tensors; and what is no photo at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from molyneux.errors import MolyneuxError, PhotoError, UsageError, on_one_line
from molyneux.vision.photo import as_photos, photo_name, photo_sha256, read_photo

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def pixels(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo)


def refusal(given: Any) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(given)
    message = str(caught.value)
    assert message.isprintable()
    return message


GIVEN = {
    "array": PIXELS,
    "a view that is not contiguous": np.asfortranarray(PIXELS),
    "floats from 0 to 1": PIXELS / 255.0,
    "32-bit floats": (PIXELS / 255.0).astype(np.float32),
    "tensor": torch.from_numpy(PIXELS).permute(2, 0, 1),
    "tensor of floats": torch.from_numpy(PIXELS).permute(2, 0, 1) / 255.0,
    "tensor with a gradient": (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255.0).requires_grad_(),
    "image": Image.fromarray(PIXELS),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_every_form_of_a_photo_is_the_same_photo(given: Any) -> None:
    assert np.array_equal(pixels(read_photo(given)), PIXELS)
    assert photo_sha256(given) == photo_sha256(Image.fromarray(PIXELS))
    assert photo_name(given) == "the given image"


def test_half_precision_is_as_near_as_it_can_be() -> None:
    for dtype, off in ((torch.float16, 0), (torch.bfloat16, 1)):
        given = (torch.from_numpy(PIXELS).permute(2, 0, 1) / 255.0).to(dtype)
        got = pixels(read_photo(given)).astype(int)
        assert np.abs(got - PIXELS).max() <= off


def test_greys_and_transparency() -> None:
    grey = PIXELS[..., 0]
    for given in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        got = pixels(read_photo(given))
        assert np.array_equal(got, np.repeat(grey[..., None], 3, axis=-1))
    clear = np.concatenate([PIXELS, np.zeros((5, 7, 1), np.uint8)], axis=-1)
    assert (pixels(read_photo(clear)) == 255).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PIXELS.astype(np.int64), "its values are int64"),
        (PIXELS.astype(np.uint16), "its values are uint16"),
        (PIXELS > 9, "its values are bool"),
        (PIXELS.astype(complex), "its values are complex128"),
        (PIXELS.astype(float), "its values go from"),
        (PIXELS / 255 - 0.5, "normalised"),
        (np.full((4, 4), np.nan), "from nan to nan"),
        (np.full((4, 4), np.inf), "from inf to inf"),
        (np.moveaxis(PIXELS, -1, 0), "its shape is 3x5x7"),
        (torch.from_numpy(PIXELS), "its shape is 5x7x3"),
        (PIXELS[None], "its shape is 1x5x7x3"),
        (np.uint8(3), "cannot read an uint8 as a photo"),
        (np.array(3, np.uint8), "that of a number"),
        (np.zeros((0, 4, 3), np.uint8), "no area"),
        (torch.zeros(3, 0, 4, dtype=torch.uint8), "no area"),
        (np.array(["a.jpg"]), "its shape is 1;"),
        (np.array([[object()]]), "its values are object"),
        (None, "cannot read a NoneType as a photo"),
        (5, "cannot read an int as a photo"),
        (True, "cannot read a bool as a photo"),
        (b"a.jpg", "cannot read a bytes as a photo"),
        (["a.jpg"], "cannot read a list as a photo"),
        ({"path": "a.jpg"}, "cannot read a dict as a photo"),
        (Image, "cannot read a module as a photo"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(given: Any, said: str) -> None:
    assert said in refusal(given)
    assert "a photo is a file's name, a PIL image" in refusal(given) or "no area" in said
    with pytest.raises(PhotoError):
        photo_sha256(given)


class Named:
    """What only says which file it stands for."""

    def __init__(self, name: str | bytes) -> None:
        self.name = name

    def __fspath__(self) -> str | bytes:
        return self.name


def test_whatever_names_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(file)
    for given in (file, str(file), Named(str(file)), Named(os.fsencode(file))):
        assert np.array_equal(pixels(read_photo(given)), PIXELS)
        assert photo_name(given) == str(file)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http://example.org/a.jpg", "addresses are not fetched"),
        (Path("https://example.org/a.jpg"), "addresses are not fetched"),  # one slash is left
        ("s3://photos/a.jpg", "addresses are not fetched"),
        ("HTTPS://EXAMPLE.ORG/A.JPG", "addresses are not fetched"),
        ("file:///photos/a.jpg", "addresses are not fetched"),
        ("data:image/png;base64," + "A" * 9999, "addresses are not fetched"),
        (r"photos\a.jpg", "backslashes, as on Windows"),
        (r"C:\photos\a.jpg", "backslashes, as on Windows"),
        ("C:/photos/a.jpg", "a drive's letter"),
        ("~/a.jpg", "a home folder in a shell alone"),
        ("my%20photos/a.jpg", "%20"),
        ("gone.jpg", "check the spelling"),
    ],
)
def test_why_a_name_names_nothing(name: Any, said: str) -> None:
    assert said in refusal(name)
    with pytest.raises(PhotoError, match="cannot read"):
        photo_sha256(name)


def test_a_file_that_is_called_as_an_address_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "http:").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "http:" / "a b.png")
    assert read_photo("http:/a b.png").size == (7, 5)


def test_one_photo_where_a_list_is_expected_is_a_list_of_one() -> None:
    image = Image.fromarray(PIXELS)
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for one in ("photo.jpg", Path("photo.jpg"), image, PIXELS, PIXELS[..., 0], tensor):
        assert len(as_photos(one)) == 1
        assert as_photos(one)[0] is one
    assert as_photos(("a.jpg", "b.jpg")) == ["a.jpg", "b.jpg"]
    assert as_photos(name for name in ("a.jpg", "b.jpg")) == ["a.jpg", "b.jpg"]
    assert len(as_photos(np.stack([PIXELS] * 3))) == 3
    assert len(as_photos(torch.stack([tensor] * 2))) == 2


@pytest.mark.parametrize("given", [[], (), np.zeros((0, 4, 4, 3), np.uint8), iter(())])
def test_no_photo_is_said(given: Any) -> None:
    with pytest.raises(UsageError, match="no photo was given"):
        as_photos(given)


@pytest.mark.parametrize("given", [None, 5, 1.5, b"a.jpg", {"a.jpg": 1}])
def test_what_holds_no_photos_is_refused(given: Any) -> None:
    with pytest.raises(MolyneuxError, match="cannot read"):
        as_photos(given)


def test_a_name_is_shown_on_one_line() -> None:
    for name in ("a\nb.jpg", "a\rb.jpg", "a\u2028b.jpg", "a\x1b[31mb.jpg", "a\x85b.jpg", "\udcffb"):
        shown = on_one_line(name)
        assert shown.isprintable()
        assert len(shown.splitlines()) == 1
        assert shown.endswith("b.jpg") or shown.endswith("b")
    assert on_one_line("Übung 1 – é.jpg") == "Übung 1 – é.jpg"
