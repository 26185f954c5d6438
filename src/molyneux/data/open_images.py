"""Open Images: boxes and masks in CSV files per split, masks as PNG files, narratives as captions.

A box that stands for a group makes its category a crowd, as in COCO. The masks are black and
white pictures of the whole photo, one an instance, at a size of their own.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.files import matching
from molyneux.data.loader import Loader, in_folder
from molyneux.data.names import inside, photo_file
from molyneux.data.tables import read_table
from molyneux.data.text_files import open_text, read_json_lines
from molyneux.data.texts import read_texts, tidy
from molyneux.errors import UsageError, quote

LICENCE = "annotations CC BY 4.0; photos listed as CC BY 2.0"
_STORE = "https://storage.googleapis.com/openimages"
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class MaskFiles:
    """The mask files of one category in one photo."""

    files: tuple[Path, ...]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the first mask, in pixels."""
        return _read_mask(self.files[0]).size

    def draw(self, width: int, height: int) -> Bool[np.ndarray, "height width"]:
        """Return the union at this width and height, True inside.

        Raises:
            UsageError: a mask's file is missing or damaged.
        """
        union = np.zeros((height, width), dtype=bool)
        for file in self.files:
            mask = _read_mask(file).resize((width, height), Image.Resampling.NEAREST)
            union |= np.asarray(mask) > 127
        return union


@dataclass(slots=True)
class _Category:
    boxes: int = 0
    group: bool = False
    masks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Photo:
    split: str
    captions: list[str] = field(default_factory=list)
    categories: dict[str, _Category] = field(default_factory=dict)


