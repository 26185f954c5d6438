"""What a loader says of itself: its kind, what it recognises, and how it opens a set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from molyneux.data.dataset import Dataset


class Sure(IntEnum):
    """How sure a loader is that a place is laid out as it reads it; the surest one reads it."""

    NO = 0
    """It is not."""
    BELOW = 1
    """Photos lie somewhere below."""
    BESIDE = 2
    """Photos lie in it."""
    NAMED = 3
    """A file or a name is there that only such sets have."""


@dataclass(frozen=True)
class Loader:
    """How data sets of one layout are known, and read.

    Attributes:
        kind: the layout's name, as `--kind` takes it.
        known_by: what such a set has, as a person would say it, in a line.
        recognises: how sure the loader is of a place. It only looks: what it is given may be a
            folder, a file, a pattern, an address, or nothing that is there.
        open: returns the set at a place; UsageError where something that it needs is missing.
    """

    kind: str
    known_by: str
    recognises: Callable[[str | Path], Sure]
    open: Callable[[str | Path], Dataset]


def in_folder(found: Callable[[Path], Sure | bool]) -> Callable[[str | Path], Sure]:
    """Return what recognises folders alone, by a function that looks into one."""

    def recognises(spec: str | Path) -> Sure:
        place = Path(spec)
        if not place.is_dir():
            return Sure.NO
        said = found(place)
        return Sure.NAMED if said is True else Sure(said)

    return recognises
