"""What a projection is trained on: photos, crops of them, and captions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, overload

from molyneux.data.dataset import Item, Span
from molyneux.data.webdataset import Shards
from molyneux.vision.photo import read_photo

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.data.selection import Selection

HELD_OUT_SHARE = 0.05
MOST_HELD_OUT = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """One photo, or a crop of one, and the captions that fit it.

    Attributes:
        file: the photo, or None where it lies in an archive.
        crop: (left, top, right, bottom) in pixels, or None for the whole photo.
        weight: relative probability of being drawn.
        source: a name to count by.
        key: what its data set calls the photo; the file if empty.
        categories: what the data set says is in the photo.
        span: where the photo lies in an archive that can be read there.
    """

    file: Path | None
    captions: tuple[str, ...]
    crop: tuple[int, int, int, int] | None = None
    weight: float = 1.0
    source: str = ""
    key: str = ""
    categories: tuple[str, ...] = ()
    span: Span | None = None

    @property
    def id(self) -> str:
        """What the photo is called in messages and lists."""
        return self.key or str(self.file)

    @property
    def name(self) -> str:
        """What stays the same when the folder is moved: the data set's name, or the file's."""
        return self.key or (self.file.name if self.file else "")


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """Examples in a stable order, and how their photos are read.

    Attributes:
        archive: reads the photos of a set that comes front to back, such as shards, and the
            number there of each example; None where every photo is a file.
        place: which archive that is, so that another is not taken for it.
    """

    rows: list[Example]
    archive: Selection | None = None
    numbers: tuple[int, ...] = ()
    place: str = ""

    @classmethod
    def of(cls, rows: Examples | list[Example]) -> Examples:
        """Return examples whose photos are files."""
        return rows if isinstance(rows, Examples) else cls(rows)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """Return one example."""
        return self.rows[index]

    def only(self, keep: Callable[[Example], bool]) -> Examples:
        """Return the examples for which `keep` holds."""
        return self.at([index for index, example in enumerate(self.rows) if keep(example)])

    def at(self, kept: Sequence[int]) -> Examples:
        """Return the examples of some indices, in this order."""
        numbers = tuple(self.numbers[index] for index in kept) if self.numbers else ()
        return replace(self, rows=[self.rows[index] for index in kept], numbers=numbers)

    def photos(self, wanted: Sequence[int]) -> Iterator[tuple[int, Callable[[], Image.Image]]]:
        """Yield index and reader of the wanted examples; archives give them in their own order.

        The reader raises PhotoError where the photo cannot be read.
        """
        if self.archive is None:
            for index in wanted:
                file = self.rows[index].file
                assert file is not None
                yield index, partial(read_photo, file)
            return
        at = {self.numbers[index]: index for index in wanted}
        for number, item in self.archive.items(skip=lambda number: number not in at):
            yield at[number], item.read

    def origins(self) -> list[str]:
        """Return where the photo of each example lies.

        Examples of one photo share it, whichever list, link or set of shards each came by.
        """
        dataset = None if self.archive is None else self.archive.dataset
        resolved = cache(os.path.realpath)
        found = []
        for example in self.rows:
            if example.file is not None:
                found.append(os.path.realpath(example.file))
            elif example.span is not None:
                found.append(f"{resolved(example.span.file)}, byte {example.span.start}")
            elif isinstance(dataset, Shards):
                found.append(dataset.origin(example.id))
            else:
                found.append(f"{self.place} {example.id}")
        return found

    @property
    def any_order(self) -> bool:
        """Whether any photo can be read at once: it is a file, or lies uncompressed in one."""
        return all(example.file or example.span for example in self.rows)

    def read(self, index: int) -> Image.Image:
        """Return the photo of one example, which `any_order` has to allow.

        Raises:
            PhotoError: it cannot be read.
        """
        example = self.rows[index]
        source = example.file or example.span
        assert source is not None
        return Item(example.id, source).read()


def some_photos(
    examples: list[Example], images: int | None, seed: int, root: Path
) -> list[Example]:
    """Return the examples of so many photos, in their order, with all crops; of all if None.

    They are the first by the SHA-256 of `<seed>/<file>`, the file as it is named from `root`.
    """
    if images is None:
        return examples
    names = [os.path.relpath(str(example.file), root) for example in examples]

    def drawn(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    chosen = set(sorted(set(names), key=drawn)[:images])
    return [row for row, name in zip(examples, names, strict=True) if name in chosen]


def split_by_hash(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out), by the sha256 of the photos' names."""
    held = held_out_of(Examples.of(examples))
    return (
        [example for example, aside in zip(examples, held, strict=True) if not aside],
        [example for example, aside in zip(examples, held, strict=True) if aside],
    )


def held_out_of(examples: Examples) -> list[bool]:
    """Return of each example whether it is held out, where nobody says which are.

    All crops of a photo, and all names that one file goes by, fall on one side.
    """
    origins = examples.origins()
    called: dict[str, str] = {}
    for origin, example in zip(origins, examples, strict=True):
        called[origin] = min(called.get(origin, example.name), example.name)
    held = held_out_names(set(called.values()))
    return [called[origin] in held for origin in origins]


def held_out_names(names: set[str]) -> set[str]:
    """Return the twentieth of some names that has the lowest sha256: 1 to `MOST_HELD_OUT`."""
    ordered = sorted(
        names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    )
    return set(ordered[: min(MOST_HELD_OUT, max(1, round(len(ordered) * HELD_OUT_SHARE)))])
