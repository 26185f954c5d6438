"""Gradient x activation: the paper's score, and the default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import (
    Attribution,
    Objective,
    Site,
    Target,
    Totals,
    attribute_totals,
    attribute_units,
)
from molyneux.neurons.scorers.choices import require_choice
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class GradientActivation:
    """Activation times the gradient of the target: arXiv 2308.01544, section 2.1.

    Attributes:
        of: the target's logit, or its log-probability (nats).
        site: the coefficient of the output row, or the paper's pre-activation.
    """

    name: ClassVar[str] = "gradient-activation"
    cost: ClassVar[Cost] = Cost(forward=1, backward=1)

    of: Objective = "logit"
    site: Site = "activation"

    def __post_init__(self) -> None:
        require_choice(self.name, "of", self.of, get_args(Objective))
        require_choice(self.name, "site", self.site, get_args(Site))

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
        """Return the scores (`attribute_units`); the context is not looked at."""
        return attribute_units(
            model, prompt, targets, of=self.of, site=self.site, patches=patches, sinks=sinks
        )

    def totals(
        self, model: LanguageModel, prompts: ImagePrompt, targets: Sequence[Target]
    ) -> Totals:
        """Return the totals of several photos at once (`attribute_totals`)."""
        return attribute_totals(model, prompts, targets, of=self.of, site=self.site)

    def record(self) -> dict[str, Any]:
        """Return name, `of` and `site`."""
        return {"name": self.name, "of": self.of, "site": self.site}
