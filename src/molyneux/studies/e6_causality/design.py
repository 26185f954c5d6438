"""Which sets of units are switched off for a photo: the design behind E6's rows.

Every row is a forward pass, so the design says where the whole grid is worth it. Silencing a set
at all positions, as the patch view ranks it, takes the whole grid; silencing it at the patches
alone, and the last view, take a few steps of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from molyneux.neurons.ablation import Positions
from molyneux.neurons.attribution import VIEWS, View
from molyneux.neurons.rankings import Units, complete_prefix
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import (
    CONTROLS,
    DEFAULT,
    DRAWN,
    NO_SINKS,
    QUOTED,
    RANKINGS,
    WITH_SINKS,
)
from molyneux.studies.subject import Subject

INTERVENTIONS = ("zero", "patch_mean", "blank")


HEADLINE = 100
"""Units at which sets are compared, beside the grid's last step."""

SETS = (*RANKINGS, DEFAULT, *CONTROLS, *DRAWN)
"""The sets, as tables name them: a photo's own, then their controls."""
_OWN = (*WITH_SINKS, DEFAULT)
_PATCHES_ALONE = tuple(name for name in _OWN if name not in QUOTED)


@dataclass(frozen=True)
class Silenced:
    """One set of units to be switched off, and what it stands for.

    Attributes:
        seed: number of the random control, None for other sets.
        step: how many units.
    """

    view: View
    positions: Positions
    set: str
    seed: int | None
    step: int
    units: tuple[Unit, ...]


def few_steps(grid: Sequence[int]) -> list[int]:
    """Return the steps of a grid taken where the whole grid is not: 10, 50, 100, the last two."""
    return [step for step in grid if step in {10, 50, HEADLINE, *grid[-2:]} and step > 0]


def headline_steps(grid: Sequence[int], *more: int) -> list[int]:
    """Return 100 and the grid's last step, and those of `more` that the grid has."""
    return [step for step in grid if step in {HEADLINE, grid[-1], *more} and step > 0]


def listed_units(subject: Subject, view: View, n: int) -> dict[tuple[str, int | None], Units]:
    """Return the units of every set in descending order, by name and seed of the set.

    Those of another photo are missing where there is no reference photo with another noun.
    """
    ranked = subject.ranked(view, purpose="E6")
    lists: dict[tuple[str, int | None], Units | None] = {}
    for name in SETS:
        if name in DRAWN:
            for seed in range(subject.settings.seeds):
                lists[name, seed] = ranked.units(name, n, seed)
        elif view == "patches" or name not in _PATCHES_ALONE:
            lists[name, None] = ranked.units(name, n)
    return {key: units for key, units in lists.items() if units is not None}


def design(subject: Subject, grid: Sequence[int]) -> list[Silenced]:
    """Return every set to be switched off for a photo's target, in a fixed order.

    A set with fewer units than a step asks is left out at that step.
    """
    steps = [step for step in grid if step > 0]
    chosen: list[Silenced] = []
    for view in VIEWS:
        lists = listed_units(subject, view, max(steps))
        for positions, name, sizes in _plan(view, steps):
            for (listed, seed), units in lists.items():
                if listed != name:
                    continue
                for step in sizes:
                    prefix = complete_prefix(units, step)
                    if prefix is not None:
                        row = Silenced(view, positions, name, seed, step, tuple(prefix))
                        chosen.append(row)
    return chosen


def _plan(view: View, grid: list[int]) -> Iterator[tuple[Positions, str, list[int]]]:
    """Yield how a set is silenced: positions, name, steps."""
    everywhere: Positions = "all"
    if view == "last":
        for name in (*QUOTED, *CONTROLS):
            yield everywhere, name, headline_steps(grid, 10, 50)
        for name in (*NO_SINKS, *DRAWN):
            yield everywhere, name, headline_steps(grid)
        return
    for name in (*_OWN, *CONTROLS, *DRAWN):
        yield everywhere, name, grid
    for name in NO_SINKS:
        yield everywhere, name, headline_steps(grid, 50)
    for name in (*_OWN, *CONTROLS):
        yield "patches", name, few_steps(grid)
    for name in (*NO_SINKS, *DRAWN):
        yield "patches", name, headline_steps(grid, 50)
