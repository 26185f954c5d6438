"""What the document says of why a word was written, or nearly, that may not be there.

Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from molyneux.explain.why_text import why_lines
from molyneux.records import ABSENT

Said = Literal["written", "nearly", "asked"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A number over reference photos.

    Attributes:
        mean: over the photos.
        deviation: over the photos (n - 1); null of one.
        photos: how many.
    """

    mean: float
    deviation: float | None
    photos: int


@dataclass(frozen=True, kw_only=True)
class SharedUnits:
    """How many of the units that push the word here push it behind other photos.

    Attributes:
        ranking: what units are ordered by here and there, over the patches: `contrast`, or `total`.
        units: how many of this photo's first are looked for among as many of each other's.
        shown: the share of them that is there, behind photos that people say show the word.
        others: the share behind photos where nobody named it, the control.
        among_shown: what photos that show it share with one another: how high `shown` may be
            expected to be of a photo like them; null of one.
        chance: how often exchanged labels set `shown` so far above `others`; exact, one-sided.
        like_shown: whether `chance` is 2 % or less; null where photos are too few for that.
    """

    ranking: Literal["contrast", "total"]
    units: int
    shown: Spread
    others: Spread
    among_shown: Spread | None = None
    chance: float
    like_shown: bool | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Why:
    """Why the model says a word, or nearly does: what there is to compare it with.

    Attributes:
        said: whether the caption says it there (`written`), has another word there but it is one of
            the ten likeliest nouns (`nearly`), or neither (`asked`).
        named_by_people: whether people named it, or a synonym, in this photo; null where nobody
            described it.
        log_probability: of the word's first token there, in nats.
        rank: of that among everyday nouns of one token, 1 for the likeliest.
        nouns: how many those are, the word too.
        described: how many reference photos people described.
        named: in how many of those they named the word, this photo not counted.
        log_probability_shown: the same behind photos that people say show it; null without any.
        log_probability_others: behind photos where nobody, and not the model, named it; null
            likewise.
        shared: how many of the units that push it here push it there; empty likewise. The first
            decides: `contrast`, if it is there.
        score_unit: of `patches`: `logit`, `nat`, or null with another scorer.
        patches: what all units together give the word at each patch, to first order, by row and
            column; absent without a patch grid.
    """

    said: Said
    named_by_people: bool | None
    log_probability: float
    rank: int
    nouns: int
    described: int
    named: int
    log_probability_shown: Spread | None = None
    log_probability_others: Spread | None = None
    shared: tuple[SharedUnits, ...] = ()
    score_unit: Literal["logit", "nat"] | None = None
    patches: Annotated[tuple[tuple[float, ...], ...] | None, ABSENT] = None

    @property
    def like_shown(self) -> bool | None:
        """Whether its units are those of photos that show the word; None if that is not known."""
        return self.shared[0].like_shown if self.shared else None

    def __repr__(self) -> str:
        return "\n".join(why_lines("the word", self))
