"""Masks from polygons and run lengths, as COCO writes them.

Run lengths go down the columns and begin with what is outside. Packed into text, every count after
the third is written as its difference to the count two before it, in groups of five bits, lowest
first, each group as the character with code 48 + group, where bit 6 says that more groups follow
and the highest bit of the last group is the sign (the mask API of COCO, `rleToString`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from molyneux.data.texts import read_id
from molyneux.errors import UsageError
from molyneux.vision.photo import MAX_PIXELS

_SUPERSAMPLE = 4
_FARTHEST = 1e6  # pixels from the corner: no photo is as wide, and what is drawn stays exact


@dataclass(frozen=True)
class Runs:
    """Run lengths of one mask: unpacked or as packed text, and the height and width they fill."""

    counts: str | tuple[int, ...]
    height: int
    width: int

    def lengths(self) -> list[int]:
        """Return the run lengths, in pixels, the first of what is outside.

        Raises:
            UsageError: they do not fill the size, or are damaged.
        """
        counts = unpack_counts(self.counts) if isinstance(self.counts, str) else list(self.counts)
        if min(counts, default=0) < 0 or sum(counts) != self.height * self.width:
            raise UsageError(
                f"a mask's run lengths fill {sum(counts)} pixels and not its {self.width} x "
                f"{self.height}; the annotation file is damaged, so download it again"
            )
        return counts

    def draw(self) -> Bool[np.ndarray, "height width"]:
        """Return the mask in its own size.

        Raises:
            UsageError: the counts do not fill the size.
        """
        counts = self.lengths()
        inside = np.arange(len(counts)) % 2 == 1
        return np.repeat(inside, counts).reshape(self.width, self.height).T


@dataclass(frozen=True)
class Shapes:
    """The instances of one category in one photo: polygons and runs, and the size they refer to."""

    polygons: tuple[array[float], ...]
    runs: tuple[Runs, ...]
    size: tuple[int, int] | None

    def draw(self, width: int, height: int) -> Bool[np.ndarray, "height width"]:
        """Return the union at this width and height, True inside.

        A pixel belongs to a polygon where at least half of it does, to a 16th of a pixel.

        Raises:
            UsageError: run lengths do not fill their size.
        """
        mask = np.zeros((height, width), dtype=bool)
        if self.polygons:
            across, down = self.size or (width, height)
            mask |= draw_polygons(self.polygons, width, height, width / across, height / down)
        for runs in self.runs:
            drawn = runs.draw()
            if drawn.shape != mask.shape:
                image = Image.fromarray(drawn.astype(np.uint8))
                drawn = np.asarray(image.resize((width, height), Image.Resampling.NEAREST)) > 0
            mask |= drawn
        return mask


def draw_polygons(
    polygons: Sequence[Sequence[float]],
    width: int,
    height: int,
    x_scale: float = 1.0,
    y_scale: float = 1.0,
) -> Bool[np.ndarray, "height width"]:
    """Return the union of polygons x0, y0, x1, y1, ... given in pixels from the upper left corner.

    Each is drawn at four times the size and averaged, so that thin parts and borders keep their
    area.
    """
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        xs = np.asarray(polygon[0::2], dtype=float) * x_scale
        ys = np.asarray(polygon[1::2], dtype=float) * y_scale
        # Only the polygon's own box is drawn large: the photo four times over would not be small.
        left, top = max(0, int(np.floor(xs.min()))), max(0, int(np.floor(ys.min())))
        right = min(width, int(np.ceil(xs.max())) + 1)
        bottom = min(height, int(np.ceil(ys.max())) + 1)
        if left >= right or top >= bottom:
            continue
        large = Image.new("1", ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE))
        # Pillow's coordinates are those of pixel centres, an annotation's those of corners.
        corners = np.stack([(xs - left), (ys - top)], axis=1) * _SUPERSAMPLE - 0.5
        ImageDraw.Draw(large).polygon([(float(x), float(y)) for x, y in corners], fill=1)
        fine = np.asarray(large).reshape(bottom - top, _SUPERSAMPLE, right - left, _SUPERSAMPLE)
        mask[top:bottom, left:right] |= fine.mean(axis=(1, 3)) >= 0.5
    return mask


def unpack_counts(packed: str) -> list[int]:
    """Return the run lengths, in pixels, that packed text stands for.

    Raises:
        UsageError: the text ends within a number or holds a character that is none of the code.
    """
    counts: list[int] = []
    value = shift = 0
    for character in packed:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise UsageError(
                f"a mask's run lengths hold {character!r}, which the packing does not use; "
                "the annotation file is damaged, so download it again"
            )
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise UsageError(
            "a mask's run lengths end within a number; "
            "the annotation file is damaged, so download it again"
        )
    return counts


def read_segmentation(written: Any) -> tuple[list[array[float]], list[Runs]]:
    """Return polygons and runs of one instance, however its segmentation is written.

    `written` is polygons, one or a list of them, each flat (x0, y0, x1, y1, ...) or a list of
    points; run lengths packed or not; any of these as JSON text; or None. Polygons of fewer than
    three corners have no inside and are left out.

    Raises:
        ValueError, TypeError, KeyError: it is none of these, or a corner is not finite or lies
            far outside any photo.
        UsageError: run lengths are damaged, or do not fill their size.
    """
    if isinstance(written, str):
        import json

        written = json.loads(written) if written.strip() else None
    if not written:
        return [], []
    if isinstance(written, dict):
        return [], [_read_runs(written["counts"], written["size"])]
    if not isinstance(written, list):
        raise TypeError(f"a segmentation cannot be a {type(written).__name__}")
    return [p for p in map(_flat, _apart(written)) if len(p) >= 6], []


def _apart(written: list[Any]) -> list[list[Any]]:
    """Return polygons: of one that is flat or a list of points, a list of it."""
    if not all(isinstance(one, list) for one in written):
        return [written]
    # No polygon has one corner: lists of two numbers are the corners of one polygon.
    of_points = all(len(one) == 2 and not isinstance(one[0], list) for one in written)
    return [written] if of_points else written


def _flat(polygon: list[Any]) -> array[float]:
    """Return a polygon's corners as x0, y0, x1, y1, ...; they are finite."""
    if polygon and all(isinstance(corner, list) and len(corner) == 2 for corner in polygon):
        polygon = [number for corner in polygon for number in corner]
    if any(isinstance(number, bool) for number in polygon):
        raise TypeError("a corner is true or false, and no number")
    corners = array("f", [float(number) for number in polygon])
    if len(corners) % 2:
        raise ValueError(f"a polygon has {len(corners)} numbers, which are no pairs")
    if outside := [number for number in corners if not abs(number) <= _FARTHEST]:
        raise ValueError(f"a corner lies at {outside[0]:g}")
    return corners


def _read_runs(counts: Any, size: Any) -> Runs:
    height, width = (int(read_id(number)) for number in size)
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise ValueError(f"a mask is {width} x {height} pixels")
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    if not isinstance(counts, str):
        counts = tuple(int(read_id(number)) for number in counts)
    runs = Runs(counts, height, width)
    runs.lengths()
    return runs
