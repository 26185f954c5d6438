"""Photos that people say show a word, and photos that do not: is another one like the first?

A word that is written of a photo without being in it comes from the text ahead of it, or from
something of the photo. Whether the units that push it are those that push it where it is really
there is seen beside as many photos where nobody named it: units that the text alone calls up are
the same behind any photo.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.neurons.partners import Partner
from molyneux.neurons.sight.measure import in_order
from molyneux.neurons.unit import top_units
from molyneux.statistics.permutations import exchange_p, least_p

PHOTOS = 5
"""Of each kind, at most: each costs a pass and one back. Three that show it can be told from 5."""
UNITS = 100
LEVEL = 0.02
"""How often at most a verdict may pass where the labels mean nothing."""


@dataclass(frozen=True, eq=False)
class Showing:
    """Photos to compare a word's units and its probability with.

    Attributes:
        shown: people named the word in them.
        others: neither people nor the model did.
        named: of all reference photos, how many people named the word in.
        described: and how many people described.
    """

    shown: tuple[Partner, ...]
    others: tuple[Partner, ...]
    named: int
    described: int


def photos_showing(
    partners: Sequence[Partner], word: str, digest: str, *, but: Collection[str] = ()
) -> Showing:
    """Return up to 5 photos that people say show a word, and up to 5 that do not.

    Both are taken in an order by the photo's hash; of those that show it, first those where most
    people named it. The explained photo is none of them.

    Args:
        word: singular.
        digest: the explained photo's SHA-256.
        but: names of partners that are no such photos: those whose mean was taken away from the
            scores.
    """
    place = in_order([partner.name for partner in partners], digest)
    there = [
        one
        for one in (partners[number] for number in place)
        if one.n_human_captions and one.name != digest
    ]
    naming = [one for one in there if one.people_name(word)]
    naming.sort(key=lambda one: word not in one.agreed)
    shown = tuple(one for one in naming if one.name not in but)[:PHOTOS]
    others = tuple(one for one in there if one.name not in but and not one.shows(word))
    return Showing(shown, others[:PHOTOS], len(naming), len(there))


def shared_units(
    score: Float[Tensor, "layers d_mlp"],
    others: Float[Tensor, "photos layers d_mlp"],
    n: int = UNITS,
) -> Float[Tensor, " photos"]:
    """Return what share of a photo's first units each other photo has among its own first.

    Only units that push the word count: those of a score above 0.

    Raises:
        UsageError: none is above 0.
    """
    own = _first(score, n)
    if not own:
        raise UsageError("no unit pushes the word: no score is above 0")
    return torch.tensor([len(own & _first(other, n)) / len(own) for other in others])


def _first(score: Float[Tensor, "layers d_mlp"], n: int) -> set[tuple[int, int]]:
    return set(top_units(score.masked_fill(score <= 0, -torch.inf), n))


@dataclass(frozen=True, eq=False)
class Likeness:
    """How like this photo each of two groups is, in one number a photo.

    Attributes:
        shown: of photos that people say show the word.
        others: of photos where nobody named it.
    """

    shown: Float[Tensor, " shown"]
    others: Float[Tensor, " others"]

    @property
    def p(self) -> float:
        """How often chance alone sets `shown` so far above `others` (`exchange_p`); 1 without any.

        Labels are exchanged among the photos that there are.
        """
        if not len(self.shown) or not len(self.others):
            return 1.0
        return exchange_p(self.shown.tolist(), self.others.tolist())

    @property
    def like_shown(self) -> bool | None:
        """Whether this photo is more like those that show the word; None of too few to tell."""
        if least_p(len(self.shown), len(self.others)) > LEVEL:
            return None
        return self.p <= LEVEL
