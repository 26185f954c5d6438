"""What `cache`, `runs` and `data` print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CachedFolderRecord:
    """A folder of the cache.

    Attributes:
        name: what it is called there.
        made_of: the package and version whose weights it holds.
        bytes: its size.
    """

    name: str
    made_of: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CacheContents:
    """What the cache holds, or held.

    Attributes:
        cache: where it lies.
        bytes: the size of these folders.
        removed: whether they were removed just now.
        folders: each of them.
    """

    cache: str
    bytes: int
    removed: bool
    folders: tuple[CachedFolderRecord, ...]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run folder.

    Attributes:
        run: where it lies.
        kind: of the command that made it: `explain`, `study`, `train`, `reference` or
            `trust`.
        created: when.
        state: text to read: for a study how many photos are measured.
    """

    run: str
    kind: str
    created: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Run folders.

    Attributes:
        runs: by the time they were begun.
    """

    runs: tuple[RunRecord, ...]


@dataclass(frozen=True, kw_only=True)
class DownloadRecord:
    """A file of a data set.

    Attributes:
        url: where it is.
        size: how large.
        what: what it holds.
    """

    url: str
    size: str
    what: str


@dataclass(frozen=True, kw_only=True)
class KnownSetRecord:
    """A data set that molyneux knows.

    Attributes:
        name: what commands call it.
        kind: its layout on disk.
        title: what it is.
        photos: how many, by split.
        has: what there is beside photos.
        licence: of the photos and annotations.
        downloads: its files.
        layout: how they are unpacked.
    """

    name: str
    kind: str
    title: str
    photos: dict[str, int]
    has: tuple[str, ...]
    licence: str
    downloads: tuple[DownloadRecord, ...]
    layout: str


@dataclass(frozen=True, kw_only=True)
class CheckedCopy:
    """A folder, list or shard that holds a data set.

    Attributes:
        set: which known one it was said to be; null of any other.
        data: the record of the copy, as manifests hold it.
        photos: how many are listed.
        missing: how many of them have no file.
        missing_first: up to ten of those.
        left_out: what is there and in no photo's item, a line for each reason.
        with_captions: photos with captions.
        captions: captions in all.
        with_categories: photos with categories.
        categories: categories in all.
        with_masks: photos with masks.
        masks: masks in all, one for each category in a photo.
        labels: classes.
        splits: photos by split.
        full: photos of the full set by split; empty of a set that is not known.
        lacks: what the full set has and the copy has nothing of.
    """

    set: str | None
    data: dict[str, Any]
    photos: int
    missing: int
    missing_first: tuple[str, ...]
    left_out: tuple[str, ...]
    with_captions: int
    captions: int
    with_categories: int
    categories: int
    with_masks: int
    masks: int
    labels: int
    splits: dict[str, int]
    full: dict[str, int]
    lacks: tuple[str, ...]
