"""Units to compare a set with: random ones, and ones matched by how strongly they act."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.neurons.unit import Unit


def random_units(
    units: Sequence[Unit], d_mlp: int, excluded: set[Unit], seed: int
) -> list[Unit | None]:
    """Return a random unit of the same layer for each unit, in its order.

    Without replacement and never an excluded unit, so that the first n of the result are a
    control for the first n units. None where a layer has no unit left.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Unit | None] = [None] * len(units)
    for layer in sorted({unit.layer for unit in units}):
        places = [i for i, unit in enumerate(units) if unit.layer == layer]
        pool = [
            Unit(layer, k)
            for k in torch.randperm(d_mlp, generator=generator).tolist()
            if Unit(layer, k) not in excluded
        ]
        for place, unit in zip(places, pool, strict=False):
            drawn[place] = unit
    return drawn


def matched_units(
    units: Sequence[Unit], strength: Float[Tensor, "layers d_mlp"], excluded: set[Unit]
) -> list[Unit | None]:
    """Return, for each unit, the free unit of its layer nearest in strength, in its order.

    Strength is |activation| x the norm of the output row: how much a unit writes. Without
    replacement; None where a layer has no unit left.
    """
    free = {
        layer: {
            k: float(s)
            for k, s in enumerate(strength[layer].tolist())
            if Unit(layer, k) not in excluded
        }
        for layer in {unit.layer for unit in units}
    }
    matched: list[Unit | None] = []
    for unit in units:
        pool = free[unit.layer]
        own = float(strength[unit.layer, unit.unit])
        if not pool:
            matched.append(None)
            continue
        nearest = min(pool, key=lambda k: (abs(pool[k] - own), k))
        del pool[nearest]
        matched.append(Unit(unit.layer, nearest))
    return matched


def complete_prefix(units: Sequence[Unit | None], n: int) -> list[Unit] | None:
    """Return the first n units, or None where fewer than n are there."""
    prefix = list(units[:n])
    if len(prefix) < n or any(unit is None for unit in prefix):
        return None
    return [unit for unit in prefix if unit is not None]
