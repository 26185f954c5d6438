"""What an ablation found, in words and numbers: own specific units against another photo's.

It says which units a word needs, and is no evidence that they see: units that are picked by a
word's own gradient take any word. So an absent word's own units stand beside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from molyneux.neurons.unit_sets import UNIT_SETS

if TYPE_CHECKING:
    from molyneux.explain.document import Curves, OwnMinusOthers, View

# About 100 units: what the claim is made at, whatever number of units is listed.
UNITS = 100
VIEWS: dict[View, str] = {"patches": "At the patches", "last": "At the last position"}
CURVES = {
    **{
        name: UNIT_SETS[name].title
        for name in (
            *("total", "contrast", "change", "specific", "other_specific", "matched"),
            *("top", "other", "interpretable", "random"),
        )
    },
    "absent_total": "absent word, its own largest total",
    "absent_contrast": "absent word, its own contrast",
    "absent_specific": "absent word, its own specific",
    "absent_top": "absent word, its own raw top",
    "absent_interpretable": "absent word, its own interpretable",
    "unrelated_total": "unrelated nouns, largest total off",
    "random_std": "random (standard deviation)",
    "unrelated_specific": "unrelated nouns, specific off",
    "unrelated_top": "unrelated nouns, raw top off",
    "unrelated_random": "unrelated nouns, random off",
}


def percent(fraction: float | None) -> str:
    """Return a fraction as text, such as `29 %`; a dash for None.

    One digit is kept below 10 %, so that small remainders can be told apart, and just below 100 %:
    what is nearly all is not all.
    """
    if fraction is None:
        return "–"
    value = 100 * fraction
    if 0 < value < 0.1:
        return "under 0.1\u00a0%"
    text = f"{value:.1f}" if 0 < value < 9.95 else f"{value:.0f}"
    if text == "100" and value < 100:
        text = f"{math.floor(10 * value) / 10:.1f}"
    return f"{text}\u00a0%"


def probability(value: float) -> str:
    """Return a probability as text, with two digits that matter however small it is."""
    return f"{value:.2g}"


@dataclass(frozen=True)
class Claim:
    """What one view's ablation says of a word, at one number of units.

    Attributes:
        view: `patches` or `last`.
        units: how many units were switched off.
        own: what this photo's units leave, as a fraction of the probability.
        other: what another photo's leave.
        other_noun: what the other photo shows, as the model wrote it.
        against: the same against several other photos, with an interval over them.
        absent: what an absent word's own units leave of that word, as a fraction of its
            probability; None where that was not tried.
        absent_word: which word that is.
    """

    view: View
    units: int
    own: float
    other: float
    other_noun: str | None
    against: OwnMinusOthers | None = None
    absent: float | None = None
    absent_word: str | None = None

    @property
    def title(self) -> str:
        """Name the view."""
        return VIEWS[self.view]

    @property
    def another(self) -> str:
        """Name the other photo, its noun in brackets where it is known."""
        noun = f" ({self.other_noun})" if self.other_noun else ""
        return f"another photo's{noun}"

    @property
    def sentence(self) -> str:
        """Say both numbers, of the specific ranking."""
        return (
            f"Switching off this photo's {self.units} most specific units leaves "
            f"{percent(self.own)} of the word's probability; {self.another} leave "
            f"{percent(self.other)}."
        )

    @property
    def caveat(self) -> str:
        """Say what an absent word's own units do, and that the claim is no evidence of sight."""
        said = "Units picked by a word's own gradient take a word that is not there, too"
        if self.absent is not None:
            said = (
                f"Beside it an absent word and its own units: of “{self.absent_word}”, which "
                f"is not named here, its own {self.units} leave {percent(self.absent)}"
            )
        return f"{said}. What such units take is no evidence of sight."

    @property
    def interval(self) -> str | None:
        """Say the difference from several other photos, and how far it depends on which."""
        found = self.against
        if found is None:
            return None
        low, middle, high = (
            f"{100 * value:+.0f}".replace("-", "−")
            for value in (found.low, found.difference, found.high)
        )
        return (
            f"Own minus other, over {len(found.others)} other photos: {middle} points, "
            f"95 % interval over those photos {low} to {high}, too narrow where they are few."
        )

    @property
    def others(self) -> str:
        """Name the other photo's units, briefly."""
        return f"{self.other_noun} photo's" if self.other_noun else "another photo's"

    def bar(self, fraction: float) -> str:
        """Return a bar's length as a share of the longest, at least of the whole probability."""
        return f"{fraction / max(1.0, self.own, self.other):.3f}"


def claim_of(
    curves: Curves,
    top: int = UNITS,
    compared: tuple[str, str] = ("specific", "other_specific"),
) -> Claim | None:
    """Return the claim at the largest number of units up to `top` that both curves reach.

    None where there is nothing to compare with.

    Args:
        compared: which curves: this photo's, and another photo's.
    """
    own, other = (getattr(curves, name) for name in compared)
    against = curves.own_minus_others if compared[0] == "specific" else None
    absent = getattr(curves, f"absent_{compared[0]}") or [None] * len(curves.grid)
    found = None
    for units, left, left_other, beside in zip(curves.grid, own, other, absent, strict=False):
        if 0 < units <= top and left is not None and left_other is not None:
            found = Claim(
                curves.view,
                units,
                left,
                left_other,
                curves.other_noun,
                against,
                beside,
                curves.absent_word,
            )
    return found


def curve_table(curves: Curves) -> list[tuple[str, list[str]]]:
    """Return the curves as rows of text: name, then a percentage for each number of units."""
    return [
        (name, [percent(value) for value in values])
        for key, name in CURVES.items()
        for values in [getattr(curves, key)]
        if any(value is not None for value in values)
    ]
