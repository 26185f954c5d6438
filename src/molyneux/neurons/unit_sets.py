"""The one table of a photo's rankings and of the sets they are compared with.

Everything that ranks, switches off, lists or names sets of units reads it: explain, study, report,
docs. A new one is a new row: it is computed in `molyneux.neurons.rankings`, from what a row is
handed (`Ranked`). Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from molyneux.neurons.rankings import Ranked
    from molyneux.neurons.unit import Unit

Need = Literal["reference", "first_nouns", "other"]


@dataclass(frozen=True)
class UnitSet:
    """A ranking of a photo's own units for a word, or a control of one.

    Attributes:
        name: as in documents and tables.
        title: as people read it beside curves.
        label: as people read it in tables of rankings.
        needs: what it cannot be made without: the `reference` table, a table of `first_nouns` for
            a word that stands where they do, the list of an `other` photo.
        score: of a photo's own: what it sorts by, descending; -inf for units that it leaves out.
        units: of a control: the first n, None where a layer had no unit left; of one that is
            drawn, the draw's number.
        control_of: the photo's own set that a control stands beside.
        without_sinks: whether sink patches and sink units are left out.
        drawn: whether it is drawn at random, several times.
    """

    name: str
    title: str
    label: str
    needs: tuple[Need, ...] = ()
    score: Callable[[Ranked], Float[Tensor, "layers d_mlp"]] | None = None
    units: Callable[[Ranked, int, int], Sequence[Unit | None]] | None = None
    control_of: str | None = None
    without_sinks: bool = False
    drawn: bool = False

    @property
    def own(self) -> bool:
        """Whether it is a photo's own, and no control."""
        return self.control_of is None


def _top(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.scores.score[at.target].cpu()


def _specific(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.table.specific(_top(at), at.view)


def _interpretable(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    words = at.table.interpretable_as(at.scores.sign[at.target].cpu())
    return _top(at).masked_fill(~words, -float("inf"))


def _no_sinks(
    score: Callable[[Ranked], Float[Tensor, "layers d_mlp"]],
) -> Callable[[Ranked], Float[Tensor, "layers d_mlp"]]:
    def without(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
        return score(at.without_sinks).masked_fill(at.table.sinks(at.view), -float("inf"))

    return without


_ROWS = (
    UnitSet("top", "raw top, this photo's", "top", score=_top),
    UnitSet("specific", "specific, this photo's", "specific", ("first_nouns",), score=_specific),
    UnitSet(
        "interpretable",
        "raw top, 7 of 10 words",
        "top, 7 of 10 words",
        ("reference",),
        score=_interpretable,
    ),
    UnitSet(
        "top_no_sinks",
        "raw top, no sinks",
        "top, no sinks",
        ("reference",),
        score=_no_sinks(_top),
        without_sinks=True,
    ),
    UnitSet(
        "specific_no_sinks",
        "specific, no sinks",
        "specific, no sinks",
        ("first_nouns",),
        score=_no_sinks(_specific),
        without_sinks=True,
    ),
    UnitSet(
        "other",
        "raw top, another photo's",
        "another photo's top",
        ("reference", "other"),
        units=lambda at, n, _: at.other_photo.units[at.view, "top"][:n],
        control_of="top",
    ),
    UnitSet(
        "other_specific",
        "specific, another photo's",
        "another photo's specific",
        ("first_nouns", "other"),
        units=lambda at, n, _: at.other_photo.units[at.view, "specific"][:n],
        control_of="specific",
    ),
    UnitSet(
        "matched",
        "matched to specific",
        "matched to specific",
        ("first_nouns",),
        units=lambda at, n, _: at.matched(at.first("specific", n), at.first("top", n)),
        control_of="specific",
    ),
    UnitSet(
        "random",
        "random (mean)",
        "random",
        units=lambda at, n, draw: at.drawn(at.first("top", n), draw),
        control_of="top",
        drawn=True,
    ),
)

UNIT_SETS: dict[str, UnitSet] = {row.name: row for row in _ROWS}


def _named(*rows: UnitSet) -> tuple[str, ...]:
    return tuple(row.name for row in rows)


RANKINGS = _named(*(row for row in _ROWS if row.own))
"""A photo's own."""
WITH_SINKS = _named(*(row for row in _ROWS if row.own and not row.without_sinks))
NO_SINKS = _named(*(row for row in _ROWS if row.without_sinks))
CONTROLS = _named(*(row for row in _ROWS if not row.own and not row.drawn))
DRAWN = _named(*(row for row in _ROWS if row.drawn))
LISTED: tuple[Literal["top"], Literal["specific"]] = ("top", "specific")
"""The rankings that are listed wherever there is room for few; reference tables keep them."""
