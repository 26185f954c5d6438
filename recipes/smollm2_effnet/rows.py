"""A row of the caption list, how often each source is drawn, and how rows are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Of the captions drawn. COCO's human captions are one source in three folders: each folder's share
# is that of its captions. At 0.40 these 1,615 captions were learnt by heart (docs/training.md).
SOURCE_SHARE = {
    "coco_human": 0.15,
    "flickr8k_human": 0.60,
    "imagenet": 0.12,
    "coco_crop": 0.05,
    "coco_boxes": 0.04,
    "tiny": 0.02,
    "stamp": 0.02,
}
MAX_WORDS = 12

Row = dict[str, Any]


def make_row(
    file: Path, source: str, key: str, captions: list[str], crop: list[int] | None = None
) -> Row:
    """A row for a photo, or for a crop of it in pixels; the key is its name in the source."""
    return {
        "file": str(file),
        "source": source,
        "captions": captions,
        "crop": crop,
        "id": f"{source}/{key}",
    }


def finish(phrases: Iterable[str]) -> list[str]:
    """The phrases as captions: a final full stop, at most MAX_WORDS words, repeats kept."""
    return [f"{p}." for p in phrases if 0 < len(p.split()) <= MAX_WORDS]


def shared_source(source: str) -> str:
    """The name in SOURCE_SHARE that a row's source goes by."""
    return "coco_human" if source.startswith("coco") and source.endswith("_human") else source


def weigh(rows: list[Row]) -> None:
    """Set each row's weight so that every source is drawn as often as SOURCE_SHARE says.

    Within a source, every caption of a human's is drawn as often as another, and every other row.
    """

    def worth(row: Row) -> int:
        return len(row["captions"]) if row["source"].endswith("_human") else 1

    worths: Counter[str] = Counter()
    for row in rows:
        worths[shared_source(row["source"])] += worth(row)
    total = sum(SOURCE_SHARE[source] for source in worths)
    for row in rows:
        source = shared_source(row["source"])
        row["weight"] = SOURCE_SHARE[source] * worth(row) / worths[source] / total


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines, keys in one order."""
    keys = ("file", "source", "captions", "crop", "weight", "id")
    with file.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) + "\n")
