"""The lists of units whose receptive fields E4 compares with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from molyneux.neurons.unit import Unit
from molyneux.studies.subject import RANKINGS, Subject

FIRST = 20
"""Units of each list whose fields are compared with the mask."""

Signed = tuple[Unit, int]
"""A unit and the direction it wrote: -1, 0 or 1."""


@dataclass(frozen=True)
class UnitList:
    """Units to look at, for one target.

    Attributes:
        whose: `own` of the ranking; `random`, one of the same layer for each of those; `other`,
            those of another photo.
    """

    ranking: str
    whose: str
    units: list[Signed]


def unit_lists(subject: Subject, targets: Sequence[int]) -> list[list[UnitList]]:
    """Return the lists for each of a photo's targets; lists without a unit are left out."""
    plain = subject.scores("patches")
    without = subject.scores("patches", without_sinks=True)
    found = []
    for target in targets:
        lists: list[UnitList] = []
        for ranking in RANKINGS:
            sign = (without if ranking.endswith("_no_sinks") else plain).sign[target].cpu()
            units = subject.ranking("patches", ranking, FIRST, target)
            drawn = subject.random(units, f"E4/{target}/{ranking}")
            lists.append(UnitList(ranking, "own", _signed(units, sign)))
            lists.append(UnitList(ranking, "random", _signed(drawn, sign)))
        if subject.others:
            sign = plain.sign[target].cpu()
            for ranking in ("top", "specific"):
                units = subject.others[0].units["patches", ranking][:FIRST]
                lists.append(UnitList(ranking, "other", _signed(units, sign)))
        found.append([entry for entry in lists if entry.units])
    return found


def _signed(units: Sequence[Unit | None], sign: Int[Tensor, "layers d_mlp"]) -> list[Signed]:
    return [(unit, int(sign[unit.layer, unit.unit])) for unit in units if unit is not None]
