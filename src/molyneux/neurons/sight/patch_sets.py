"""Sets of units at the patches that are chosen without any word, and their controls.

A unit of the last layer that writes at a patch is read by no later position: these sets are over
all other layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.checks import number, one_of, shown, whole_number
from molyneux.errors import UsageError
from molyneux.neurons.rankings import matched_units
from molyneux.neurons.unit import Unit, top_units, unit_mask

SetName = Literal["change", "random", "matched", "all", "other_values", "scrambled"]
SETS: tuple[SetName, ...] = get_args(SetName)
DRAWS = 3


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Units that are given other activations at the patches.

    Attributes:
        name: how they were chosen; `other_values` and `scrambled` are the units of `change`, and
            other values are written to them.
        fraction: of the units of `layers`.
        layers: that it was chosen from; None for all that have a path to the output.
        mask: which they are.
        draw: its number, of what is drawn at random: a permutation's too.
    """

    name: SetName
    fraction: float
    layers: tuple[int, ...] | None
    mask: Bool[Tensor, "layers d_mlp"]
    draw: int = 0

    def __post_init__(self) -> None:
        one_of("a set", self.name, SETS)

    @property
    def n_units(self) -> int:
        """How many units it has."""
        return int(self.mask.sum())


def layers_with_path(n_layers: int, layers: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return layers whose units at patches reach the output: all but the last, or those given.

    Raises:
        UsageError: there is none, one of them is the last layer, or the model has no such layer.
    """
    given = range(n_layers - 1) if layers is None else layers
    chosen = tuple(sorted({whole_number("a layer", layer, least=0) for layer in given}))
    if not chosen or chosen[-1] >= n_layers - 1:
        raise UsageError(
            f"units at the patches reach the output from layers 0 to {n_layers - 2} of "
            f"{n_layers}, not from {list(chosen)}; give others"
        )
    return chosen


def change_set(
    z: Float[Tensor, "layers d_mlp"], fraction: float, layers: Sequence[int] | None = None
) -> PatchSet:
    """Return the units of largest |z|, a fraction of those of the layers; ties by unit.

    Raises:
        UsageError: the fraction is not above 0 and up to 1, or the layers have no path.
    """
    if not 0 < number("fraction", fraction, "a share of the units, as 0.05") <= 1:
        raise UsageError(f"fraction is above 0 and up to 1, not {shown(fraction)}; give 0.05")
    chosen = layers_with_path(len(z), layers)
    apart = torch.full_like(z, -torch.inf)
    apart[list(chosen)] = z[list(chosen)].abs()
    n = max(1, round(fraction * len(chosen) * z.shape[1]))
    mask = unit_mask(top_units(apart, n), *z.shape)
    return PatchSet("change", fraction, None if layers is None else chosen, mask)


def random_set(of: PatchSet, draw: int, *, seed: int = 0) -> PatchSet:
    """Return as many units of each layer as a set has, drawn at random.

    None is of the set, as far as the layer has others: a set may hold more than half of a layer.
    """
    generator = torch.Generator().manual_seed(1000 * seed + draw)
    mask = torch.zeros_like(of.mask)
    for layer, own in enumerate(of.mask):
        n = int(own.sum())
        if n:
            order = torch.randperm(len(own), generator=generator)
            free_first = order[torch.sort(own[order].int(), stable=True).indices]
            mask[layer, free_first[:n]] = True
    return PatchSet("random", of.fraction, of.layers, mask, draw)


def matched_set(of: PatchSet, strength: Float[Tensor, "layers d_mlp"]) -> PatchSet:
    """Return, for each unit of a set, the free unit of its layer nearest in strength.

    None is of the set, and each is taken once; where a layer has none left, the set is smaller.

    Args:
        strength: mean |activation| at the patches of reference photos x the norm of what the
            unit writes (`row_norms`).
    """
    units = [Unit(*place) for place in of.mask.nonzero().tolist()]
    found = matched_units(units, strength, set(units))
    mask = unit_mask([unit for unit in found if unit is not None], *of.mask.shape)
    return PatchSet("matched", of.fraction, of.layers, mask)


def all_units(n_layers: int, d_mlp: int, layers: Sequence[int] | None = None) -> PatchSet:
    """Return all units of the layers, those of the last left out.

    Raises:
        UsageError: the layers have no path.
    """
    chosen = layers_with_path(n_layers, layers)
    mask = torch.zeros(n_layers, d_mlp, dtype=torch.bool)
    mask[list(chosen)] = True
    return PatchSet("all", 1.0, None if layers is None else chosen, mask)
