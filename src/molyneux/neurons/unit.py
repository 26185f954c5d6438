"""A unit's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.checks import is_a, shown, whole_number
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
    _require(unit, n_layers, d_mlp)
    return unit, sign


def require_units(units: Sequence[Unit], n_layers: int, d_mlp: int) -> tuple[list[int], list[int]]:
    """Return the layers and the numbers of units, all of which the model has.

    Raises:
        UsageError: one is none of the model's: a negative number does not count from the end.
    """
    if not len(units):
        return [], []
    if set(map(type, units)) == {Unit}:
        layers, numbers = ([unit.layer for unit in units], [unit.unit for unit in units])
        if set(map(type, layers)) == set(map(type, numbers)) == {int} and (
            min(layers) >= 0
            and max(layers) < n_layers
            and min(numbers) >= 0
            and max(numbers) < d_mlp
        ):
            return layers, numbers
    # One by one, which takes ten times as long, only where something is wrong or written otherwise.
    _require_each(units, n_layers, d_mlp)
    return [int(layer) for layer, _ in units], [int(number) for _, number in units]


def _require_each(units: Sequence[Unit], n_layers: int, d_mlp: int) -> None:
    for unit in units:
        if not isinstance(unit, tuple) or len(unit) != 2:
            raise UsageError(f"{shown(unit)} is no unit; give one, as in Unit(12, 905)")
        for part in unit:
            whole_number("a unit's layer and number", part)
        _require(unit, n_layers, d_mlp)


def _require(unit: tuple[int, int], n_layers: int, d_mlp: int) -> None:
    layer, number = unit
    if not (0 <= layer < n_layers and 0 <= number < d_mlp):
        raise UsageError(
            f"there is no unit L{layer}.u{number}: this model has layers L0 to L{n_layers - 1} "
            f"and units u0 to u{d_mlp - 1}"
        )


def unit_mask(units: Sequence[Unit], n_layers: int, d_mlp: int) -> Bool[Tensor, "layers d_mlp"]:
    """Return a table that is True where a unit is in the list.

    Raises:
        UsageError: the model has no such unit.
    """
    mask = torch.zeros(n_layers, d_mlp, dtype=torch.bool)
    if units:
        mask[require_units(units, n_layers, d_mlp)] = True
    return mask


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def top_units(score: Float[Tensor, "layers d_mlp"], n: int) -> list[Unit]:
    """Return the `n` units of highest score, descending; those scored -inf never rank.

    Equal scores keep the order of layer, then unit.

    Args:
        score: of one target, as in `attribution.patches.score[0]`.

    Raises:
        UsageError: the scores are of several targets, or some are not numbers.
    """
    n = whole_number("n", n, least=0)
    score = is_a("score", score, Tensor, "one target's, as in attribution.patches.score[0]")
    if score.dim() != 2 or not (score.is_floating_point() or score.dtype in _WHOLE):
        raise UsageError(
            f"score takes one target's layers x units, not {shown(score)}; "
            "give attribution.patches.score[0]"
        )
    d_mlp, flat = score.shape[1], score.flatten()
    if not n or not flat.numel():
        return []
    if bool(flat.isnan().any()):
        raise UsageError("score holds NaN, which no order has a place for; give numbers")
    # Only what is not below the n-th highest is put in order: many times faster than all units.
    lowest = flat.topk(min(n, flat.numel()), sorted=False).values.min()
    places = (~(flat < lowest)).nonzero().flatten()
    order = torch.sort(flat[places], descending=True, stable=True)
    chosen, values = places[order.indices[:n]].tolist(), order.values[:n].tolist()
    return [Unit(*divmod(i, d_mlp)) for i, s in zip(chosen, values, strict=True) if s != -torch.inf]
