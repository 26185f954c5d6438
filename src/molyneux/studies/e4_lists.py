"""The lists of units whose receptive fields E4 compares with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.neurons.attribution import UnitScores, attribute_units
from molyneux.neurons.unit import Unit, top_units
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
    without = _without_sink_patches(subject, targets)
    found = []
    for target in targets:
        lists: list[UnitList] = []
        plain = subject.attribution.patches
        for ranking in RANKINGS:
            if ranking.endswith("_no_sinks"):
                scores, row = without[target]
            else:
                scores, row = plain, target
            sign = scores.sign[row].cpu()
            units = top_units(_score(subject, ranking, scores.score[row].cpu(), sign), FIRST)
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


def _score(
    subject: Subject,
    ranking: str,
    score: Float[Tensor, "layers d_mlp"],
    sign: Int[Tensor, "layers d_mlp"],
) -> Tensor:
    """Return what a ranking sorts by, -inf for units that it leaves out."""
    reference = subject.facts.reference
    kind = ranking.removesuffix("_no_sinks")
    if kind == "specific":
        score = reference.specific(score, "patches")
    elif kind == "interpretable":
        score = torch.where(reference.interpretable_as(sign), score, -torch.inf)
    if ranking == kind:
        return score
    return score.masked_fill(reference.sinks("patches"), -torch.inf)


def _without_sink_patches(
    subject: Subject, targets: Sequence[int]
) -> dict[int, tuple[UnitScores, int]]:
    """Return, by target, the scores over all patches but the sinks, and the target's row."""
    if not bool(subject.sink_patches.any()):
        return {target: (subject.attribution.patches, target) for target in targets}
    found: dict[int, tuple[UnitScores, int]] = {}
    if 0 in targets:
        found[0] = (subject.scores("patches", without_sinks=True), 0)
    asked = [target for target in targets if target > 0]
    if asked:
        # The study's own scores without sinks are those of the caption's noun alone.
        wanted = [subject.asked[target - 1][1] for target in asked]
        kept = ~subject.sink_patches
        scores = attribute_units(subject.model, subject.until, wanted, patches=kept).patches
        found |= {target: (scores, row) for row, target in enumerate(asked)}
    return found


def _signed(units: Sequence[Unit | None], sign: Int[Tensor, "layers d_mlp"]) -> list[Signed]:
    return [(unit, int(sign[unit.layer, unit.unit])) for unit in units if unit is not None]
