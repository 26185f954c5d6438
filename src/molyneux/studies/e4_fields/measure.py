"""E4: do the units that the word comes from look at what it names?

Schwettmann et al. 2023, sections 2.3 and 3.3: a unit's activation over the patch grid, thresholded
at its 95th percentile, against the segmentation of the noun's category, in photos with one object
of it. Beside the paper's random units: another photo's units, an always-centre map, a random map,
and how active all units are at each patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.neurons.receptive_fields import receptive_fields, set_field
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import QUOTED, RANKINGS, UNIT_SETS
from molyneux.studies.e4_fields.maps import (
    MapScores,
    SortedMap,
    centre_heat,
    map_scores,
    random_map,
)
from molyneux.studies.subject import Subject
from molyneux.vision.encoder import PatchGrid

FIRST = 20
"""Units of each list whose fields are compared with the mask."""
Signed = tuple[Unit, int]
"""A unit and the direction it wrote: -1, 0 or 1."""


FIELDS = pa.schema(
    [
        ("kind", pa.string()),
        ("category", pa.string()),
        ("area", pa.float64()),
        ("ranking", pa.string()),
        ("units", pa.string()),
        ("n", pa.int32()),
        ("iou", pa.float64()),
        ("auprc", pa.float64()),
        ("best_iou", pa.float64()),
        ("best_auprc", pa.float64()),
        ("best_unit", pa.string()),
        ("set_iou", pa.float64()),
        ("set_auprc", pa.float64()),
    ]
)
"""A list of units, or a map without any, against one mask.

