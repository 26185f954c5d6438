"""What the sets have in common whose photos are files and whose annotations are files too."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.weights.cache import sha256_of


class AnnotatedPhotos(ABC):
    """Photos in the order of their annotations, any of which can be had at once.

    Attributes:
        name: of the loader.
        licence: of annotations and photos, where all such sets have the same.
        place: what was opened.
        root: the folder that the photos' names start from.
        files: the annotation files that were read.
    """

    name: str
    licence: str | None = None

    def __init__(self, place: Path) -> None:
        self.place = self.root = place
        self.files: list[Path] = []

    @abstractmethod
    def __len__(self) -> int:
        """Number of photos."""

    @abstractmethod
    def __getitem__(self, position: int) -> Item:
        """Return the item at a position of the set's order."""

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in the set's order."""
        return (self[position] for position in range(len(self)))

    def record(self) -> dict[str, Any]:
        """Return name, place, licence, what is lacking, and the annotation files' SHA-256."""
        names = [file.name for file in self.files]
        return {
            "name": self.name,
            "where": str(self.place),
            "licence": self.licence,
            "photos": len(self),
            **self._lacking(),
            "annotations": {
                # Two folders may each have a captions.json; neither takes the other's place.
                (n if names.count(n) == 1 else str(f.relative_to(self.root))): sha256_of(f)
                for n, f in zip(names, self.files, strict=True)
            },
        }

    def _lacking(self) -> dict[str, Any]:
        """Return what the annotations speak of and the set does not have, for the record."""
        return {}


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        UsageError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}; check the name") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{file} is damaged: it is no JSON ({' '.join(str(error).split())}); download it again"
        ) from error


def inside(name: str) -> str:
    """Return a photo's file name, which may not lead out of the data set.

    Raises:
        ValueError: it does.
    """
    for path in (PurePosixPath(name), Path(name)):  # as it is written, and as this system reads it
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the photo {name} lies outside the data set")
    return name
