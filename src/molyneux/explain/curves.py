"""Ablation curves: what is left of a word's probability, set by set, along a grid of sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.ablation import Positions, ablate_units
from molyneux.neurons.attribution import View
from molyneux.neurons.rankings import Ranking, Rankings, complete_prefix
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt

SETS = ("top", "specific", "interpretable", "other", "other_specific", "matched")


def ablation_curves(
    model: LanguageModel,
    prompt: ImagePrompt,
    token_id: int,
    rankings: Rankings,
    grid: Sequence[int],
    *,
    view: View,
    positions: Positions,
    unrelated: Sequence[int],
) -> dict[str, Any]:
    """Return the curves of all sets: the word's probability over its intact probability.

    `prompt` ends where the word is predicted. `random` is the mean over seeds, `random_std`
    their standard deviation. The `unrelated_*` curves are geometric means, over unrelated
    nouns, of the same ratio: the ratios of rare words spread too widely for a plain mean. A
    value is None where a set has fewer units than the grid asks, or there are no such nouns.
    """
    lists: dict[str, Ranking | None] = {name: getattr(rankings, name) for name in SETS}
    lists |= {f"random {i}": ranking for i, ranking in enumerate(rankings.random)}
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

    def over_seeds(tokens: Sequence[int], size: int) -> list[float]:
        values = [left(f"random {i}", size, tokens) for i in range(len(rankings.random))]
        return [value for value in values if value is not None]

    curves: dict[str, Any] = {"positions": positions, "view": view, "grid": list(grid)}
    for name in SETS:
        curves[name] = [left(name, size, [token_id]) for size in grid]
    seeds = [over_seeds([token_id], size) for size in grid]
    curves["random"] = [float(np.mean(values)) if values else None for values in seeds]
    curves["random_std"] = [float(np.std(values)) if values else None for values in seeds]
    for name in ("top", "specific"):
        curves[f"unrelated_{name}"] = [left(name, size, unrelated) for size in grid]
    seeds = [over_seeds(unrelated, size) for size in grid]
    curves["unrelated_random"] = [float(np.mean(values)) if values else None for values in seeds]
    curves["seeds"] = len(rankings.random)
    return curves
