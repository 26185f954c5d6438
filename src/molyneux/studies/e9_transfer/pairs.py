"""Which photos are measured, which concept each is of, and what stands beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from molyneux.errors import UsageError
from molyneux.studies.e8_concepts.photos import LEAST, Told, choose_photos, photos_of
from molyneux.words.articles import article_of
from molyneux.words.kinds import are_related


@dataclass(frozen=True)
class Shared:
    """The concepts that have units there and photos here, and the photos that are taken.

    Attributes:
        concepts: with 5 photos or more on each side.
        left_out: the other concepts with units or photos: name, photos there, photos here.
        ids: of the photos, in the order of the data set.
    """

    concepts: tuple[str, ...]
    left_out: tuple[tuple[str, int, int], ...]
    ids: tuple[str, ...]


def shared_concepts(
    there: dict[str, int], told: dict[str, Told], most: int, seed: int, name: str
) -> Shared:
    """Return the concepts that can be measured, and at most so many photos of each.

    Args:
        there: how many photos each concept's units were found on.
        name: of the data set, to be said where it has too few.

    Raises:
        UsageError: fewer than two can.
    """
    here = photos_of(told)
    both = {concept: (there.get(concept, 0), here[concept]) for concept in sorted({*there, *here})}
    concepts = tuple(concept for concept, counts in both.items() if min(counts) >= LEAST)
    left_out = tuple((c, *counts) for c, counts in both.items() if min(counts) < LEAST)
    if len(concepts) < 2:
        known = ", ".join(f"{c} {n}" for c, n in here.most_common(5)) or "none"
        raise UsageError(
            f"{name} has {LEAST} photos or more of {len(concepts)} of the {len(there)} concepts "
            f"that the run has units of, and two are needed; its photos show: {known}"
        )
    ids = choose_photos(told, most, seed, wanted=concepts)
    return Shared(concepts, left_out, tuple(ids))


@dataclass(frozen=True)
class Pair:
    """What a photo is measured with.

    Attributes:
        concept: what it shows.
        other: another concept, which neither photo shows: its units and its word stand beside.
        receiver: the id of the photo that the units' values are written into; it shows a third.
    """

    concept: str
    other: str
    receiver: str


def pair_photos(shared: Shared, told: dict[str, Told], seed: int) -> dict[str, Pair]:
    """Return each photo's pair; a photo that none can be found for is left out.

    A photo of several concepts is one of the concept with fewest photos. All is taken in the order
    of a hash of the seed, the photo and what is drawn.
    """
    count = photos_of({name: told[name] for name in shared.ids})
    found = {}
    for name in shared.ids:
        own = told[name]
        # A cup is no photo of a mug: what is related to what is shown stands beside nothing.
        free = [c for c in shared.concepts if not shows(own, c)]
        shown = sorted(own.named & set(shared.concepts), key=lambda c: (count[c], c))
        for concept in shown[:1]:
            alike = [c for c in free if article_of(c) == article_of(concept)] or free
            in_order = _drawn(seed, f"{name} receiver", shared.ids)
            receivers = (r for r in in_order if r != name and not shows(told[r], concept))
            for receiver in receivers:
                others = [c for c in alike if not shows(told[receiver], c)]
                if others:
                    other = _drawn(seed, f"{name} other", others)[0]
                    found[name] = Pair(concept, other, receiver)
                    break
    return found


def shows(told: Told, concept: str) -> bool:
    """Whether anything says that a concept, or what is related to it, is in a photo."""
    return any(are_related(concept, one) for one in told.mentioned)


def _drawn(seed: int, purpose: str, names: Sequence[str]) -> list[str]:
    def key(name: str) -> str:
        text = f"{seed}/{purpose}/{name}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    return sorted(names, key=key)
