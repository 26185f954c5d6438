"""Conductance: integrated gradients with all layers along one line, that of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, LayerPass, Target, attribute_products
from molyneux.neurons.checks import as_model, as_prompt
from molyneux.neurons.scorers.baselines import with_patches
from molyneux.neurons.scorers.choices import record_of, require_choice, require_number
from molyneux.neurons.scorers.scorer import Context, Cost, Need, blank_in
from molyneux.vision.layout import ImagePrompt

Begin = Literal["blank", "zero"]


@dataclass(frozen=True)
class Conductance:
    """What of the photo's integrated gradients flows through each unit.

    Dhamdhere et al. 2018 (arXiv 1805.12233): the integral of dy/da times da along the
    straight line of what stands at the patches. Here it is the sum over steps of the mean gradient
    of both ends times the change of the unit (the trapezoid rule). What flows past a layer's units,
    along the residual stream, is in none of that layer's.

    Attributes:
        baseline: what stands at the patches at first: a `blank` photo's, or `zero`, from which a
            norm makes the whole of the photo in the first step.
        steps: of the line.
    """

    name: ClassVar[str] = "conductance"

    baseline: Begin = "blank"
    steps: int = 8

    def __post_init__(self) -> None:
        require_choice(self.name, "baseline", self.baseline, get_args(Begin))
        require_number(self.name, "steps", self.steps, 1, 1024)

    @property
    def cost(self) -> Cost:
        """A pass, and one back, at each end of every step."""
        return Cost(forward=self.steps + 1, backward=self.steps + 1)

    @property
    def needs(self) -> tuple[Need, ...]:
        """A blank photo, where the line begins at one."""
        return ("blank",) if self.baseline == "blank" else ()

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
        """Return the scores, in logits.

        Raises:
            UsageError: the context has no blank photo for the baseline.
        """
        prompt = as_prompt(as_model(model), prompt)
        end = prompt.embeddings[:, prompt.patches].detach()
        begin = (
            blank_in(context, prompt, self.name)
            if self.baseline == "blank"
            else torch.zeros_like(end)
        )
        before: dict[int, tuple[Tensor, Tensor]] = {}
        total: dict[int, Tensor] = {}

        def flown(at: LayerPass) -> Tensor:
            if at.layer in before:
                activation, gradient = before[at.layer]
                flow = (at.activation - activation) * (at.gradient + gradient) / 2
                total[at.layer] = total.get(at.layer, 0.0) + flow
            before[at.layer] = at.activation, at.gradient
            return total.get(at.layer, torch.zeros_like(at.gradient))

        for step in range(self.steps):
            there = begin + (end - begin) * (step / self.steps)
            attribute_products(model, with_patches(prompt, there), targets, flown, of="logit")
        return attribute_products(
            model, prompt, targets, flown, of="logit", patches=patches, sinks=sinks
        )

    def record(self) -> dict[str, Any]:
        """Return name, `baseline` and `steps`."""
        return record_of(self)
