"""COCO: captions, categories and outlines in JSON files, photos in a folder per split."""

from __future__ import annotations

import os
import re
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.files import matching
from molyneux.data.loader import Loader, in_folder
from molyneux.data.masks import Runs, Shapes, read_segmentation
from molyneux.data.names import inside, photo_file
from molyneux.data.text_files import read_json
from molyneux.data.texts import read_id, read_name, read_texts, tidy
from molyneux.errors import UsageError, quote

LICENCE = "annotations CC BY 4.0; photos under their own Flickr licences"
_SPLIT = re.compile(r"(?:train|val|test)\d{4}")
_ANNOTATIONS = "http://images.cocodataset.org/annotations/annotations_trainval2017.zip"


@dataclass(slots=True)
class _Category:
    """What one photo has of one category."""

    instances: int = 0
    crowd: bool = False
    boxes_only: bool = False
    polygons: list[array[float]] = field(default_factory=list)
    runs: list[Runs] = field(default_factory=list)


@dataclass(slots=True)
class _Photo:
    """One entry of `images` and what the annotations say of it."""

    file_name: str
    split: str | None
    size: tuple[int, int] | None
    captions: list[str] = field(default_factory=list)
    categories: dict[str, _Category] = field(default_factory=dict)


class Coco(AnnotatedPhotos):
    """COCO 2014 or 2017, whole or in part, or any set that is written like it.

    The annotations are `captions*.json` and `instances*.json`, either of them or both, several
    splits or one, in the folder or its `annotations/`. The photos are in `images/`, in a folder
    named as the split, in `images/<split>/`, or beside the annotations. Annotations are held in
    memory; photos are not.
    """

    name = "coco"
    licence = LICENCE

    def __init__(self, root: str | Path, captions: Path | None = None) -> None:
        """Read the annotations below a folder.

        Args:
            captions: a caption file; of the annotations that one alone is read, with the
                `instances*.json` of its name beside it.

        Raises:
            UsageError: there are none, they are damaged or contradict themselves, or no photo of
                theirs is there.
        """
        super().__init__(root)
        root = self.root
        self._captions = captions
        self.files = annotation_files(root) if captions is None else _and_instances(captions)
        if not self.files:
            raise UsageError(
                f"no captions*.json or instances*.json in {root} or {root / 'annotations'}; "
                f"COCO's are in {_ANNOTATIONS} (241 MB)"
            )
        self._photos: dict[str, _Photo] = {}
        for file in self.files:
            self._read(file)
        self._folders = self._find_folders()
        self.without_photos = sorted(
            {str(p.split) for p in self._photos.values() if p.split not in self._folders}
        )
        self._ids = [i for i, photo in self._photos.items() if photo.split in self._folders]
        if not self._ids:
            raise UsageError(self._no_photos())

    def __len__(self) -> int:
        """Number of photos in the splits whose folder is there."""
        return len(self._ids)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its masks are drawn when they are asked for."""
        photo = self._photos[self._ids[position]]
        return Item(
            id=self._ids[position],
            source=photo_file(self._folders[photo.split], photo.file_name),
            captions=tuple(photo.captions),
            categories=tuple(photo.categories),
            instances={
                name: category.instances
                for name, category in photo.categories.items()
                if not category.crowd
            },
            outlines={
                name: Shapes(tuple(category.polygons), tuple(category.runs), photo.size)
                for name, category in photo.categories.items()
                if (category.polygons or category.runs) and not category.boxes_only
            },
            split=photo.split,
        )

    def _lacking(self) -> dict[str, Any]:
        return {"splits_without_photos": self.without_photos}

    def _read(self, file: Path) -> None:
        document = read_json(file)
        if not isinstance(document, dict) or not isinstance(document.get("images"), list):
            raise UsageError(
                f"{file} has no list named images, as COCO's files have; download it again"
            )
        named = _SPLIT.search(file.stem)
        try:
            names: dict[str, str] = {}
            for category in document.get("categories") or []:
                name = _category_name(category["name"])
                if names.setdefault(number := read_id(category["id"]), name) != name:
                    raise ValueError(f"two categories have the id {number}")
            for entry in document["images"]:
                self._add_photo(entry, named.group() if named else None, str(file))
            for annotation in document.get("annotations") or []:
                self._add_annotation(annotation, names, file)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{file} is not written as COCO's files are ({type(error).__name__}: "
                f"{quote(error)}); download it again"
            ) from error

    def _add_photo(self, entry: dict[str, Any], file_split: str | None, file: str) -> None:
        identity, file_name = read_id(entry["id"]), inside(entry["file_name"])
        in_name = _SPLIT.search(file_name) or _SPLIT.search(str(entry.get("coco_url") or ""))
        split = read_name(entry.get("split"), "split", f"{file}, photo {identity}") or file_split
        width, height = (
            int(read_id(entry.get("width") or 0)),
            int(read_id(entry.get("height") or 0)),
        )
        photo = _Photo(
            file_name,
            split or (in_name.group() if in_name else None),
            (width, height) if width > 0 and height > 0 else None,
        )
        known = self._photos.setdefault(identity, photo)
        if known.file_name != file_name:
            raise ValueError(
                f"two photos have the id {identity}: {known.file_name} and {file_name}"
            )

    def _add_annotation(self, entry: dict[str, Any], names: dict[str, str], file: Path) -> None:
        identity = read_id(entry["image_id"])
        photo = self._photos.get(identity)
        if photo is None:  # a subset often keeps the annotations of photos it left out
            self.left_out.add(
                "annotations of photos that are not listed", f"photo {identity} in {file.name}"
            )
            return
        where = f"{file}, annotation {entry.get('id')}"
        for caption in map(tidy, read_texts(entry.get("caption"), "caption", where)):
            if caption not in photo.captions:
                photo.captions.append(caption)
        if entry.get("category_id") is None:
            return
        number = read_id(entry["category_id"])
        if number not in names:
            raise ValueError(f"an annotation has the category {number}, which is not listed")
        category = photo.categories.setdefault(names[number], _Category())
        if _is_crowd(entry.get("iscrowd")):
            category.crowd = True
            return
        category.instances += 1
        try:
            polygons, runs = read_segmentation(entry.get("segmentation"))
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            polygons, runs = [], []
            self.left_out.add(
                "outlines that cannot be drawn",
                f"annotation {entry.get('id')} in {file.name}: {quote(error)}",
            )
        category.polygons += polygons
        category.runs += runs
        category.boxes_only |= not polygons and not runs

    def _find_folders(self) -> dict[str | None, Path]:
        """Return the folder of each split that at least one of its photos lies in."""
        found: dict[str | None, Path] = {}
        places: dict[str | None, list[Path]] = {}
        for photo in self._photos.values():
            if photo.split in found:
                continue
            if photo.split not in places:
                places[photo.split] = [p for p in self._places(photo.split) if os.path.isdir(p)]
            for place in places[photo.split]:
                if os.path.isfile(photo_file(place, photo.file_name)):
                    found[photo.split] = place
                    break
        return found

    def _places(self, split: str | None) -> list[Path]:
        # A split that is no folder's name, such as `../x`, is looked for nowhere of its own.
        is_name = split not in (None, "", ".", "..") and os.path.basename(str(split)) == split
        named = [self.root / split, self.root / "images" / split] if split and is_name else []
        if self._captions is not None:
            named.append(self.root / self._captions.stem.removeprefix("captions_"))
        return [*named, self.root / "images", self.root]

    def _no_photos(self) -> str:
        if not self._photos:
            return f"the annotations in {self.root} list no photo; download them again"
        split = next((s for s in self.without_photos if _SPLIT.fullmatch(s)), None)
        first = next(iter(self._photos.values())).file_name
        places = " or ".join(str(place) for place in self._places(split)[:-1])
        had = (
            f"COCO's are in http://images.cocodataset.org/zips/{split}.zip"
            if split
            else "`molyneux data coco` says where they are had from"
        )
        return f"none of the photos, such as {first}, is in {places}; {had}"


def annotation_files(root: Path) -> list[Path]:
    """Return the caption and instance files of a folder in COCO's layout, in order of name."""
    patterns = ("captions*.json", "instances*.json")
    return sorted(path for f in (root, root / "annotations") for path in matching(f, *patterns))


def _and_instances(captions: Path) -> list[Path]:
    """Return a caption file, and the file of its instances where it is there."""
    beside = captions.with_name(captions.name.replace("captions", "instances", 1))
    return sorted({captions, beside} if beside.is_file() else {captions})


def _category_name(written: Any) -> str:
    if not isinstance(written, str) or not written.strip():
        raise ValueError(f"a category is called {written!r}, which is no text")
    return tidy(written.lower())


def _is_crowd(written: Any) -> bool:
    """Return whether a crowd is said to be one: true, or a number other than 0, as text too."""
    return written is True or (bool(written) and read_id(written) != "0")


LOADER = Loader(
    "coco",
    "captions*.json or instances*.json, in the folder or its annotations/",
    in_folder(lambda place: bool(annotation_files(place))),
    Coco,
)
