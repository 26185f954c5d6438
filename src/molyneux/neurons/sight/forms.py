"""Which sets are measured: the short form, and the full one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor

from molyneux.checks import one_of
from molyneux.neurons.sight.patch_sets import (
    DRAWS,
    PatchSet,
    all_units,
    change_set,
    layers_with_path,
    matched_set,
    random_set,
)

Form = Literal["short", "full"]
FRACTIONS = (0.01, 0.05, 0.2)
FRACTION = 0.05
"""Of the units: what is measured where there is time for one."""
PARTS = 3


def sets_of(
    form: Form,
    z: Float[Tensor, "layers d_mlp"],
    strength: Callable[[], Float[Tensor, "layers d_mlp"]],
    *,
    seed: int = 0,
) -> list[PatchSet]:
    """Return the sets of a form, random ones with each of their draws.

    `short`: `change` and `random` at 5 % of the units. `full`: these at 1, 5 and 20 %, each with
    `matched`; `all`, and the controls of the edit at 5 %; `change` and `random` of each third of
    the layers; and `change` of each layer.

    Args:
        z: of the photo (`change_scores`).
        strength: what `matched_set` takes; only asked for where it is needed.

    Raises:
        UsageError: there is no such form.
    """
    one_of("sight", form, get_args(Form))
    if form == "short":
        return list(_with_random(change_set(z, FRACTION), seed))
    found = []
    for fraction in FRACTIONS:
        change = change_set(z, fraction)
        found += [*_with_random(change, seed), matched_set(change, strength())]
    of_five = change_set(z, FRACTION)
    found += [
        all_units(*z.shape),
        replace(of_five, name="other_values"),
        replace(of_five, name="scrambled"),
    ]
    layers = layers_with_path(len(z))
    parts = parts_of(layers)
    for part in parts:
        found += _with_random(change_set(z, FRACTION, part), seed)
    # Of so few layers that they are their own parts, each is there already.
    alone = [layer for layer in layers if [layer] not in parts]
    return found + [change_set(z, FRACTION, [layer]) for layer in alone]


def _with_random(change: PatchSet, seed: int) -> Iterator[PatchSet]:
    yield change
    for draw in range(DRAWS):
        yield random_set(change, draw, seed=seed)


def parts_of(layers: Sequence[int]) -> list[list[int]]:
    """Return the layers in three parts as equal as can be; the layers themselves if so few."""
    parts = np.array_split(np.array(layers), min(PARTS, len(layers)))
    return [part.tolist() for part in parts]
