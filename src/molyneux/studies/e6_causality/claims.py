"""What E6's tables are asked."""

from __future__ import annotations

from molyneux.studies.e6_causality.design import HEADLINE
from molyneux.studies.results import Cell
from molyneux.studies.verdicts import At, Claim

_LEFT, _APART = "probability left, mean", "probability left"
_WHERE = {"view": "patches", "silenced": "all"}


def _claim(text: str, own: str, control: str, paper: str | None = None, **units: int) -> Claim:
    """Return that less of the word is left with a set off than with a control off."""
    row: dict[str, Cell] = {**_WHERE, **units}
    return Claim(
        text,
        At("E6.word", _LEFT, {**row, "set": own}),
        At("E6.word", _LEFT, {**row, "set": control}),
        At("E6.differences", _APART, {**row, "own": own, "control": control}),
        -1,
        paper,
    )


CLAIMS = (
    _claim(
        "switching off the 1.4 % of units that its score ranks highest takes more of the word than "
        "as many random ones do (share of its probability left)",
        "top",
        "random",
        "20 % left; random: largely unaffected",
    ),
    _claim(
        "another photo's 1.4 % take less of it",
        "top",
        "other",
    ),
    _claim(
        f"{HEADLINE} specific units take more of it than another photo's {HEADLINE}",
        "specific",
        "other_specific",
        units=HEADLINE,
    ),
)
