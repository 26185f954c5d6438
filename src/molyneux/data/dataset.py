"""What a captioned data set is to the rest of the package: photos, and what people said of them.

Every loader of this folder yields `Item`s. An item names its photo and does not hold it, except
where the photo comes out of an archive. Masks are drawn when they are asked for.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageOps

from molyneux.errors import PhotoError, on_one_line
from molyneux.vision.photo import photo_sha256, read_photo

_ORIENTATION = 0x0112  # EXIF and TIFF share this tag number


class Outline(Protocol):
    """How a loader draws one category's mask in a photo."""

    size: tuple[int, int] | None
    """Width and height the annotators saw, in pixels; None: they are whatever the photo has."""

    def draw(self, width: int, height: int) -> Bool[np.ndarray, "height width"]:
        """Return the union of the instances at this size, True inside.

        Raises:
            UsageError: the annotation cannot be drawn.
        """
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Where a photo's bytes lie in a larger file, such as an archive that is not compressed."""

    file: Path
    start: int
    size: int

    def read(self) -> bytes:
        """Return the bytes; nothing before them is read.

        Raises:
            PhotoError: the file cannot be read, or ends before them.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise PhotoError(
                f"cannot read {self.file}: {error.strerror or error}; check the disk"
            ) from error
        if len(data) != self.size:
            raise PhotoError(
                f"cannot read {self.file}: it ends within the photo at byte {self.start}; "
                "download it again"
            )
        return data


@dataclass
class LeftOut:
    """What a set has that nobody is given: how much of it, why, and which came first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, why: str, name: str) -> None:
        """Count one more."""
        self.counts[why] += 1
        self.first.setdefault(why, name)

    def clear(self) -> None:
        """Begin again, as a set that is read again does."""
        self.counts.clear()
        self.first.clear()

    def record(self) -> dict[str, Any]:
        """Return number and first of each as plain data, for manifests."""
        return (
            {
                "left_out": {
                    why: {"count": number, "first": self.first[why]}
                    for why, number in sorted(self.counts.items())
                }
            }
            if self.counts
            else {}
        )

    def lines(self) -> list[str]:
        """Return a line for each reason."""
        return [
            on_one_line(f"{why}: {number:,}, such as {self.first[why]}")
            for why, number in sorted(self.counts.items())
        ]


