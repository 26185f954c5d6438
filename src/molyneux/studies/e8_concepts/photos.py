"""Which photos are of which concept, and how many of each are taken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molyneux.data.dataset import Item, Streamed
from molyneux.words.concepts import concepts_mentioned, concepts_named

if TYPE_CHECKING:
    from molyneux.data.selection import Selection

LEAST = 5
"""Photos of a concept, below which nothing is said of it."""


@dataclass(frozen=True)
class Told:
    """What a data set tells of a photo.

    Attributes:
        named: the concepts it is a photo of.
        mentioned: those that anything says are in it; these too.
    """

    named: frozenset[str]
    mentioned: frozenset[str]

    @classmethod
    def of(cls, item: Item) -> Told:
        """Return what is told of an item; its photo is not read."""
        said = (item.label, item.categories, item.captions)
        named = frozenset(concepts_named(*said))
        return cls(named, named | concepts_mentioned(*said))


def told_of(selection: Selection) -> dict[str, Told]:
    """Return what is told of every photo of a selection, in its order; no photo is read."""
    dataset, chosen = selection.dataset, set(selection.ids)
    entries = dataset.entries() if isinstance(dataset, Streamed) else iter(dataset)
    found = {entry.id: Told.of(entry) for entry in entries if entry.id in chosen}
    return {name: found[name] for name in selection.ids}


def photos_of(told: dict[str, Told]) -> Counter[str]:
    """Return how many photos there are of each concept."""
    return Counter(concept for one in told.values() for concept in one.named)


def choose_photos(
    told: dict[str, Told], most: int, seed: int, *, wanted: Collection[str] | None = None
) -> list[str]:
    """Return the photos that are taken, so that no concept has fewer than `most` if it has them.

    In the order of a hash of the seed and the photo's id, a photo is taken if a concept of it has
    fewer than `most` yet; so neither the order of the data set nor its other photos change much.

    Args:
        wanted: the concepts that count; None for all with `LEAST` photos.
    """
    count = photos_of(told)
    keep = {concept for concept in count if count[concept] >= LEAST}
    keep = keep if wanted is None else keep & set(wanted)
    taken: Counter[str] = Counter()
    chosen: set[str] = set()
    for name in sorted(told, key=lambda name: _order(seed, name)):
        own = told[name].named & keep
        if any(taken[concept] < most for concept in own):
            chosen.add(name)
            taken.update(own)
    return [name for name in told if name in chosen]


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
