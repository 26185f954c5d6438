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

Need = Literal["reference", "first_nouns", "other", "totals", "usual", "behind"]
Listed = Literal["total", "specific", "raw", "contrast", "change"]


@dataclass(frozen=True)
class UnitSet:
    """A ranking of a photo's own units for a word, or a control of one.

    Attributes:
        name: as it is asked for, and as documents' lists have it.
        title: as people read it beside curves.
        label: as people read it in tables of rankings.
        key: as curves and studies' tables have it, from when it had another name.
        needs: what it cannot be made without: the `reference` table, a table of `first_nouns` for
            a word that stands where they do, its moments of `totals`, the `usual` activations that
            a table holds, the list of an `other` photo, the totals `behind` partners.
        score: of a photo's own: what it sorts by, descending; -inf for units that it leaves out.
        units: of a control: the first n, None where a layer had no unit left; of one that is
            drawn, the draw's number.
        control_of: the photo's own set that a control stands beside.
        without_sinks: whether sink patches and sink units are left out.
        drawn: whether it is drawn at random, several times.
        by_gradient: whether it is picked by what each unit gives the word: any word, shown or not,
            falls when those units go.
        view: the only one it is of; None for both.
    """

    name: str
    title: str
    label: str
    key: str = ""
    needs: tuple[Need, ...] = ()
    score: Callable[[Ranked], Float[Tensor, "layers d_mlp"]] | None = None
    units: Callable[[Ranked, int, int], Sequence[Unit | None]] | None = None
    control_of: str | None = None
    without_sinks: bool = False
    drawn: bool = False
    by_gradient: bool = True
    view: Literal["patches", "last"] | None = None

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)

    @property
    def own(self) -> bool:
        """Whether it is a photo's own, and no control."""
        return self.control_of is None


def _raw(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.scores.score[at.target].cpu()


def _total(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.scores.total[at.target].cpu()


def _specific(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.table.specific(_raw(at), at.view)


def _specific_total(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    return at.table.specific(_total(at), at.view, of="total")


def _contrast(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    lent = at.lent
    return lent.masked_fill(lent <= 0, -float("inf"))


def _change(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    apart = at.change.abs()
    apart[-1] = -float("inf")  # what it writes at a patch is read by no later position
    return apart


def _interpretable(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
    words = at.table.interpretable_as(at.scores.sign[at.target].cpu())
    return _raw(at).masked_fill(~words, -float("inf"))


def _no_sinks(
    score: Callable[[Ranked], Float[Tensor, "layers d_mlp"]],
) -> Callable[[Ranked], Float[Tensor, "layers d_mlp"]]:
    def without(at: Ranked) -> Float[Tensor, "layers d_mlp"]:
        return score(at.without_sinks).masked_fill(at.table.sinks(at.view), -float("inf"))

    return without


_ROWS = (
    UnitSet("total", "largest total, this photo's", "total", score=_total),
    UnitSet("raw", "raw top, this photo's", "top", "top", score=_raw),
    UnitSet(
        "specific", "specific, this photo's", "specific", needs=("first_nouns",), score=_specific
    ),
    UnitSet(
        "specific_total",
        "specific by total, this photo's",
        "specific by total",
        needs=("totals",),
        score=_specific_total,
    ),
    UnitSet(
        "contrast",
        "contrast: what this photo lends the word",
        "contrast",
        needs=("behind",),
        score=_contrast,
    ),
    UnitSet(
        "change",
        "changed most by this photo, whatever the word",
        "change",
        needs=("usual",),
        score=_change,
        by_gradient=False,
        view="patches",
    ),
    UnitSet(
        "interpretable",
        "raw top, 7 of 10 words",
        "top, 7 of 10 words",
        needs=("reference",),
        score=_interpretable,
    ),
    UnitSet(
        "raw_no_sinks",
        "raw top, no sinks",
        "top, no sinks",
        "top_no_sinks",
        needs=("reference",),
        score=_no_sinks(_raw),
        without_sinks=True,
    ),
    UnitSet(
        "specific_no_sinks",
        "specific, no sinks",
        "specific, no sinks",
        needs=("first_nouns",),
        score=_no_sinks(_specific),
        without_sinks=True,
    ),
    UnitSet(
        "other",
        "raw top, another photo's",
        "another photo's top",
        needs=("reference", "other"),
        units=lambda at, n, _: at.other_photo.units[at.view, "top"][:n],
        control_of="raw",
    ),
    UnitSet(
        "other_specific",
        "specific, another photo's",
        "another photo's specific",
        needs=("first_nouns", "other"),
        units=lambda at, n, _: at.other_photo.units[at.view, "specific"][:n],
        control_of="specific",
    ),
    UnitSet(
        "matched",
        "matched to specific",
        "matched to specific",
        needs=("first_nouns",),
        units=lambda at, n, _: at.matched(at.first("specific", n), at.first("raw", n)),
        control_of="specific",
    ),
    UnitSet(
        "random",
        "random (mean)",
        "random",
        units=lambda at, n, draw: at.drawn(at.first("raw", n), draw),
        control_of="raw",
        drawn=True,
    ),
)

UNIT_SETS: dict[str, UnitSet] = {row.key: row for row in _ROWS} | {row.name: row for row in _ROWS}
"""By name, and by the key that curves and studies' tables have."""

DEFAULT: Listed = "total"
"""What units are ranked by where nothing is said: the first-order effect of silencing each."""
LISTED: tuple[Listed, ...] = ("total", "specific", "raw", "contrast", "change")
"""The rankings that a document lists of every word, by name; the first is the default."""
QUOTED: tuple[Literal["top"], Literal["specific"]] = ("top", "specific")
"""The paper's ranking and its specific form, by key: what studies list and tables keep."""


def _keys(*rows: UnitSet) -> tuple[str, ...]:
    return tuple(row.key for row in rows)


def _own(*names: str) -> tuple[UnitSet, ...]:
    return tuple(row for row in _ROWS if row.name in names)


RANKINGS = _keys(
    *_own("raw", "specific", "interpretable", "raw_no_sinks", "specific_no_sinks"),
)
"""A photo's own that every study measures, by key."""
WITH_SINKS = _keys(*(UNIT_SETS[key] for key in RANKINGS if not UNIT_SETS[key].without_sinks))
NO_SINKS = _keys(*(row for row in _ROWS if row.without_sinks))
CONTROLS = _keys(*(row for row in _ROWS if not row.own and not row.drawn))
DRAWN = _keys(*(row for row in _ROWS if row.drawn))
