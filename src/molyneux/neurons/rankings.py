"""The units to switch off for one word in one view, and the units to compare them with.

Controls are random units, units matched by how strongly they act, and another photo's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, View
from molyneux.neurons.reference import OtherPhoto, Reference
from molyneux.neurons.unit import Unit, top_units

Ranking = Sequence[Unit | None]


@dataclass(frozen=True)
class Rankings:
    """Units in the order in which they are switched off; None where there is no reference table.

    Attributes:
        top: by score, the paper's order.
        specific: by how far the score exceeds what it is on reference photos.
        interpretable: `top` without the units whose tokens are not words.
        other: another photo's `top`.
        other_specific: another photo's `specific`.
        matched: for each specific unit, one of its layer nearest in |activation| x norm of what
            it writes, in neither this photo's specific list nor its top list.
        random: for each top unit, one of its layer that is never a top unit; one list a seed.
    """

    top: Ranking
    random: Sequence[Ranking]
    specific: Ranking | None = None
    interpretable: Ranking | None = None
    other: Ranking | None = None
    other_specific: Ranking | None = None
    matched: Ranking | None = None


def row_norms(model: LanguageModel) -> Float[Tensor, "layers d_mlp"]:
    """Return the norm of what every unit writes at activation 1.

    That is its output row's, through the scale of a norm after the MLP where there is one.
    """
    found = []
    for layer in range(model.n_layers):  # which may lie on several devices
        rows, scale = model.output_rows(layer).float(), model.write_scale(layer)
        written = rows if scale is None else rows * scale.float().to(rows.device)
        found.append(written.norm(dim=1).cpu())
    return torch.stack(found)


def rank_for(
    model: LanguageModel,
    attribution: Attribution,
    target: int,
    view: View,
    *,
    n: int,
    seeds: int,
    seed: int = 0,
    reference: Reference | None = None,
    other: OtherPhoto | None = None,
) -> Rankings:
    """Return all rankings of up to `n` units for one target."""
    scores = attribution.view(view)
    score, sign = scores.score[target].cpu(), scores.sign[target].cpu()
    top = top_units(score, n)
    random = [
        random_units(top, model.d_mlp, set(top), seed=1000 * seed + number)
        for number in range(seeds)
    ]
    if reference is None:
        return Rankings(top, random)
    specific = top_units(reference.specific(score, view), n)
    words = torch.where(reference.interpretable_as(sign), score, -torch.inf)
    strength = attribution.magnitude(view, target).cpu() * row_norms(model)
    return Rankings(
        top=top,
        random=random,
        specific=specific,
        interpretable=top_units(words, n),
        other=other.units[view, "top"] if other else None,
        other_specific=other.units[view, "specific"] if other else None,
        matched=matched_units(specific, strength, set(specific) | set(top)),
    )


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
