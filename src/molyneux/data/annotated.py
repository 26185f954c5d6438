"""What the sets have in common whose photos are files and whose annotations are files too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item, LeftOut
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
        left_out: what the annotations or the folder have that is in no item.
    """

    name: str
    licence: str | None = None

    def __init__(self, place: str | Path, *, folder: bool = True) -> None:
        """Name the place.

        Args:
            folder: whether it must be one.

        Raises:
            UsageError: it is not there, or no folder.
        """
        self.place = self.root = Path(place)
        if not self.place.exists():
            raise UsageError(
                f"there is no {place}; name a data set's folder, or `hf:NAME` on the hub"
            )
        if folder and not self.place.is_dir():
            raise UsageError(f"{place} is a file; a data set of the kind {self.name} is a folder")
        self.files: list[Path] = []
        self.left_out = LeftOut()

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
            **self.left_out.record(),
            "annotations": {
                # Two folders may each have a captions.json; neither takes the other's place.
                (n if names.count(n) == 1 else str(f.relative_to(self.root))): sha256_of(f)
                for n, f in zip(names, self.files, strict=True)
            },
        }

    def _lacking(self) -> dict[str, Any]:
        """Return what the annotations speak of and the set does not have, for the record."""
        return {}