class OpenImages(AnnotatedPhotos):
    """The splits of Open Images whose annotation files are in a folder.

    Read are, where they are there, `<split>-annotations-bbox.csv`,
    `<split>-annotations-object-segmentation.csv`, `class-descriptions*.csv` (needed) and
    `open_images_<split>_localized_narratives*.jsonl`. The photos `<ImageID>.jpg` are in
    `<split>/`, `images/<split>/` or `images/`; the masks in `masks/`, `<split>-masks/` or
    `masks/<split>/`.
    """

    name = "open-images"
    licence = LICENCE

    def __init__(self, root: str | Path) -> None:
        """Read the annotation files.

        Raises:
            UsageError: a needed file is missing or damaged, or no photo is there.
        """
        super().__init__(root)
        root = self.root
        self._photos: dict[str, _Photo] = {}
        names = self._class_names()
        for split in _SPLITS:
            self._read_boxes(split, names)
            self._read_masks(split, names)
            self._read_narratives(split)
        if not self._photos:
            raise UsageError(
                f"neither validation-annotations-object-segmentation.csv nor "
                f"validation-annotations-bbox.csv is in {root}; they are at "
                f"{_STORE}/v5/validation-annotations-object-segmentation.csv and "
                f"{_STORE}/v5/validation-annotations-bbox.csv"
            )
        self._folders = self._find(
            "photos", [(p.split, f"{i}.jpg") for i, p in self._photos.items()]
        )
        masks = [
            (photo.split, mask)
            for photo in self._photos.values()
            for category in photo.categories.values()
            for mask in category.masks
        ]
        self._mask_folders = self._find("masks", masks)
        self._ids = [i for i, photo in self._photos.items() if photo.split in self._folders]
        if not self._ids:
            split = next(iter(self._photos.values())).split
            raise UsageError(
                f"no photo, such as {next(iter(self._photos))}.jpg, is in {root / split} or "
                f"{root / 'images'}; they are in the public bucket s3://open-images-dataset/"
                f"tar/{split}.tar.gz"
            )

    def __len__(self) -> int:
        """Number of annotated photos in the splits whose folder is there."""
        return len(self._ids)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its id is the ImageID."""
        identity = self._ids[position]
        photo = self._photos[identity]
        masks = self._mask_folders.get(photo.split)
        return Item(
            id=identity,
            source=self._folders[photo.split] / f"{identity}.jpg",
            captions=tuple(photo.captions),
            categories=tuple(photo.categories),
            instances={
                name: max(category.boxes, len(category.masks))
                for name, category in photo.categories.items()
                if not category.group
            },
            outlines={
                name: MaskFiles(tuple(photo_file(masks, m) for m in category.masks))
                for name, category in photo.categories.items()
                if masks is not None and category.masks and category.boxes <= len(category.masks)
            },
            split=photo.split,
        )

    def _lacking(self) -> dict[str, Any]:
        splits = {photo.split for photo in self._photos.values()}
        return {
            "splits_without_photos": sorted(splits - self._folders.keys()),
            "splits_without_masks": sorted(splits - self._mask_folders.keys()),
        }

    def _class_names(self) -> dict[str, str]:
        found = matching(self.root, "*class-descriptions*.csv")
        if not found:
            raise UsageError(
                f"no class-descriptions-boxable.csv in {self.root}; without it classes have no "
                f"names; it is at {_STORE}/v5/class-descriptions-boxable.csv"
            )
        self.files.append(found[0])
        with open_text(found[0]) as lines:  # its first line is a class already
            rows = csv.reader(lines, strict=True)
            try:
                return {row[0]: row[1].lower() for row in rows if len(row) >= 2}
            except csv.Error as error:
                raise UsageError(
                    f"{found[0]}, line {rows.line_num}: {quote(error)}; download it again"
                ) from error

    def _rows(self, name: str, *columns: str) -> Iterator[dict[str, str]]:
        """Yield the rows of a CSV file that may not be there, one after another."""
        path = self.root / name
        if not path.is_file():
            return
        self.files.append(path)
        for number, row in read_table(path, {column: [column] for column in columns}):
            try:
                inside(row["ImageID"])
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {error}") from error
            yield row

    def _category(self, split: str, row: dict[str, str], names: dict[str, str]) -> _Category:
        photo = self._photos.setdefault(row["ImageID"], _Photo(split))
        name = names.get(row["LabelName"], row["LabelName"])
        return photo.categories.setdefault(name, _Category())

    def _read_boxes(self, split: str, names: dict[str, str]) -> None:
        for row in self._rows(f"{split}-annotations-bbox.csv", "ImageID", "LabelName"):
            category = self._category(split, row, names)
            if row.get("IsGroupOf") == "1":
                category.group = True
            else:
                category.boxes += 1

    def _read_masks(self, split: str, names: dict[str, str]) -> None:
        file = f"{split}-annotations-object-segmentation.csv"
        for row in self._rows(file, "ImageID", "LabelName", "MaskPath"):
            try:
                mask = inside(row["MaskPath"])
            except ValueError as error:
                raise UsageError(f"{self.root / file}: {error}") from error
            self._category(split, row, names).masks.append(mask)

    def _read_narratives(self, split: str) -> None:
        for path in matching(self.root, f"open_images_{split}_localized_narratives*.jsonl"):
            self.files.append(path)
            for number, row in read_json_lines(path):
                where = f"{path}, line {number}"
                captions = read_texts(row.get("caption"), "caption", where)
                try:
                    identity = inside(row.get("image_id"))
                except ValueError as error:
                    raise UsageError(f"{where}: {error}; download it again") from error
                photo = self._photos.setdefault(identity, _Photo(split))
                photo.captions += map(tidy, captions)

    def _find(self, what: str, files: list[tuple[str, str]]) -> dict[str, Path]:
        """Return the folder of each split that at least one of its files lies in."""
        found: dict[str, Path] = {}
        for split, file in files:
            if split in found:
                continue
            places = (
                [f"{split}", f"images/{split}", "images", ""]
                if what == "photos"
                else ["masks", f"{split}-masks", f"masks/{split}", ""]
            )
            for place in places:
                if os.path.isfile(photo_file(self.root / place, file)):
                    found[split] = self.root / place
                    break
        return found


def _read_mask(file: Path) -> Image.Image:
    try:
        with Image.open(file) as mask:
            return mask.convert("L")
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(
            f"cannot read the mask {file} ({' '.join(str(error).split())}); it is in one of "
            f"{_STORE}/v5/validation-masks/validation-masks-0.zip to -f.zip"
        ) from error


LOADER = Loader(
    "open-images",
    "validation-annotations-object-segmentation.csv and its like",
    in_folder(
        lambda place: bool(matching(place, "*-annotations-*.csv", "class-descriptions*.csv"))
    ),
    OpenImages,
)
