"""Photos whose units are switched off where another photo is shown, and which ones serve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from molyneux.neurons.attribution import VIEWS, View
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import QUOTED
from molyneux.words.animals import is_animal

ListOf = tuple[View, str]
"""A view and a ranking."""
LISTS: tuple[ListOf, ...] = tuple((view, ranking) for view in VIEWS for ranking in QUOTED)

MOST_OF_A_NOUN = 3
ANIMALS_IN_100 = 15


class UnitLists(Mapping[ListOf, list[Unit]]):
    """Lists of units by their place among all, made into units when one is asked for.

    A table has hundreds of lists, of which a photo needs a few.
    """

    def __init__(self, places: Mapping[ListOf, Int[Tensor, " units"]], d_mlp: int) -> None:
        self._places, self._d_mlp = places, d_mlp
        self._made: dict[ListOf, list[Unit]] = {}

    def __getitem__(self, key: ListOf) -> list[Unit]:
        """Return a list, in descending order."""
        if key not in self._made:
            places = self._places[key].tolist()
            self._made[key] = [Unit(*divmod(place, self._d_mlp)) for place in places]
        return self._made[key]

    def __iter__(self) -> Iterator[ListOf]:
        """Yield the views and rankings."""
        return iter(self._places)

    def __len__(self) -> int:
        """Number of lists."""
        return len(self._places)

    def __repr__(self) -> str:
        return f"UnitLists({', '.join(f'{view} {ranking}' for view, ranking in self)})"


@dataclass(frozen=True)
class OtherPhoto:
    """A control photo's units, to be switched off where another photo is shown.

    Attributes:
        noun: what it was captioned as, singular.
        units: for each view and ranking (`top`, `specific`), the units in descending order.
        name: the SHA-256 of its file; empty in older tables.
    """

    noun: str
    units: Mapping[ListOf, list[Unit]]
    name: str = ""


@dataclass
class Balance:
    """Which photos serve as controls, one after another, so that no noun and no animals rule them.

    Each first noun at most three times, at most 15 % of them animals; but one animal there may
    always be, or a table of few photos would have no control.

    Attributes:
        most: how many there may be.
    """

    most: int
    nouns: list[str] = field(default_factory=list)

    def takes(self, noun: str) -> bool:
        """Whether a photo that was captioned as this may serve too."""
        if len(self.nouns) >= self.most or Counter(self.nouns)[noun] >= MOST_OF_A_NOUN:
            return False
        return not is_animal(noun) or self.animals < max(1, ANIMALS_IN_100 * self.most // 100)

    def add(self, noun: str) -> None:
        """Take a photo."""
        self.nouns.append(noun)

    @property
    def animals(self) -> int:
        """Number of animals so far."""
        return sum(map(is_animal, self.nouns))

    @property
    def full(self) -> bool:
        """Whether no other photo is taken."""
        return len(self.nouns) >= self.most

    def kept(self) -> list[int]:
        """Return the places of those that stay where fewer came than there may be.

        The last animals go until the rest are at most 15 % animals.
        """
        others = len(self.nouns) - self.animals
        left = max(1, ANIMALS_IN_100 * others // (100 - ANIMALS_IN_100))
        kept = []
        for place, noun in enumerate(self.nouns):
            if is_animal(noun):
                if not left:
                    continue
                left -= 1
            kept.append(place)
        return kept


def packed(others: list[OtherPhoto], d_mlp: int) -> dict[str, Tensor]:
    """Return control photos' lists as few tensors, one after another, and their lengths."""
    tensors = {}
    for view, ranking in LISTS:
        places = [u.layer * d_mlp + u.unit for one in others for u in one.units[view, ranking]]
        tensors[f"others.{view}.{ranking}"] = torch.tensor(places, dtype=torch.int32)
    lengths = [[len(one.units[key]) for key in LISTS] for one in others]
    tensors["others.lengths"] = torch.tensor(lengths, dtype=torch.int32).reshape(-1, len(LISTS))
    return tensors


def unpacked(
    tensors: Mapping[str, Tensor], nouns: list[str], names: list[str], d_mlp: int
) -> list[OtherPhoto]:
    """Return the control photos of a table's tensors, those of tables before this form too.

    Args:
        names: of the same photos; older tables have none.
    """
    if "others.lengths" not in tensors:
        return [_one(tensors, index, noun, d_mlp) for index, noun in enumerate(nouns)]
    lengths = tensors["others.lengths"].T.tolist()
    parts = [
        tensors[f"others.{view}.{ranking}"].split(each)
        for (view, ranking), each in zip(LISTS, lengths, strict=True)
    ]
    return [
        OtherPhoto(noun, UnitLists(dict(zip(LISTS, places, strict=True)), d_mlp), name)
        for noun, name, *places in zip(nouns, names, *parts, strict=True)
    ]


def _one(tensors: Mapping[str, Tensor], index: int, noun: str, d_mlp: int) -> OtherPhoto:
    places = {}
    for view, ranking in LISTS:
        pairs = tensors[f"other.{index}.{view}.{ranking}"]
        places[view, ranking] = pairs[:, 0] * d_mlp + pairs[:, 1]
    return OtherPhoto(noun, UnitLists(places, d_mlp))
