"""Activation x Jacobian lens: what a unit writes at a patch, as later layers carry it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.attribution import Attribution, LayerPass, Target, attribute_products
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.scorers.choices import record_of
from molyneux.neurons.scorers.direct_logit import written_logits
from molyneux.neurons.scorers.scorer import Context, Cost, Need
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class ThroughJacobianLens:
    """Activation times W J_l d: the word's row of the head, the lens, and the unit's output row.

    J_l is a mean over photos (`molyneux.neurons.jacobian`), so that no backward pass is made. The
    lens was measured at patches. Elsewhere, where the word is predicted too, the head reads the
    unit itself (`activation-direct-logit`); at patches of the last layer there is nothing to read.
    """

    name: ClassVar[str] = "activation-jacobian-lens"
    cost: ClassVar[Cost] = Cost(forward=1)
    needs: ClassVar[tuple[Need, ...]] = ("lens",)

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
        """Return the scores.

        Raises:
            UsageError: the context has no Jacobian lens.
        """
        lens, head = context.lens, HeadLens(model)
        if not isinstance(lens, JacobianLens):
            raise UsageError(
                f"{self.name} reads units through a Jacobian lens, and this model has none; "
                "measure one with `molyneux lens build` and give it with --lens"
            )

        def product(at: LayerPass) -> Tensor:
            direct = written_logits(model, at.layer, targets, head)
            given = torch.einsum("pu,ut->tpu", at.activation, direct)
            if not lens.reads(at.layer):
                given[:, prompt.patches] = 0
                return given
            carried = written_logits(model, at.layer, targets, lens)
            there = at.activation[prompt.patches]
            given[:, prompt.patches] = torch.einsum("pu,ut->tpu", there, carried)
            return given

        return attribute_products(model, prompt, targets, product, patches=patches, sinks=sinks)

    def record(self) -> dict[str, Any]:
        """Return the name."""
        return record_of(self)
