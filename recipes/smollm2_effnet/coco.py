"""The photos of COCO's train2017 with their captions and boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Box:
    """One object of a photo: corners in pixels of the stored file, area as a share of it."""

    id: str
    category: str
    left: float
    top: float
    right: float
    bottom: float
    share: float
    crowd: bool

    @property
    def size(self) -> float:
        """The area of the rectangle in pixels."""
        return max(self.right - self.left, 0.0) * max(self.bottom - self.top, 0.0)

    def overlap(self, other: Box) -> float:
        """The area in pixels that both rectangles cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


@dataclass
class Photo:
    """One COCO train photo with what is known about it."""

    name: str
    file: Path
    width: int
    height: int
    captions: list[str]
    boxes: list[Box]


def read_coco(folder: Path) -> list[Photo]:
    """The train2017 photos of a folder in COCO's layout, by file name.

    Annotations of every other split are dropped here, unread.
    """
    with (folder / "captions.json").open(encoding="utf-8") as stream:
        captions = json.load(stream)
    with (folder / "instances.json").open(encoding="utf-8") as stream:
        instances = json.load(stream)
    entries = {
        int(entry["id"]): entry
        for part in (captions, instances)
        for entry in part["images"]
        if str(entry.get("split")) == "train2017"
    }
    names = {int(entry["id"]): str(entry["name"]) for entry in instances["categories"]}
    photos: dict[int, Photo] = {}
    scales: dict[int, tuple[float, float]] = {}
    for key, entry in entries.items():
        file = folder / "images" / entry["file_name"]
        if not file.is_file():
            continue
        with Image.open(file) as image:
            width, height = image.size
        scales[key] = (
            width / number(entry.get("width"), width),
            height / number(entry.get("height"), height),
        )
        photos[key] = Photo(entry["file_name"], file.resolve(), width, height, [], [])
    for entry in captions["annotations"]:
        key = int(entry["image_id"])
        if key in photos:
            photos[key].captions.append(str(entry["caption"]))
    for entry in instances["annotations"]:
        key = int(entry["image_id"])
        if key not in photos:
            continue
        photo = photos[key]
        across, down = scales[key]
        x, y, w, h = (number(value) for value in entry["bbox"])
        left, right = max(x * across, 0.0), min((x + w) * across, float(photo.width))
        top, bottom = max(y * down, 0.0), min((y + h) * down, float(photo.height))
        area = number(entry.get("area"), w * h) * across * down
        photo.boxes.append(
            Box(
                id=str(entry["id"]),
                category=names[int(entry["category_id"])],
                left=left,
                top=top,
                right=right,
                bottom=bottom,
                share=area / (photo.width * photo.height),
                crowd=bool(int(number(entry.get("iscrowd")))),
            )
        )
    return sorted(photos.values(), key=lambda photo: photo.name)


def number(value: object, default: float = 0.0) -> float:
    """A float from an annotation's field, which some subsets store as text."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default
