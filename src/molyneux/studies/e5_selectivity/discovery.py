"""E5, first pass: the units found on photos of a class, and the sets chosen from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from molyneux.neurons.attribution import VIEWS
from molyneux.neurons.unit_sets import NO_SINKS, QUOTED, UNIT_SETS
from molyneux.studies.experiment import Rows
from molyneux.studies.finished import Columns
from molyneux.studies.settings import draw_seed
from molyneux.studies.subject import Subject

FOUND_BY = (*QUOTED, *NO_SINKS)
PER_CLASS = 20

DISCOVERY_TABLES = {
    "e5_discovery": pa.schema(
        [
            ("view", pa.string()),
            ("ranking", pa.string()),
            ("rank", pa.int32()),
            ("layer", pa.int32()),
            ("unit", pa.int32()),
            ("sign", pa.int32()),
            ("score", pa.float64()),
        ]
    )
}
"""The interpretable units among the first `settings.units` of a photo's rankings: `rank` counts
all units from 1, `score` is gradient x activation in logits, whatever the ranking sorts by."""

SELECTED_TABLES = {
    "e5_selected": pa.schema(
        [
            ("view", pa.string()),
            ("ranking", pa.string()),
            ("label", pa.string()),
            ("role", pa.string()),
            ("layer", pa.int32()),
            ("unit", pa.int32()),
            ("sign", pa.int32()),
            ("count", pa.int32()),
            ("mean_rank", pa.float64()),
        ]
    )
}
"""One row per unit of a set; belongs to the study, not to a photo."""

Direction = tuple[int, int, int]
"""Layer, unit and the sign in which it writes."""


@dataclass(frozen=True)
class SelectedUnit:
    """A unit in the set of one class, or the control that stands in for it.

    Attributes:
        label: the class.
        role: `found`, or `control`: a random interpretable unit of the same layer, which stands
            in for the found one in every set that one is in.
        sign: the direction it writes in, -1 or 1.
        count: discovery photos of the class with the found unit in their ranking.
        mean_rank: of the found unit in those photos, from 1.
    """

    view: str
    ranking: str
    label: str
    role: str
    layer: int
    unit: int
    sign: int
    count: int
    mean_rank: float

    @property
    def direction(self) -> Direction:
        """What is measured: a unit found with both signs writes two different things."""
        return self.layer, self.unit, self.sign


def discover(subject: Subject) -> Rows:
    """Return a photo's interpretable units in every ranking and view; none without a noun."""
    rows: list[dict[str, object]] = []
    if subject.word is None:
        return {"e5_discovery": rows}
    for view in VIEWS:
        for ranking in FOUND_BY:
            scores = subject.scores(view, without_sinks=UNIT_SETS[ranking].without_sinks)
            sign, score = scores.sign[0].cpu(), scores.score[0].cpu()
            interpretable = subject.facts.reference.interpretable_as(sign)
            units = subject.ranking(view, ranking, subject.settings.units)
            for rank, unit in enumerate(units, start=1):
                place = (unit.layer, unit.unit)
                if interpretable[place]:
                    rows.append(
                        {
                            "view": view,
                            "ranking": ranking,
                            "rank": rank,
                            "layer": unit.layer,
                            "unit": unit.unit,
                            "sign": -1 if sign[place] < 0 else 1,
                            "score": float(score[place]),
                        }
                    )
    return {"e5_discovery": rows}


def select_units(
    discovery: Columns,
    labels: Sequence[str],
    interpretable: Bool[np.ndarray, "2 layers d_mlp"],
    *,
    seed: int,
    per_class: int = PER_CLASS,
) -> list[SelectedUnit]:
    """Return each class's set in every view and ranking, and a control for each of its units.

    A set holds the units found in most discovery photos of the class; of equal counts the one of
    better mean rank, then the earlier layer and unit. The sign is that of most of those photos,
    positive if as many. Every distinct direction of a view and ranking has one control of its
    layer, without replacement and never a unit of these sets; where a layer has none left, it
    goes without.

    Args:
        discovery: the table `e5_discovery`, its column `photo` being a row of `labels`.
        interpretable: whether the tokens a unit writes are words, for signs -1 and +1.
    """
    selected: list[SelectedUnit] = []
    own = np.asarray(labels, dtype=object)[discovery["photo"]]
    for view in VIEWS:
        for ranking in FOUND_BY:
            here = (discovery["view"] == view) & (discovery["ranking"] == ranking)
            found: list[SelectedUnit] = []
            for label in sorted(set(labels)):
                rows = np.flatnonzero(here & (own == label))
                units = _most_found(discovery, rows, per_class)
                found += [SelectedUnit(view, ranking, label, "found", *unit) for unit in units]
            selected += found
            stands_in = _controls(found, interpretable, draw_seed(seed, f"{view}/{ranking}", "E5"))
            for unit in found:
                if unit.direction in stands_in:
                    layer, index, sign = stands_in[unit.direction]
                    kept = (unit.count, unit.mean_rank)
                    selected.append(
                        SelectedUnit(
                            view, ranking, unit.label, "control", layer, index, sign, *kept
                        )
                    )
    return selected


def _most_found(
    discovery: Columns, rows: np.ndarray, n: int
) -> list[tuple[int, int, int, int, float]]:
    """Return (layer, unit, sign, count, mean rank) of the units in most of the rows."""
    seen: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row in rows:
        unit = (int(discovery["layer"][row]), int(discovery["unit"][row]))
        seen.setdefault(unit, []).append((int(discovery["rank"][row]), int(discovery["sign"][row])))
    units = []
    for (layer, index), places in seen.items():
        mean_rank = sum(rank for rank, _ in places) / len(places)
        sign = 1 if sum(sign for _, sign in places) >= 0 else -1
        units.append((layer, index, sign, len(places), mean_rank))
    return sorted(units, key=lambda unit: (-unit[3], unit[4], unit[:2]))[:n]


def _controls(
    found: Sequence[SelectedUnit], interpretable: Bool[np.ndarray, "2 layers d_mlp"], seed: int
) -> dict[Direction, Direction]:
    rng = np.random.default_rng(seed)
    taken = {(unit.layer, unit.unit) for unit in found}
    directions = sorted({unit.direction for unit in found})
    stands_in: dict[Direction, Direction] = {}
    for layer in sorted({layer for layer, _, _ in directions}):
        words = interpretable[:, layer]
        pool = [int(k) for k in np.flatnonzero(words.any(axis=0)) if (layer, int(k)) not in taken]
        free = [pool[place] for place in rng.permutation(len(pool))]
        coin = rng.integers(2, size=len(free))
        wanted = [direction for direction in directions if direction[0] == layer]
        for direction, index, toss in zip(wanted, free, coin, strict=False):
            positive = bool(toss) if words[:, index].all() else bool(words[1, index])
            stands_in[direction] = (layer, index, 1 if positive else -1)
    return stands_in


def distinct_directions(selected: Iterable[SelectedUnit]) -> list[Direction]:
    """Return every direction of all sets once, by layer and unit: the order of measured values."""
    return sorted({unit.direction for unit in selected})


def selected_rows(selected: Iterable[SelectedUnit]) -> Rows:
    """Return the sets as rows of `e5_selected`."""
    return {"e5_selected": [asdict(unit) for unit in selected]}
