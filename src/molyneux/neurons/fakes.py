"""Fakes: what no photo and no word chose, given to a verdict that ought to refuse it.

A verdict on what units write ("names the photo's noun", "7 of 10 are words") is worth as much as
it is rarely passed by rows that have nothing to do with the case. Two kinds of them: the row of a
strength-matched unit of the same layer, and a random direction of the same norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import shown, whole_number
from molyneux.errors import UsageError
from molyneux.neurons.checks import as_model, as_signed_units
from molyneux.neurons.decoding import TOKENS, decode_units, extreme_tokens, written
from molyneux.neurons.lens import HeadLens, Lens
from molyneux.neurons.rankings import matched_units
from molyneux.neurons.unit import Unit

Verdict = Callable[[int, Sequence[str]], bool]
"""Whether tokens pass, for the unit at a place of the list."""


@dataclass(frozen=True)
class PassRate:
    """How many of so many pass."""

    passed: int
    n: int

    @property
    def share(self) -> float:
        """The fraction that passes; NaN of none."""
        return self.passed / self.n if self.n else float("nan")


def random_directions(rows: Float[Tensor, "*any width"], seed: int) -> Float[Tensor, "*any width"]:
    """Return a random direction of the norm of each row (of the last axis)."""
    generator = torch.Generator().manual_seed(whole_number("seed", seed))
    drawn = torch.randn(rows.shape, generator=generator).to(rows.device)
    norm = rows.float().norm(dim=-1, keepdim=True)
    fakes: Tensor = torch.nn.functional.normalize(drawn, dim=-1) * norm
    return fakes


def swapped_rows_pass(
    model: LanguageModel,
    units: Sequence[Unit | str],
    signs: Sequence[int] | None,
    strength: Float[Tensor, "layers d_mlp"],
    verdict: Verdict,
    *,
    lens: Lens | None = None,
    top: int = TOKENS,
) -> PassRate:
    """Return how often a verdict passes a strength-matched unit's row in the place of a unit's.

    Args:
        signs: of the units; the row that stands for one is read in its direction.
        strength: of every unit: its mean |activation| x what it writes at 1 (`row_norms`).
        verdict: told the place of the unit that was swapped, and what the other row raises.
        lens: what rows are read through; the head with its final norm if None. Units of layers
            that it does not read take no part, nor do those for which a layer has none left.

    Raises:
        UsageError: there is no such unit, or strength is another model's.
    """
    model = as_model(model)
    signed = as_signed_units(model, units, signs)
    if tuple(strength.shape) != (model.n_layers, model.d_mlp):
        raise UsageError(
            f"strength is of {model.n_layers} layers x {model.d_mlp} units, not {shown(strength)}"
        )
    own = [unit for unit, _ in signed]
    found = matched_units(own, strength, set(own))
    places = [place for place, fake in enumerate(found) if fake is not None]
    fakes = [fake for fake in found if fake is not None]
    decoded = decode_units(model, fakes, [signed[i][1] for i in places], top=top, lens=lens)
    passed = [
        verdict(place, fake.tokens)
        for place, fake in zip(places, decoded, strict=True)
        if fake.tokens
    ]
    return PassRate(sum(passed), len(passed))


@torch.no_grad()
def random_directions_pass(
    model: LanguageModel,
    units: Sequence[Unit | str],
    signs: Sequence[int] | None,
    verdict: Verdict,
    *,
    seed: int,
    lens: Lens | None = None,
    top: int = TOKENS,
) -> PassRate:
    """Return how often a verdict passes a random direction of the norm of what a unit writes.

    It is written by the unit's layer, and read through the same lens.

    Args:
        verdict: told the place of the unit, and what the random direction raises.
        seed: of the draw.
        lens: as for `swapped_rows_pass`.

    Raises:
        UsageError: there is no such unit.
    """
    model = as_model(model)
    lens = HeadLens(model) if lens is None else lens
    passed = []
    for place, (unit, _) in enumerate(as_signed_units(model, units, signs)):
        if not lens.reads(unit.layer):
            continue
        row = written(model, unit.layer, model.output_rows(unit.layer)[unit.unit].float())
        fake = random_directions(row, seed + place)
        tokens, _ = extreme_tokens(model, lens(unit.layer, fake)[None], top)[0]
        passed.append(verdict(place, tokens))
    return PassRate(sum(passed), len(passed))
