"""RelP: activation x relevance, by the rules of layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, Target, attribute_products
from molyneux.neurons.checks import as_model
from molyneux.neurons.relevance import relevance_rules
from molyneux.neurons.scorers.choices import record_of
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class RelP:
    """Activation times what relevance propagation hands back to it: arXiv 2508.21258, section 3.

    The rules are those of `molyneux.neurons.relevance`. That paper patches one input into another;
    here a unit is silenced, so that the difference of its activations is its activation. Biases
    take their part of the relevance, so that scores need not sum to the logit.
    """

    name: ClassVar[str] = "relp"
    cost: ClassVar[Cost] = Cost(forward=1, backward=1)

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
        """Return the relevance of every unit, in logits; the context is not looked at.

        Raises:
            AdapterError: a block of the model has no rule (`relevance_rules`).
        """
        return attribute_products(
            model,
            prompt,
            targets,
            lambda at: at.value * at.gradient,
            of="logit",
            within=relevance_rules(as_model(model)),
            patches=patches,
            sinks=sinks,
        )

    def record(self) -> dict[str, Any]:
        """Return the name."""
        return record_of(self)
