"""Activation alone: what a unit writes with, whatever the word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, Target, attribute_products
from molyneux.neurons.scorers.choices import record_of
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class Activation:
    """The coefficient of each unit's output row: the same for every word."""

    name: ClassVar[str] = "activation"
    cost: ClassVar[Cost] = Cost(forward=1)

    def score(
        self,
        model: LanguageModel,
        prompt: ImagePrompt,
        targets: Sequence[Target],
        *,
        context: Context,
        patches: Bool[Tensor, " patches"] | None = None,
        sinks: Bool[Tensor, " patches"] | None = None,
    ) -> Attribution:
        """Return the activations as scores; the context is not looked at."""
        return attribute_products(
            model,
            prompt,
            targets,
            lambda at: at.activation.expand(len(targets), -1, -1),
            patches=patches,
            sinks=sinks,
        )

    def record(self) -> dict[str, Any]:
        """Return the name."""
        return record_of(self)
