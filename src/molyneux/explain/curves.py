"""Ablation curves: what is left of a word's probability, set by set, along a grid of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.explain.document import Curve, Curves
from molyneux.neurons.ablation import Positions, ablate_units
from molyneux.neurons.rankings import Ranked, complete_prefix
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import CONTROLS, DEFAULT, QUOTED, UNIT_SETS, WITH_SINKS
from molyneux.vision.layout import ImagePrompt

SETS = (DEFAULT, *WITH_SINKS, "contrast", "change", *CONTROLS)
"""Those that have a curve each; of random units, the mean over draws has one."""
BY_GRADIENT = tuple(key for key in SETS if UNIT_SETS[key].own and UNIT_SETS[key].by_gradient)
"""Those that stand beside the same ranking of an absent word's own units."""


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
    model: LanguageModel,
    prompt: ImagePrompt,
    token_id: int,
    ranked: Ranked,
    grid: Sequence[int],
    *,
    seeds: int,
    positions: Positions,
    unrelated: Sequence[int],
    absent: Absent | None = None,
) -> Curves:
    """Return the curves of all sets: the word's probability over its intact probability.

    `prompt` ends where the word is predicted. `random` is the mean over seeds, `random_std`
    their standard deviation. The `unrelated_*` curves are geometric means, over unrelated
    nouns, of the same ratio: the ratios of rare words spread too widely for a plain mean. A
    value is None where a set has fewer units than the grid asks, or there are no such nouns.
    What the other photo is called, and several other photos, are for the caller to add.

    Args:
        absent: a word whose own units are switched off beside: what they leave of *it*.
    """
    n = max(grid)
    lists = {name: ranked.units(name, n) for name in SETS}
    lists |= {f"random {draw}": ranked.units("random", n, draw) for draw in range(seeds)}
    if absent is not None:
        lists |= {f"absent_{name}": absent.ranked.units(name, n) for name in BY_GRADIENT}
    sets: dict[tuple[str, int], list[Unit]] = {}
    for name, ranking in lists.items():
        for size in grid:
            chosen = complete_prefix(ranking, size) if ranking is not None else None
            if chosen is not None:
                sets[name, size] = chosen
    tried = list(dict.fromkeys(tuple(units) for units in [[], *sets.values()]))
    found = dict(zip(tried, ablate_units(model, prompt, tried, positions=positions), strict=True))
    clean = found[()]

    def left(name: str, size: int, tokens: Sequence[int]) -> float | None:
        if (name, size) not in sets or not tokens:
            return None
        change = found[tuple(sets[name, size])] - clean
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
        curves |= {f"absent_{name}": curve(f"absent_{name}", asked) for name in BY_GRADIENT}
    return Curves(
        positions=positions,
        view=ranked.view,
        grid=tuple(grid),
        **curves,
        random=over_seeds(word, np.mean),
        random_std=over_seeds(word, np.std),
        unrelated_random=over_seeds(unrelated, np.mean),
        seeds=seeds,
    )
