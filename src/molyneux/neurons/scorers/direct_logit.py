"""Activation x direct logit: what a unit writes, as the head reads it where it is written.

Pan et al. 2023 (arXiv 2311.07470, MM_Neurons) score a unit for a token by its activation at the
last position times the token's product of unembedding and output row. That is the `last` view here;
Wang et al. 2026 (arXiv 2604.17941, HONES) condition such a reading on attention heads, which is
left out. At patches the same product says what the unit would do if the head read the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, Target, attribute_products
from molyneux.neurons.decoding import written
from molyneux.neurons.lens import HeadLens, Lens
from molyneux.neurons.scorers.choices import record_of, require_choice
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class DirectLogit:
    """Activation times the product of the unit's output row and the word's row of the head.

    Division by the stream's size is left out: it is one number for all units at a position.

    Attributes:
        final_norm: whether the row passes the scale of the final norm first, as units are decoded.
    """

    name: ClassVar[str] = "activation-direct-logit"
    cost: ClassVar[Cost] = Cost(forward=1)

    final_norm: bool = True

    def __post_init__(self) -> None:
        require_choice(self.name, "final_norm", self.final_norm, (True, False))

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
        """Return the scores; the context is not looked at."""
        lens = HeadLens(model, self.final_norm)
        return attribute_products(
            model,
            prompt,
            targets,
            lambda at: torch.einsum(
                "pu,ut->tpu", at.activation, written_logits(model, at.layer, targets, lens)
            ),
            patches=patches,
            sinks=sinks,
        )

    def record(self) -> dict[str, Any]:
        """Return name and `final_norm`."""
        return record_of(self)


@torch.no_grad()
def written_logits(
    model: LanguageModel, layer: int, targets: Sequence[Target], lens: Lens
) -> Float[Tensor, "d_mlp targets"]:
    """Return what each unit of a layer adds to each target's logit at activation 1, by a lens."""
    head = model.unembedding()
    words = head[[target.token_id for target in targets]].float()
    rows = model.output_rows(layer).float().to(head.device)
    return lens(layer, written(model, layer, rows)) @ words.T
