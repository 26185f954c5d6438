"""What the document says of sight: what a photo adds to a word, and what carries it.

Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from molyneux.explain.sight_text import sight_lines
from molyneux.records import ABSENT


@dataclass(frozen=True, kw_only=True)
class SightSet:
    """What editing one set of units at the patches does to a word.

    Attributes:
        name: `change` (farthest from what they are in reference photos, no word asked), `random`
            (of the same layers; mean of 3 draws), `matched` (of the same layers and as strong),
            `all`; and controls of the edit: `other_values` (the units of `change`, the values of a
            third photo), `scrambled` (the same changes, permuted among its units of a layer).
        fraction_of_units: of the units of `layers`, how many the set has.
        layers: that it was chosen from: `all` but the last, or a list.
        mediated: log-probability of the word minus that with the set put to the partners' mean,
            patch by patch, in nats.
        transplant: what the word gains behind a partner into whose patches the photo's values of
            the set are written, in nats; the mean over up to 8 partners.
        fraction_mediated: `mediated` over `gain`; null where this photo adds nothing to the word.
        fraction_transplanted: `transplant` over `gain`; null likewise.
        edit_norm: how much the edit in the partners changes what the set writes into the residual
            stream: over patches and layers, the root of the sum of squares; the mean over partners.
        mediated_norm: likewise of the edit in the photo.
        transplant_caption: what is written behind the first partner with the photo's values in its
            patches; null for words that are not named, and for sets of some layers only.
    """

    name: Annotated[
        Literal["change", "random", "matched", "all", "other_values", "scrambled"],
        Field(alias="set"),
    ]
    fraction_of_units: float
    layers: Literal["all"] | tuple[int, ...]
    mediated: float | None
    transplant: float | None
    fraction_mediated: float | None
    fraction_transplanted: float | None
    edit_norm: float | None
    mediated_norm: float | None
    transplant_caption: str | None


@dataclass(frozen=True, kw_only=True)
class NotNamed:
    """A word that nobody named in the photo, as likely behind the partners as the word is.

    Attributes:
        word: an everyday noun, related to nothing that the caption or people name.
        gain: what this photo adds to it, in nats.
        sets: as of the word itself.
    """

    word: str
    gain: float
    sets: tuple[SightSet, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Sight:
    """What this photo adds to a word, and which units at its patches carry it.

    Attributes:
        gain: log-probability of the word's first token behind this photo minus its mean behind
            partners, after the same text, in nats.
        standard_error: of `gain`, over the partners.
        partners: how many other photos that was, none of which shows the word.
        gain_all_tokens: the sum over the word's tokens; absent where it has one.
        partner_caption: what is written behind the first partner as it is.
        sets: what editing each set does.
        absent: three words that are not named, each with the same sets.
    """

    gain: float
    standard_error: float
    partners: int
    gain_all_tokens: Annotated[float | None, ABSENT] = None
    partner_caption: str
    sets: tuple[SightSet, ...]
    absent: tuple[NotNamed, ...]

    def __repr__(self) -> str:
        return "\n".join(sight_lines(self))

    @property
    def adds(self) -> bool:
        """Whether the photo adds anything: more than 0, and than two standard errors."""
        return self.gain > 0 and self.gain > 2 * self.standard_error

    def of(self, name: str, fraction: float = 0.05) -> SightSet | None:
        """Return what a set over all layers does; None where it was not measured."""
        for one in self.sets:
            whole = one.layers == "all"
            if whole and one.name == name and (name == "all" or one.fraction_of_units == fraction):
                return one
        return None
