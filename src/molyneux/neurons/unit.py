"""A unit's name."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.neurons.unit_names import read_name


class Unit(NamedTuple):
    """One coordinate of the input of a layer's down projection; prints as `L12.u905`.

    Units sort by layer, then unit. A tuple, because a photo's sets hold hundreds of thousands.
    """

    layer: int
    unit: int

    def __str__(self) -> str:
        return f"L{self.layer}.u{self.unit}"


def parse_unit(name: str, n_layers: int, d_mlp: int) -> tuple[Unit, int]:
    """Return the unit a name means, and the sign asked for: `L12.u905-` is its negative direction.

    Raises:
        UsageError: the name does not read as a unit, or the model has no such unit.
    """
    layer, number, sign = read_name(name)
    unit = Unit(layer, number)
    if unit.layer >= n_layers or unit.unit >= d_mlp:
        raise UsageError(
            f"there is no unit {unit}: this model has layers L0 to L{n_layers - 1} "
            f"and units u0 to u{d_mlp - 1}"
        )
    return unit, sign


def unit_mask(units: list[Unit], n_layers: int, d_mlp: int) -> Bool[Tensor, "layers d_mlp"]:
    """Return a table that is True where a unit is in the list."""
    mask = torch.zeros(n_layers, d_mlp, dtype=torch.bool)
    if units:
        mask[[u.layer for u in units], [u.unit for u in units]] = True
    return mask


def top_units(score: Tensor, n: int) -> list[Unit]:
    """Return the `n` units of highest score, descending; those scored -inf never rank.

    Equal scores keep the order of layer, then unit.
    """
    d_mlp, flat = score.shape[1], score.flatten()
    if n <= 0 or not flat.numel():
        return []
    # Only what is not below the n-th highest is put in order: many times faster than all units.
    lowest = flat.topk(min(n, flat.numel()), sorted=False).values.min()
    places = (~(flat < lowest)).nonzero().flatten()
    order = torch.sort(flat[places], descending=True, stable=True)
    chosen, values = places[order.indices[:n]].tolist(), order.values[:n].tolist()
    return [Unit(*divmod(i, d_mlp)) for i, s in zip(chosen, values, strict=True) if s != -torch.inf]
