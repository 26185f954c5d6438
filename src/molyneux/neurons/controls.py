"""Units to compare a set with: random ones, and ones matched by how strongly they act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
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
    forbidden = _by_layer(excluded)
    for layer, places in sorted(_places(units).items()):
        order = torch.randperm(d_mlp, generator=generator).numpy()
        pool = order[~np.isin(order, forbidden.get(layer, []))]
        for place, number in zip(places, pool.tolist(), strict=False):
            drawn[place] = Unit(layer, number)
    return drawn


def matched_units(
    units: Sequence[Unit], strength: Float[Tensor, "layers d_mlp"], excluded: set[Unit]
) -> list[Unit | None]:
    """Return, for each unit, the free unit of its layer nearest in strength, in its order.

    Strength is |activation| x the norm of the output row: how much a unit writes. Without
    replacement; None where a layer has no unit left.
    """
    matched: list[Unit | None] = [None] * len(units)
    forbidden = _by_layer(excluded)
    for layer, places in _places(units).items():
        taken = forbidden.get(layer, [])
        own = np.minimum(strength[layer].double().cpu().numpy(), np.finfo(float).max)
        free = own.copy()
        free[taken] = np.inf  # farther from every unit than any that is free
        for place in places[: len(free) - len(taken)]:
            # The first of the nearest is the lowest unit, so that a rerun gives the same control.
            nearest = int(np.abs(free - own[units[place].unit]).argmin())
            free[nearest] = np.inf
            matched[place] = Unit(layer, nearest)
    return matched


def _places(units: Sequence[Unit]) -> dict[int, list[int]]:
    """Return where in a list each layer's units stand."""
    places: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        places.setdefault(unit.layer, []).append(place)
    return places


def _by_layer(units: Iterable[Unit]) -> dict[int, list[int]]:
    """Return the numbers of the units of each layer."""
    numbers: dict[int, list[int]] = {}
    for unit in units:
        numbers.setdefault(unit.layer, []).append(unit.unit)
    return numbers


def complete_prefix(units: Sequence[Unit | None], n: int) -> list[Unit] | None:
    """Return the first n units, or None where fewer than n are there."""
    prefix = list(units[:n])
    if len(prefix) < n or any(unit is None for unit in prefix):
        return None
    return [unit for unit in prefix if unit is not None]
