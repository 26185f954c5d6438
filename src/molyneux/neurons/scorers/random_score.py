"""A random score: what a ranking that knows nothing reaches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, LayerPass, Target, attribute_products
from molyneux.neurons.checks import as_model, as_prompt
from molyneux.neurons.scorers.choices import record_of, require_number
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class RandomScore:
    """Standard normal numbers, one for each unit at each position: the floor of a comparison.

    Drawn anew for each photo (by the hash of what stands at its patches), word and layer; a photo
    scored again has the same ones.

    Attributes:
        seed: another gives other numbers.
    """

    name: ClassVar[str] = "random"
    cost: ClassVar[Cost] = Cost(forward=1)

    seed: int = 0

    def __post_init__(self) -> None:
        require_number(self.name, "seed", self.seed, 0, 2**31 - 1)

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
        """Return the numbers; the context is not looked at."""
        photo = _digest(as_prompt(as_model(model), prompt))

        def product(at: LayerPass) -> Tensor:
            return torch.stack(
                [self._drawn(photo, target, at).to(at.activation) for target in targets]
            )

        return attribute_products(model, prompt, targets, product, patches=patches, sinks=sinks)

    def _drawn(self, photo: str, target: Target, at: LayerPass) -> Tensor:
        said = f"{self.seed} {photo} {target.token_id} {target.position} {at.layer}"
        number = int.from_bytes(hashlib.sha256(said.encode()).digest()[:7], "big")
        generator = torch.Generator().manual_seed(number)
        return torch.randn(at.activation.shape, generator=generator)

    def record(self) -> dict[str, Any]:
        """Return name and `seed`."""
        return record_of(self)


def _digest(prompt: ImagePrompt) -> str:
    there = prompt.embeddings[:, prompt.patches].detach().float().cpu().contiguous()
    return hashlib.sha256(there.numpy().tobytes()).hexdigest()
