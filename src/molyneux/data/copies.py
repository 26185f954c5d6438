"""Checking a copy of a data set: what it holds, and which of its photos have no file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item, Streamed, left_out_of
from molyneux.data.open import open_dataset


def check_copy(place: str | Path, kind: str | None = None) -> dict[str, Any]:
    """Return what a local copy holds, and up to ten of the photos that are missing.

    Photos are counted, and their files looked for; none is decoded.

    Raises:
        UsageError: the copy cannot be opened; the message names the missing file and its source.
    """
    dataset = open_dataset(place, kind=kind)
    counts: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    categories: set[str] = set()
    labels: set[str] = set()
    missing: list[str] = []
    items = dataset.entries() if isinstance(dataset, Streamed) else iter(dataset)
    for item in items:
        gone = isinstance(item.source, Path) and not os.path.isfile(item.source)
        counts.update(_counted(item, gone))
        splits[item.split or ""] += 1
        categories.update(item.categories)
        if item.label is not None:
            labels.add(item.label)
        if gone and len(missing) < 10:
            missing.append(str(item.source))
    return {
        "data": dataset.record(),
        "photos": counts["photos"],
        "missing": counts["missing"],
        "missing_first": missing,
        "left_out": left_out_of(dataset),
        "with_captions": counts["with_captions"],
        "captions": counts["captions"],
        "with_categories": counts["with_categories"],
        "categories": len(categories),
        "with_masks": counts["with_masks"],
        "masks": counts["masks"],
        "labels": len(labels),
        "splits": {name: n for name, n in sorted(splits.items()) if name},
    }


def _counted(item: Item, gone: bool) -> dict[str, int]:
    return {
        "photos": 1,
        "missing": int(gone),
        "with_captions": int(bool(item.captions)),
        "captions": len(item.captions),
        "with_categories": int(bool(item.categories)),
        "with_masks": int(item.has_masks),
        "masks": len(item.outlines),
    }