`units`: `own`; `random` ones of the same layers; `other`, another photo's; `centre`, `random map`
and `activation` are maps, with their scores in `set_*` and an empty `ranking`. `iou` and `auprc`
are means over the units, `best_*` maxima, `set_*` those of the units' mean field.
"""

TARGETS = pa.schema([("kind", pa.string()), ("category", pa.string()), ("outcome", pa.string())])
"""What became of each target: `compared`, or why not."""

COMPARED = "compared"


@dataclass(frozen=True)
class Goal:
    """A word and the mask it names.

    Attributes:
        kind: `caption` for the caption's first noun, `asked` for a word that was asked for.
        target: its number in the photo's attribution.
    """

    kind: str
    category: str
    target: int
    mask: Bool[np.ndarray, "size size"]


def outcome_row(kind: str, category: str | None, outcome: str) -> dict[str, Any]:
    """Return the row that says what became of a word."""
    return {"kind": kind, "category": category, "outcome": outcome}


def find_goals(subject: Subject) -> tuple[list[Goal], list[dict[str, Any]]]:
    """Return the words whose mask the encoder sees, and what became of every word."""
    wanted = [("asked", name, 1 + i) for i, (name, _) in enumerate(subject.asked)]
    outcomes: list[dict[str, Any]] = []
    named, item = subject.category, subject.item
    if not item.has_masks:
        outcomes.append(outcome_row("caption", named, "the photo has no mask"))
    elif named is None:
        outcomes.append(outcome_row("caption", None, "the noun names no annotated category"))
    elif item.instances.get(named) != 1:
        outcomes.append(outcome_row("caption", named, "not a single instance"))
    else:
        wanted.insert(0, ("caption", named, 0))
    goals = []
    for kind, category, target in wanted:
        mask, reason = seen_mask(subject, category)
        outcomes.append(outcome_row(kind, category, reason))
        if mask is not None:
            goals.append(Goal(kind, category, target, mask))
    return goals, outcomes


def seen_mask(subject: Subject, category: str) -> tuple[Bool[np.ndarray, "size size"] | None, str]:
    """Return a category's mask on the encoder's input, or None and why there is none."""
    try:
        mask = subject.item.mask(category)
    except (UsageError, ArithmeticError, LookupError, TypeError, ValueError):
        # What people drew is at fault, not the photo, nor the program: only this word is left out.
        return None, "the mask cannot be drawn"
    if mask is None:
        return None, "the category has no mask"
    prepare = subject.captioner.encoder.preprocessing
    seen = prepare.crop_mask(torch.from_numpy(np.array(mask))).numpy()
    return (seen, COMPARED) if seen.any() else (None, "outside what the encoder sees")


def compare(
    activation: Float[Tensor, "layers patches d_mlp"],
    grid: PatchGrid,
    goals: Sequence[Goal],
    lists: Sequence[Sequence[UnitList]],
) -> list[dict[str, Any]]:
    """Return the rows of a photo's masks: each list's units one by one and together, and the maps.

    Args:
        goals: at least one.
        lists: of each goal.
    """
    # A unit that several lists hold, of one goal or of several, is mapped once.
    keys = sorted({key for own in lists for entry in own for key in entry.units})
    place = {key: row for row, key in enumerate(keys)}
    maps: list[Tensor] = []
    if keys:
        maps += receptive_fields(activation, [u for u, _ in keys], [s for _, s in keys], grid)
    rows_of = [[[place[key] for key in entry.units] for entry in own] for own in lists]
    first_set = []
    for rows in rows_of:
        first_set.append(len(maps))
        maps += [set_field(torch.stack([maps[row] for row in one])) for one in rows]
    maps.append(mean_activation(activation, grid))
    wanted = np.zeros((len(goals), len(maps)), dtype=bool)
    for number, rows in enumerate(rows_of):
        sets = range(first_set[number], first_set[number] + len(rows))
        wanted[number, [*(row for one in rows for row in one), *sets, -1]] = True
    found = map_scores(torch.stack(maps), np.stack([goal.mask for goal in goals]), wanted)
    centre = SortedMap(centre_heat(len(goals[0].mask)))
    table: list[dict[str, Any]] = []
    for goal, own, rows, scores, sets_from in zip(
        goals, lists, rows_of, found, first_set, strict=True
    ):
        head = {"kind": goal.kind, "category": goal.category, "area": float(goal.mask.mean())}
        for number, (entry, one) in enumerate(zip(own, rows, strict=True)):
            table.append(head | _list_row(entry, scores, one, sets_from + number))
        for name, iou, auprc in (
            ("activation", float(scores.iou[-1]), float(scores.auprc[-1])),
            ("centre", *centre.against(goal.mask)),
            ("random map", *random_map(goal.mask.size, int(goal.mask.sum()))),
        ):
            same = {"ranking": "", "units": name, "n": 0}
            table.append({**head, **same, "set_iou": iou, "set_auprc": auprc})
    return table


def _list_row(entry: UnitList, scores: MapScores, rows: list[int], together: int) -> dict[str, Any]:
    """Return a list's columns: `rows` are its units' among the scores, `together` its set's."""
    iou, auprc = scores.iou[rows], scores.auprc[rows]
    return {
        "ranking": entry.ranking,
        "units": entry.whose,
        "n": len(rows),
        "iou": float(iou.mean()),
        "auprc": float(auprc.mean()),
        "best_iou": float(iou.max()),
        "best_auprc": float(auprc.max()),
        "best_unit": str(entry.units[int(iou.argmax())][0]),
        "set_iou": float(scores.iou[together]),
        "set_auprc": float(scores.auprc[together]),
    }


def mean_activation(
    activation: Float[Tensor, "layers patches d_mlp"], grid: PatchGrid
) -> Float[Tensor, "rows columns"]:
    """Return how active all units are at each patch, each as a share of its own largest value."""
    size = activation.abs()
    share = size / size.amax(dim=1, keepdim=True).clamp(min=1e-12)
    return share.mean(dim=(0, 2)).reshape(grid.rows, grid.columns)


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
            sign = (without if UNIT_SETS[ranking].without_sinks else plain).sign[target].cpu()
            units = subject.ranking("patches", ranking, FIRST, target)
            drawn = subject.random(units, f"E4/{target}/{ranking}")
            lists.append(UnitList(ranking, "own", _signed(units, sign)))
            lists.append(UnitList(ranking, "random", _signed(drawn, sign)))
        if subject.others:
            sign = plain.sign[target].cpu()
            for ranking in QUOTED:
                units = subject.others[0].units["patches", ranking][:FIRST]
                lists.append(UnitList(ranking, "other", _signed(units, sign)))
        found.append([entry for entry in lists if entry.units])
    return found


def _signed(units: Sequence[Unit | None], sign: Int[Tensor, "layers d_mlp"]) -> list[Signed]:
    return [(unit, int(sign[unit.layer, unit.unit])) for unit in units if unit is not None]
