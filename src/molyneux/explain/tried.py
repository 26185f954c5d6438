"""Sets of units that are switched off ahead of one word, each of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.ablation import Positions, ablate_units
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True, eq=False)
class Tried:
    """What was read with sets of units at zero: curves and claims ask for the same ones.

    Attributes:
        prompt: one photo's, which ends where the word is predicted.
        positions: where units are set to zero.
    """

    model: LanguageModel
    prompt: ImagePrompt
    positions: Positions
    _found: dict[tuple[Unit, ...], Float[Tensor, " d_vocab"]] = field(default_factory=dict)

    def log_probabilities(self, sets: Sequence[Sequence[Unit]]) -> Float[Tensor, "sets d_vocab"]:
        """Return the log-probabilities (nats) of the next token with each set at zero."""
        asked = [tuple(units) for units in sets]
        new = [units for units in dict.fromkeys(asked) if units not in self._found]
        if new:
            read = ablate_units(self.model, self.prompt, new, positions=self.positions)
            self._found.update(zip(new, read, strict=True))
        return torch.stack([self._found[units] for units in asked])
