"""Ablation curves: what is left of a word's probability, set by set, along a grid of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from molyneux.explain.claims import UNITS
from molyneux.explain.document import Curve, Curves
from molyneux.explain.tried import Tried
from molyneux.neurons.rankings import Ranked, complete_prefix
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import CONTROLS, DEFAULT, QUOTED, UNIT_SETS, WITH_SINKS

SETS = (DEFAULT, *WITH_SINKS, "contrast", "change", *CONTROLS)
"""Those that have a curve each; of random units, the mean over draws has one."""
BY_GRADIENT = tuple(key for key in SETS if UNIT_SETS[key].own and UNIT_SETS[key].by_gradient)
"""Those that stand beside the same ranking of an absent word's own units."""


FEW = ("contrast", "change")
"""Those that are tried where sets are compared alone: at what claims are made of, and the last."""


def _beside(name: str) -> str:
    return f"absent_{name}"


def sizes_of(name: str, grid: Sequence[int]) -> list[int]:
    """Return at which of the grid's numbers of units a set is tried; each costs a pass.

    All of them; of an absent word's own units, what claims are made of, the largest number up to
    100; of `FEW`, that and the last. And 0 wherever the grid has it.
    """
    claimed = max((size for size in grid if size <= UNITS), default=grid[0])
    few = {_beside(each): {0, claimed} for each in BY_GRADIENT}
    few |= {each: {0, claimed, grid[-1]} for each in FEW}
    return [size for size in grid if size in few.get(name, grid)]


@dataclass(frozen=True, eq=False)
class Absent:
    """A word that nobody named in a photo, at the position of one that is explained.

    Attributes:
        ranked: its own units, ranked by its own scores.
    """

    word: str
    token_id: int
    ranked: Ranked


def ablation_curves(
    tried: Tried,
    token_id: int,
    ranked: Ranked,
    grid: Sequence[int],
    *,
    seeds: int,
    unrelated: Sequence[int],
    absent: Absent | None = None,
) -> Curves:
    """Return the curves of all sets: the word's probability over its intact probability.

    Sets and controls are those of `ranked`; the `random` curve is the mean over its draws, with
    their standard deviation. The `unrelated_*` curves are geometric means, over unrelated
    nouns, of the same ratio: the ratios of rare words spread too widely for a plain mean. A
    value is None where a set has fewer units than the grid asks, or there are no such nouns, and
    where a set is tried at fewer sizes (`sizes_of`). What the other photo is called, and several
    other photos, are for the caller to add.

    Args:
        absent: a word whose own units are switched off beside: what they leave of *it*.
    """
    n = max(grid)
    lists = {name: ranked.units(name, n) for name in SETS}
    lists |= {f"random {draw}": ranked.units("random", n, draw) for draw in range(seeds)}
    if absent is not None:
        lists |= {_beside(name): absent.ranked.units(name, n) for name in BY_GRADIENT}
    sets: dict[tuple[str, int], list[Unit]] = {}
    for name, ranking in lists.items():
        for size in sizes_of(name, grid):
            chosen = complete_prefix(ranking, size) if ranking is not None else None
            if chosen is not None:
                sets[name, size] = chosen
    read = tried.log_probabilities([[], *sets.values()])
    clean, found = read[0], dict(zip(sets, read[1:], strict=True))

    def left(name: str, size: int, tokens: Sequence[int]) -> float | None:
        if (name, size) not in found or not tokens:
            return None
        change = found[name, size] - clean
        return float(torch.exp(change[list(tokens)].mean()))

    def curve(name: str, tokens: Sequence[int]) -> Curve:
        return tuple(left(name, size, tokens) for size in grid)

    def over_seeds(tokens: Sequence[int], value: Callable[[list[float]], np.floating]) -> Curve:
        draws = [curve(f"random {i}", tokens) for i in range(seeds)]
        at_size = ([draw[i] for draw in draws] for i in range(len(grid)))
        there = ([each for each in values if each is not None] for values in at_size)
        return tuple(float(value(values)) if values else None for values in there)

    word = [token_id]
    curves: dict[str, Any] = {name: curve(name, word) for name in SETS}
    curves |= {f"unrelated_{name}": curve(name, unrelated) for name in (DEFAULT, *QUOTED)}
    if absent is not None:
        curves["absent_word"], asked = absent.word, [absent.token_id]
        curves |= {_beside(name): curve(_beside(name), asked) for name in BY_GRADIENT}
    return Curves(
        positions=tried.positions,
        view=ranked.view,
        grid=tuple(grid),
        **curves,
        random=over_seeds(word, np.mean),
        random_std=over_seeds(word, np.std),
        unrelated_random=over_seeds(unrelated, np.mean),
        seeds=seeds,
    )
