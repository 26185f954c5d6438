"""GradDrop: gradients that cancel are taken apart by leaving out one layer at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.errors import AdapterError, UsageError
from molyneux.hooks import capture
from molyneux.neurons.attribution import Attribution, Target, attribute_products
from molyneux.neurons.checks import as_model, as_prompt, as_targets, require_gradients
from molyneux.neurons.offloading import weights_by_reference
from molyneux.neurons.scorers.choices import record_of, require_choice
from molyneux.neurons.scorers.scorer import Context, Cost
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class GradDrop:
    """The mean over layers of |activation x gradient| without what flows through that layer.

    Kramár et al. 2024 (arXiv 2403.00745), GradDrop of AtP*: for each layer l the gradient is
    taken as if what l adds to the residual stream, at all positions, were constant; the score of a
    unit at a position is 1 / (L - 1) times the sum over l of the absolute products, of which that
    of its own layer is 0. So an effect that a later layer undoes is not lost. That paper patches
    one input into another; here a unit is silenced, so that the difference of its activations is
    its activation.

    Attributes:
        signed: whether the products themselves are averaged, which says which way a unit works
            and lets layers cancel one another; the paper's are absolute.
    """

    name: ClassVar[str] = "grad-drop"
    cost: ClassVar[Cost] = Cost(forward=2, backward=1, backward_each_layer=0.5)

    signed: bool = False

    def __post_init__(self) -> None:
        require_choice(self.name, "signed", self.signed, (True, False))

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
        """Return the scores, in logits; the context is not looked at.

        Raises:
            AdapterError: the residual stream passes norms, so that no layer only adds to it.
            UsageError: the model has one layer.
        """
        dropped = gradients_without_layers(model, prompt, targets, absolute=not self.signed)
        return attribute_products(
            model,
            prompt,
            targets,
            lambda at: (at.activation if self.signed else at.activation.abs()) * dropped[at.layer],
            patches=patches,
            sinks=sinks,
        )

    def record(self) -> dict[str, Any]:
        """Return name and `signed`."""
        return record_of(self)


def gradients_without_layers(
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: Sequence[Target],
    *,
    absolute: bool = True,
) -> list[Float[Tensor, "targets positions d_mlp"]]:
    """Return, of each layer's units, the mean over other layers of gradients that leave one out.

    With layer l constant, the gradient by the stream ahead of l is that by the stream behind it,
    so that a backward pass goes from there through the layers below alone; units above l have the
    plain gradient.

    Args:
        absolute: whether their absolute values are averaged.

    Raises:
        AdapterError: the residual stream passes norms, or the model overflows in its dtype.
        UsageError: the model has one layer, or was loaded under `torch.inference_mode()`; there is
            no target, or more than one photo.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt)
    targets = as_targets(model, prompt, targets)
    if model.family.stream_norms:
        raise AdapterError(
            f"in {model.family.name} the residual stream passes norms, so that no layer only adds "
            "to it and none can be left out of a gradient; take another scorer"
        )
    if model.n_layers < 2:
        raise UsageError("the model has one layer, so that none can be left out; take another")
    require_gradients(model)
    layers, first = range(model.n_layers), min(target.position for target in targets)
    size = torch.abs if absolute else torch.clone
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        capture({layer: model.layer(layer) for layer in layers}, at="output") as streams,
        capture({layer: model.down_projection(layer) for layer in layers}) as units,
        weights_by_reference(model.model),
    ):
        embeddings = prompt.embeddings.detach().clone().requires_grad_()
        output = model.read(replace(prompt, embeddings=embeddings), keep=prompt.n_positions - first)
        rows = [target.position - first for target in targets]
        logits = output.logits[0, rows, [target.token_id for target in targets]]
        directions = torch.eye(len(targets), device=logits.device, dtype=logits.dtype)
        behind = torch.autograd.grad(
            logits,
            [*(units[n] for n in layers), *(streams[n] for n in layers)],
            grad_outputs=directions,
            is_grads_batched=True,
            retain_graph=True,
        )
        total = [layer * size(behind[layer]) for layer in layers]  # of those left out below
        for left_out in layers[1:]:
            found = torch.autograd.grad(
                streams[left_out - 1],
                [units[n] for n in range(left_out)],
                grad_outputs=behind[len(layers) + left_out],
                is_grads_batched=True,
                retain_graph=True,
            )
            for layer, gradient in enumerate(found):
                total[layer] += size(gradient)
    shape = (len(targets), prompt.n_positions, -1)
    means = [each.detach().float().reshape(shape) / (model.n_layers - 1) for each in total]
    require_finite(model, *means)
    return means
