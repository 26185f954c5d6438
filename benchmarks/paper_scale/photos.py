"""A few random photos annotated as COCO's are, so that every experiment has work to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (640, 480)
# Two that a photo has once, and are asked for in E4, and one that it has twice.
CATEGORIES = ("bird", "bicycle", "bottle")
CAPTIONS = (
    "a bird above a bicycle",
    "a bicycle stands beside two bottles",
    "some bottles and a bird outside",
    "a bird sits on a parked bicycle",
    "two bottles left near a bicycle",
)


def write_photos(folder: Path, n: int) -> Path:
    """Write `n` photos with captions, categories and outlines, and return the folder."""
    photos = folder / "val2017"
    photos.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    outlined: list[dict[str, Any]] = []
    for number in range(1, n + 1):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
        photo = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        name = f"{number:012d}.jpg"
        photo.save(photos / name, quality=90)
        images.append(
            {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]},
        )
        said += [
            {"id": len(said) + i, "image_id": number, "caption": c} for i, c in enumerate(CAPTIONS)
        ]
        for category, places in ((1, [80]), (2, [300]), (3, [200, 420])):
            for left in places:
                right = left + 140
                box = [left, 120, right, 120, right, 340, left, 340]
                outlined.append(
                    {
                        "id": len(outlined),
                        "image_id": number,
                        "category_id": category,
                        "segmentation": [box],
                        "bbox": [left, 120, 140, 220],
                        "iscrowd": 0,
                    }
                )
    names = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES, 1)]
    documents = {
        "captions_val2017.json": {"images": images, "annotations": said},
        "instances_val2017.json": {
            "images": images,
            "annotations": outlined,
            "categories": names,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
    return folder
