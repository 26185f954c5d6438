"""Single units: what each takes from the word when it alone is silenced, and what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import QUOTED
from molyneux.statistics.correlation import pearson, spearman
from molyneux.studies.finished import Finished, per_photo
from molyneux.studies.results import Cell, ResultTable, over_photos
from molyneux.studies.subject import Subject

SINGLES = 10
"""Units of each ranking that are switched off one at a time."""
OTHERS = 5
"""Other photos among whose lists the controls are shared out."""


RANKINGS = (*QUOTED, "other_specific")
FEW = "fewer than three units that differ"


def single_table(study: Finished) -> ResultTable:
    """Return mean exact effects of single units by ranking, and their agreement with `total`."""
    columns = study.table("e6_units")
    rows: list[dict[str, Cell]] = []
    for ranking in RANKINGS:
        chosen = columns["ranking"] == ranking
        photo, effect, total = (columns[name][chosen] for name in ("photo", "effect", "total"))

        def mean(values: np.ndarray, photo: np.ndarray = photo) -> np.ndarray:
            return per_photo(photo, values, study.n_photos)

        rows.append(
            {
                "ranking": ranking,
                "effect (logits)": over_photos(mean(effect)),
                "total (logits)": over_photos(mean(total)),
                "effect above 0": over_photos(mean(effect > 0)),
                "Pearson": over_photos(agreement(photo, effect, total, study.n_photos), why=FEW),
                "Spearman": over_photos(
                    agreement(photo, effect, total, study.n_photos, spearman), why=FEW
                ),
            }
        )
    return ResultTable(
        "E6.single",
        "One unit at a time",
        (
            "ranking",
            "effect (logits)",
            "total (logits)",
            "effect above 0",
            "Pearson",
            "Spearman",
        ),
        tuple(rows),
        (
            "The first ten units of each ranking in the patch view, each silenced by itself at "
            "the patches. `effect`: the target's logit that is lost, exactly; `total`: its "
            "first-order prediction. Means within a photo, then over photos.",
            f"`other_specific`: the units at the same places of {OTHERS} other photos' lists in "
            "turn, tried on this photo's word, so that it hangs on no one draw.",
            "Correlations of effect and total are over the units of one photo, then averaged.",
        ),
    )


def agreement(
    photo: np.ndarray,
    effect: np.ndarray,
    total: np.ndarray,
    n_photos: int,
    correlation: Callable[[np.ndarray, np.ndarray], float] = pearson,
) -> Float[np.ndarray, " photos"]:
    """Return each photo's correlation; NaN for fewer than three units, or all of one value."""
    found = np.full(n_photos, np.nan)
    for number in np.unique(photo):
        a, b = effect[photo == number], total[photo == number]
        if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0:
            found[number] = correlation(a, b)
    return found


def single_units(subject: Subject) -> list[tuple[str, int, Unit]]:
    """Return the units that are switched off one at a time: ranking, place in it, unit."""
    lists: dict[str, list[Unit]] = {
        name: subject.ranking("patches", name, SINGLES) for name in QUOTED
    }
    others = [other.units["patches", "specific"] for other in subject.others[:OTHERS]]
    if others:
        lists["other_specific"] = in_turn(others, SINGLES)
    return [
        (name, place, unit) for name, units in lists.items() for place, unit in enumerate(units)
    ]


def in_turn(lists: Sequence[Sequence[Unit]], n: int) -> list[Unit]:
    """Return n units: at each place the one that the lists, in turn, have there.

    Where that one is taken already, the next of the same list that is not, from its end on to its
    beginning.
    """
    found: list[Unit] = []
    for place in range(n):
        units = lists[place % len(lists)]
        free = (unit for unit in [*units[place:], *units[:place]] if unit not in found)
        found += list(free)[:1]
    return found