@dataclass(frozen=True)
class Item:
    """One photo of a data set and what people said of it.

    Attributes:
        id: unique in the data set, and the same in every run.
        source: the photo's file; where it lies in an archive, its bytes, or where they are.
        captions: sentences people wrote, in the data set's order.
        categories: distinct names, lower case, singular as the data set gives them.
        instances: annotated instances by category. A category with a crowd region, whose members
            nobody counted, is missing here: it is in the photo and is not single.
        outlines: how to draw the mask of a category; empty where there are none. A category of
            which only some instances were outlined has none: half a mask is a wrong one.
        split: the part of the data set this photo belongs to, such as `val2017`.
        label: the class, in sets of a folder per class.
        credit: who took it, on what terms.
    """

    id: str
    source: Path | bytes | Span = field(repr=False)
    captions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    instances: Mapping[str, int] = field(default_factory=dict)
    outlines: Mapping[str, Any] = field(default_factory=dict, repr=False)
    split: str | None = None
    label: str | None = None
    credit: str | None = None

    @property
    def has_masks(self) -> bool:
        """Whether at least one category has a mask."""
        return bool(self.outlines)

    def read(self) -> Image.Image:
        """Return the photo upright, in mode RGB.

        Raises:
            PhotoError: it cannot be read; the message names the file or the item.
        """
        if isinstance(self.source, Path):
            return read_photo(self.source)
        with self._open() as photo:
            try:
                return read_photo(photo)
            except PhotoError as error:
                raise PhotoError(str(error).replace("the given image", self.id)) from error

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes, 64 hexadecimal digits.

        Raises:
            PhotoError: the file cannot be read or is empty.
        """
        if isinstance(self.source, Path):
            return photo_sha256(self.source)
        return hashlib.sha256(self._bytes()).hexdigest()

    def mask(self, category: str) -> Bool[np.ndarray, "height width"] | None:
        """Return where a category is, in the pixels of the photo `read` returns, True inside.

        It is the union of the category's instances, crowd regions left out. Outlines are scaled
        to the photo where it is larger or smaller than the one the annotators saw. They saw the
        photo as it is stored, so the mask is turned as the camera's orientation turns the photo;
        unless the size they recorded is that of the upright photo and not of the stored one.

        Returns:
            None: the category has no mask in this photo.

        Raises:
            PhotoError: the photo's size cannot be read.
            UsageError: the annotation cannot be drawn.
        """
        outline: Outline | None = self.outlines.get(category)
        if outline is None:
            return None
        (width, height), orientation = self._stored()
        if orientation >= 5 and outline.size is not None and outline.size != (width, height):
            annotated = outline.size[0] / outline.size[1]
            if abs(annotated * width / height - 1) < abs(annotated * height / width - 1):
                width, height, orientation = height, width, 1
        mask = outline.draw(width, height)
        if orientation == 1:
            return mask
        # Pillow turns by the record alone, so the mask is given the photo's.
        image = Image.fromarray(mask.astype(np.uint8))
        image.getexif()[_ORIENTATION] = orientation
        return np.asarray(ImageOps.exif_transpose(image)).astype(bool)

    def _stored(self) -> tuple[tuple[int, int], int]:
        """Return width and height as stored, and the EXIF orientation 1..8; decodes nothing."""
        with self._open() as photo:
            if photo.format == "TIFF":  # Pillow hands these over upright
                return photo.size, 1
            try:
                value = photo.getexif().get(_ORIENTATION, 1)
            except Exception:  # a damaged record: `read` takes the photo as upright too
                value = 1
            return photo.size, value if isinstance(value, int) and 1 <= value <= 8 else 1

    def _bytes(self) -> bytes:
        """Return the bytes of a photo that lies in an archive."""
        assert not isinstance(self.source, Path)
        return self.source.read() if isinstance(self.source, Span) else self.source

    def _open(self) -> Image.Image:
        """Return the photo with only its header read."""
        file: Path | io.BytesIO
        if isinstance(self.source, Path):
            name, file = str(self.source), self.source
        else:
            data = self._bytes()
            name, file = self.id, io.BytesIO(data)
            if not data:
                raise PhotoError(f"cannot read {name}: it is empty (0 bytes); copy the set again")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                photo = Image.open(file)
        except Exception as error:  # decoders raise nearly every type on broken bytes
            reason = " ".join(str(error).split()) or type(error).__name__
            raise PhotoError(f"cannot read {name}: {reason}; copy or download it again") from error
        if photo.format in ("EPS", "WMF"):  # decoding these would run another program
            photo.close()
            raise PhotoError(f"cannot read {name}: it is a drawing, not a photo; export it as PNG")
        return photo


@runtime_checkable
class Dataset(Protocol):
    """Photos in a stable order, one after another.

    A data set is also `Indexed` or `Streamed`, which is how `select` reaches its photos.
    """

    name: str

    def __iter__(self) -> Iterator[Item]:
        """Yield every item; memory does not grow with the number of photos read."""
        ...

    def record(self) -> dict[str, Any]:
        """Return name, place, licence and the SHA-256 of the annotation files, for manifests."""
        ...


@runtime_checkable
class Indexed(Protocol):
    """A data set whose photos are files: any of them can be had at once."""

    def __len__(self) -> int:
        """Number of photos."""
        ...

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position of the set's order."""
        ...


@runtime_checkable
class Streamed(Protocol):
    """A data set that is read from front to back: archives, and sets on a hub."""

    def entries(self) -> Iterator[Item]:
        """Yield every item without its photo's bytes, in the set's order.

        Its source says where they are (`Span`) if the archive can be read there, else it is empty.
        """
        ...

    def only(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Item]]:
        """Yield position and item of the wanted positions, reading only those photos."""
        ...


def left_out_of(dataset: Dataset) -> list[str]:
    """Return a line for each reason why something of a set is in no item.

    A set that is read from front to back knows once it has been read, as `select` does.
    """
    left_out = getattr(dataset, "left_out", None)
    return left_out.lines() if isinstance(left_out, LeftOut) else []
