"""Masks: run lengths, polygons, scale and orientation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from molyneux.data.dataset import Item
from molyneux.data.masks import Runs, Shapes, draw_polygons, read_segmentation, unpack_counts
from molyneux.errors import PhotoError, UsageError


def _pack(counts: list[int]) -> str:
    """The packing, written from its description by another route than the unpacking."""
    text = ""
    for i, count in enumerate(counts):
        x = count - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            group = x % 32
            x = (x - group) // 32
            more = x != (-1 if group & 16 else 0)
            text += chr(48 + group + (32 if more else 0))
    return text


@pytest.mark.parametrize(
    ("packed", "counts"),
    [
        ("013000", [0, 1, 3, 1, 3, 1]),
        ("`0", [16]),
        ("6", [6]),
        ("", []),
        ("552O3", [5, 5, 2, 4, 5]),
    ],
)
def test_known_strings(packed: str, counts: list[int]) -> None:
    assert unpack_counts(packed) == counts


def test_unpacking_undoes_packing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = [int(n) for n in rng.integers(0, 10 ** int(rng.integers(1, 7)), size=20)]
        assert unpack_counts(_pack(counts)) == counts


@pytest.mark.parametrize("packed", ["`", "0!", "01\u00e9"])
def test_damaged_strings(packed: str) -> None:
    with pytest.raises(UsageError, match="download it again"):
        unpack_counts(packed)


def test_runs_go_down_the_columns() -> None:
    mask = Runs((1, 2, 3), 2, 3).draw()
    assert mask.tolist() == [[False, True, False], [True, False, False]]
    assert np.array_equal(Runs("013000", 3, 3).draw(), np.eye(3, dtype=bool))
    with pytest.raises(UsageError, match="fill 6 pixels"):
        Runs((1, 2, 3), 3, 3).draw()


def test_polygon_covers_exactly_its_pixels() -> None:
    mask = draw_polygons([[2, 1, 6, 1, 6, 4, 2, 4]], 8, 6)
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(mask, expected)
    # Twice the size, and a polygon that leaves the photo.
    assert draw_polygons([[2, 1, 6, 1, 6, 4, 2, 4]], 16, 12, 2, 2).sum() == 4 * 12
    assert draw_polygons([[-5, -5, 99, -5, 99, 99, -5, 99]], 8, 6).all()
    assert not draw_polygons([[20, 20, 30, 20, 30, 30]], 8, 6).any()


def test_segmentation_however_written() -> None:
    square = [0, 0, 2, 0, 2, 2, 0, 2]
    assert [list(p) for p in read_segmentation([square])[0]] == [square]
    assert [list(p) for p in read_segmentation(square)[0]] == [square]
    assert [list(p) for p in read_segmentation(json.dumps([list(map(str, square))]))[0]] == [square]
    for nothing in (None, [], "", "null", [[]], [[1, 2, 3, 4]]):
        assert read_segmentation(nothing) == ([], [])
    packed = read_segmentation({"counts": "013000", "size": ["3", 3.0]})[1]
    assert packed == [Runs("013000", 3, 3)]
    assert read_segmentation('{"counts": [1, 2, 3], "size": [2, 3]}')[1] == [Runs((1, 2, 3), 2, 3)]
    with pytest.raises((TypeError, ValueError)):
        read_segmentation(7)


def _left_half(width: int, height: int) -> Shapes:
    polygons, _ = read_segmentation([[0, 0, width / 2, 0, width / 2, height, 0, height]])
    return Shapes(tuple(polygons), (), (width, height))


def test_mask_is_scaled_to_the_photo(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    item = Item("a", tmp_path / "a.png", outlines={"dog": _left_half(40, 20)})
    mask = item.mask("dog")
    assert mask is not None
    assert mask[:, :10].all()
    assert not mask[:, 10:].any()
    assert item.mask("cat") is None
    assert item.has_masks
    runs = Shapes((), (Runs((2, 2), 2, 2),), (2, 2))
    scaled = Item("a", tmp_path / "a.png", outlines={"dog": runs}).mask("dog")
    assert scaled is not None
    assert scaled[:, 10:].all()
    assert scaled.sum() == 100


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_turns_with_the_photo(tmp_path: Path, orientation: int) -> None:
    # The photo is white where the mask is: whatever the orientation, they stay together.
    stored = np.zeros((8, 16, 3), dtype=np.uint8)
    stored[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    item = Item("a", tmp_path / "a.png", outlines={"dog": _left_half(16, 8)})
    white = np.asarray(item.read())[..., 0] > 127
    assert np.array_equal(item.mask("dog"), white)


def test_mask_drawn_on_the_upright_photo_is_not_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (16, 8)).save(tmp_path / "a.png", exif=exif)
    item = Item("a", tmp_path / "a.png", outlines={"dog": _left_half(8, 16)})
    mask = item.mask("dog")
    assert mask is not None
    assert mask.shape == (16, 8)
    assert mask[:, :4].all()
    assert not mask[:, 4:].any()


def test_bytes_are_read_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    item, file = Item("s/a", data), Item("a", tmp_path / "a.png")
    assert item.read().tobytes() == file.read().tobytes()
    assert item.sha256() == file.sha256()
    for broken in (b"", b"no photo", data[:40]):
        with pytest.raises(PhotoError, match="s/a"):
            Item("s/a", broken).read()
