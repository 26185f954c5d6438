"""A row of the caption list, how often each source is drawn, and how rows are written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOURCE_SHARE = {
    "coco_captioned": 0.20,
    "coco_boxes": 0.20,
    "coco_crop": 0.22,
    "imagenet": 0.20,
    "tiny": 0.13,
    "stamp": 0.05,
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


def weigh(rows: list[Row]) -> None:
    """Set each row's weight so that every source is drawn as often as SOURCE_SHARE says."""
    counts = Counter(row["source"] for row in rows)
    total = sum(SOURCE_SHARE[source] for source in counts)
    for row in rows:
        row["weight"] = SOURCE_SHARE[row["source"]] / counts[row["source"]] / total


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines, keys in one order."""
    keys = ("file", "source", "captions", "crop", "weight", "id")
    with file.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) + "\n")
