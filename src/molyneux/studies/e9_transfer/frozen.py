"""The frozen sets of each concept, with the controls that stand in for them, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.neurons.unit import Unit, unit_mask
from molyneux.studies.e8_concepts.chosen import Found, Signed

HUNDRED = "total 100"
SETS = {HUNDRED: ("total", 100), "total": ("total", None), "change": ("change", None)} | {
    "shift": ("shift", None)
}
"""Which set of the run each is, and how many of its first units; None for all."""


@dataclass(frozen=True, eq=False)
class SignedUnits:
    """Units in an order, with the sign in which each is read."""

    layers: Int[Tensor, " units"]
    units: Int[Tensor, " units"]
    signs: Float[Tensor, " units"]
    mask: Bool[Tensor, "layers d_mlp"]

    @classmethod
    def of(cls, signed: Sequence[Signed], shape: tuple[int, int]) -> SignedUnits:
        """Return units of a model's shape, layers x units."""
        layers, units, signs = ([row[k] for row in signed] for k in range(3))
        mask = unit_mask([Unit(*row[:2]) for row in signed], *shape)
        return cls(torch.tensor(layers), torch.tensor(units), torch.tensor(signs).float(), mask)

    def mean_of(self, values: Float[Tensor, "layers d_mlp"]) -> float:
        """Return the mean over the units of value x sign."""
        return float((values[self.layers, self.units] * self.signs).mean())

    @property
    def listed(self) -> list[Unit]:
        """The units."""
        places = zip(self.layers.tolist(), self.units.tolist(), strict=True)
        return [Unit(*place) for place in places]


@dataclass(frozen=True, eq=False)
class FrozenSet:
    """One set of one concept.

    Attributes:
        own: the units that were found.
        matched: of the same layers and as strong, which were not found; in the place of each.
        stands_in: for each of `matched`, the place in `own` of the unit that it stands for.
        fake: the units of `own`, each with a sign drawn at random.
    """

    own: SignedUnits
    matched: SignedUnits
    stands_in: Int[Tensor, " matched"]
    fake: SignedUnits

    def by_stand_ins(
        self,
        there: Float[Tensor, "layers patches d_mlp"],
        new: Float[Tensor, "layers patches d_mlp"],
    ) -> Float[Tensor, "layers patches d_mlp"]:
        """Return values that give each stand-in the change of the unit that it stands for.

        The rows of as strong units are then what writes the changes (`neurons.fakes`).
        """
        found = there.clone()
        own = (self.own.layers[self.stands_in], slice(None), self.own.units[self.stands_in])
        place = (self.matched.layers, slice(None), self.matched.units)
        found[place] = there[place] + new[own] - there[own]
        return found


def freeze(
    found: Found, concepts: Sequence[str], shape: tuple[int, int], seed: int
) -> Mapping[tuple[str, str], FrozenSet]:
    """Return the sets of concepts, by concept and set; random signs by the seed."""
    generator = torch.Generator().manual_seed(seed)
    frozen = {}
    for concept in concepts:
        for name, (source, n) in SETS.items():
            own = dict(sorted(found.units[concept, source, "found"].items())[:n])
            place = {rank: k for k, rank in enumerate(own)}
            # Where a layer has no unit left, a unit goes without.
            others = found.units.get((concept, source, "matched"), {})
            matched = {rank: one for rank, one in sorted(others.items()) if rank in own}
            coins = (2 * torch.randint(2, (len(own),), generator=generator) - 1).tolist()
            drawn = [(*one[:2], coin) for one, coin in zip(own.values(), coins, strict=True)]
            frozen[concept, name] = FrozenSet(
                SignedUnits.of(list(own.values()), shape),
                SignedUnits.of(list(matched.values()), shape),
                torch.tensor([place[rank] for rank in matched], dtype=torch.int64),
                SignedUnits.of(drawn, shape),
            )
    return frozen
