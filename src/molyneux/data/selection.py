"""Which photos of a data set are used: conditions, and a sample that does not depend on order."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from molyneux.checks import is_a, shown, whole_number
from molyneux.data.dataset import Dataset, Indexed, Item, Streamed
from molyneux.data.names import spellings
from molyneux.data.text_files import read_lines
from molyneux.errors import UsageError

CONDITIONS = {
    "split=NAME": "in that part of the set, such as val2017",
    "category=NAME": "with that category in it",
    "label=NAME": "of that class, in sets with one class a photo",
    "captions": "with at least one caption",
    "masks": "with the mask of at least one category",
    "present": "whose file is there",
    "listed=FILE": "named in a text file, one a line",
    "not-listed=FILE": "not named in a text file",
}
"""What `--where` takes, and which photos each keeps."""


@dataclass(frozen=True)
class Selection:
    """The chosen photos of a data set, by id; no photo is held.

    Attributes:
        dataset: where the photos are read from.
        ids: the chosen photos' ids; an item's *index* is its place here.
        where: the conditions they met.
        images: how many were asked for, or None for all.
        seed: of the sample.
        left_out: what a set that is read from front to back has and gives nobody, by reason.
        unmatched: lines of `listed` and `not-listed` files that named no photo of the set.
        has: what some photo that met the conditions has: `captions`, `masks`, `label`.
    """

    dataset: Dataset
    ids: list[str]
    where: tuple[str, ...] = ()
    images: int | None = None
    seed: int = 0
    unmatched: int = 0
    has: frozenset[str] = frozenset()
    left_out: dict[str, Any] = field(default_factory=dict)
    _positions: list[int] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        """Number of chosen photos."""
        return len(self.ids)

    def items(
        self, start: int = 0, step: int = 1, skip: Callable[[int], bool] = lambda index: False
    ) -> Iterator[tuple[int, Item]]:
        """Yield index and item of the chosen photos `start, start + step, ...`.

        Photos for which `skip(index)` holds are not read. Where photos are files they come in
        order of index. A set read from front to back (shards, the hub) gives them in the order of
        its archives instead, in one pass: go by the index, not by the order.
        """
        if isinstance(self.dataset, Indexed):
            for index in range(start, len(self.ids), step):
                if not skip(index):
                    yield index, self.dataset[self._positions[index]]
            return
        assert isinstance(self.dataset, Streamed)
        wanted = {
            self._positions[index]: index
            for index in range(start, len(self.ids), step)
            if not skip(index)
        }
        for position, item in self.dataset.only(wanted.__contains__):
            yield wanted.pop(position), item
            if not wanted:  # the rest of the archives need not be read
                return

    def only(self, ids: Sequence[str]) -> Selection:
        """Return the selection of some of its photos, in the order given.

        Raises:
            UsageError: an id is not among the selection's.
        """
        position = dict(zip(self.ids, self._positions, strict=True))
        unknown = [one for one in ids if one not in position]
        if unknown:
            raise UsageError(
                f"the photo {unknown[0]} is not among the {len(self)} chosen; name some of those"
            )
        return replace(self, ids=list(ids), _positions=[position[one] for one in ids])

    def record(self) -> dict[str, Any]:
        """Return how the photos were chosen and the SHA-256 of their ids, for manifests."""
        joined = "\n".join(self.ids).encode("utf-8", "surrogateescape")
        return {
            "where": list(self.where),
            "images": self.images,
            "seed": self.seed,
            "chosen": len(self),
            "ids_sha256": hashlib.sha256(joined).hexdigest(),
            "list_lines_unmatched": self.unmatched,
            **self.left_out,
        }


def select(
    dataset: Dataset, where: Sequence[str] = (), images: int | None = None, seed: int = 0
) -> Selection:
    """Return the photos that meet the conditions, all of them or a sample.

    A condition given several times with different names holds for any of them (`split=a`,
    `split=b`); different conditions must all hold. Without `images` the photos are in the set's
    order. With it they are the first by the SHA-256 of `<seed>/<id>`: the sample does not depend
    on the set's order, and a smaller sample is the beginning of a larger one.

    Args:
        where: conditions as `CONDITIONS` lists them; a text is one.

    Raises:
        UsageError: an argument is of the wrong kind, a condition is unknown or its file cannot be
            read, no photo meets them all, two photos share an id, or `images` is not positive.
    """
    is_a("dataset", dataset, Dataset, "what open_dataset returns")  # type: ignore[type-abstract]
    where = _conditions(where)
    whole_number("seed", seed)
    if images is not None and whole_number("images", images) < 1:
        raise UsageError(
            f"cannot choose {images} photos; ask for 1 or more, or leave it out for all"
        )
    conditions = _Conditions(where)
    chosen: list[tuple[str, int]] = []
    has: set[str] = set()
    seen: set[str] = set()
    entries = dataset.entries() if isinstance(dataset, Streamed) else iter(dataset)
    for position, item in enumerate(entries):
        if item.id in seen:
            raise UsageError(
                f"two photos of {dataset.name} have the id {item.id}; rename one of them"
            )
        seen.add(item.id)
        if conditions.hold(item):
            chosen.append((item.id, position))
            has.update(_has(item))
    if not chosen:
        raise UsageError(conditions.why_nothing(dataset.name, len(seen)))
    if images is not None:
        chosen.sort(key=lambda one: _draw(seed, one[0]))
        chosen = chosen[:images]
    left_out = getattr(dataset, "left_out", None) if isinstance(dataset, Streamed) else None
    return Selection(
        dataset,
        [one for one, _ in chosen],
        tuple(where),
        images,
        seed,
        conditions.unmatched(),
        frozenset(has),
        left_out.record() if left_out else {},
        [position for _, position in chosen],
    )


def _has(item: Item) -> Iterator[str]:
    """Yield what people said of a photo."""
    if item.captions:
        yield "captions"
    if item.has_masks:
        yield "masks"
    if item.label is not None:
        yield "label"


def _conditions(where: Any) -> tuple[str, ...]:
    if isinstance(where, str):  # one condition, and not its letters
        return (where,)
    if where is None:
        return ()
    if not isinstance(where, Sequence) or not all(isinstance(one, str) for one in where):
        raise UsageError(
            f"where takes conditions such as 'captions', not {shown(where)}; there are "
            f"{', '.join(CONDITIONS)}"
        )
    return tuple(where)


def _draw(seed: int, identity: str) -> bytes:
    return hashlib.sha256(f"{seed}/{identity}".encode("utf-8", "surrogateescape")).digest()


class _Conditions:
    """What `--where` asks, and enough of what the set has to say why nothing was left."""

    def __init__(self, where: Sequence[str]) -> None:
        self.where = where
        self.flags: set[str] = set()
        self.values: dict[str, set[str]] = {}
        self.lists: dict[str, list[_PhotoList]] = {}
        self.there: dict[str, Counter[str]] = {"split": Counter(), "category": Counter()}
        self.there["label"] = Counter()
        for condition in where:
            key, equals, value = condition.partition("=")
            if not equals and key in ("captions", "masks", "present"):
                self.flags.add(key)
            elif value and key in ("split", "category", "label"):
                self.values.setdefault(key, set()).add(value if key == "split" else value.lower())
            elif value and key in ("listed", "not-listed"):
                self.lists.setdefault(key, []).append(_PhotoList(Path(value)))
            else:
                raise UsageError(
                    f"no condition is called {condition!r}; there are {', '.join(CONDITIONS)}"
                )

    def hold(self, item: Item) -> bool:
        """Whether a photo meets them all."""
        had = {
            "split": () if item.split is None else (item.split,),
            "category": item.categories,
            "label": () if item.label is None else (item.label.lower(),),
        }
        for key, values in had.items():
            self.there[key].update(values)
        # Every list is asked, so that the lines that name no photo can be counted.
        listed = [one.names(item) for one in self.lists.get("listed", [])]
        not_listed = [one.names(item) for one in self.lists.get("not-listed", [])]
        if (listed and not any(listed)) or any(not_listed):
            return False
        if any(not wanted.intersection(had[key]) for key, wanted in self.values.items()):
            return False
        if "captions" in self.flags and not item.captions:
            return False
        if "masks" in self.flags and not item.has_masks:
            return False
        return not (
            "present" in self.flags
            and isinstance(item.source, Path)
            and not os.path.isfile(item.source)
        )

    def unmatched(self) -> int:
        """Number of lines of the lists that named no photo."""
        return sum(len(one.left) for lists in self.lists.values() for one in lists)

    def why_nothing(self, name: str, photos: int) -> str:
        """Return the line that says why no photo was left."""
        if not photos:
            return f"{name} holds no photo; `molyneux data` says how a set is laid out"
        for key, wanted in self.values.items():
            there = self.there[key]
            if not wanted & there.keys():
                most = [value for value, _ in there.most_common(12)]
                has = f"it has {', '.join(sorted(most))}" if most else "it names none"
                more = f" and {len(there) - 12} more" if len(there) > 12 else ""
                return f"no photo of {name} has {key}={', '.join(sorted(wanted))}; {has}{more}"
        return (
            f"none of the {photos} photos of {name} meets all of: {' and '.join(self.where)}; "
            "leave one of them out"
        )


class _PhotoList:
    """The photos a text file names: by id, by path, or by the last parts of the path."""

    def __init__(self, file: Path) -> None:
        # A line is a photo's id or the end of its path; as a path it starts at the list's folder.
        self.left = {line.strip() for _, line in read_lines(file)}
        self.paths: dict[str, set[str]] = {}
        self.ends: dict[str, set[str]] = {}
        for line in self.left:
            for name in spellings(line):
                self.ends.setdefault(name.removeprefix("./"), set()).add(line)
                if "\0" not in name:
                    path = os.path.realpath(file.parent / name)
                    self.paths.setdefault(path, set()).add(line)

    def names(self, item: Item) -> bool:
        """Whether a line names this photo."""
        if item.id in self.ends:
            self.left -= self.ends[item.id]
            return True
        if not isinstance(item.source, Path):
            return False
        path = os.path.realpath(item.source)
        if path in self.paths:
            self.left -= self.paths[path]
            return True
        parts = item.source.as_posix().split("/")
        for first in range(len(parts) - 1, -1, -1):
            end = "/".join(parts[first:])
            if end in self.ends:
                self.left -= self.ends[end]
                return True
        return False
