"""Integrated gradients of one layer's units, from a baseline to what they are, at some positions.

Sundararajan et al. 2017 (arXiv 1703.01365), equation 1, with a layer's units at those positions as
the input: IG_i = (a_i - b_i) * the mean of dy/da_i along the straight line from b to a. Summed over
units and positions it is y as it is minus y with the layer set to the baseline there, but for the
error of the sum that stands for the integral: Gauss and Legendre's, exact for polynomials of
degree up to 2 steps - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import whole_number
from molyneux.errors import UsageError
from molyneux.hooks import edit
from molyneux.neurons.ablation import batches
from molyneux.neurons.attribution import Target
from molyneux.neurons.checks import as_model, as_prompt, as_targets, require_gradients
from molyneux.neurons.offloading import weights_by_reference
from molyneux.neurons.prefix import Prefix
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True, eq=False)
class LayerIntegral:
    """What one layer's units give each target along the line from a baseline, in logits.

    Attributes:
        values: of every unit at each of the positions.
        difference: what they have to sum to: the target's logit as it is, minus that with the
            layer at the baseline at all of the positions; NaN where that was not asked for.
    """

    values: Float[Tensor, "targets places d_mlp"]
    difference: Float[Tensor, " targets"]

    @property
    def residual(self) -> Float[Tensor, " targets"]:
        """How far the sum is from what it has to be: the error of so many steps."""
        return self.values.sum(dim=(1, 2)) - self.difference


def integrate_layer(
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: Sequence[Target],
    layer: int,
    *,
    positions: Sequence[int],
    baseline: float | Float[Tensor, "*places d_mlp"] = 0.0,
    steps: int = 8,
    prefix: Prefix | None = None,
    complete: bool = True,
) -> LayerIntegral:
    """Return integrated gradients of the targets' logits over one layer's units.

    Points of the line are rows of a batch, with its two ends, and rows are made where the layer
    begins: below it all are the same (not in models whose layers are told how many rows there
    are: ALiBi's; there each row is passed whole).

    Args:
        prompt: one photo's, up to the last target's position.
        positions: where the layer goes along the line; elsewhere it is computed from what is below.
        baseline: where the line begins: a number, one for each unit, or one for each unit at each
            position.
        steps: points of the line.
        prefix: what comes ahead of the one position where all targets are predicted, if that is
            the one integrated at (`read_prefix`): then rows are steps behind it.
        complete: whether both ends of the line are passed too, to know what the values have to
            sum to.

    Raises:
        UsageError: there is no target, layer or position of these, a number of steps that is none,
            or the model was loaded under `torch.inference_mode()`.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt)
    targets = as_targets(model, prompt, targets)
    layer = whole_number("a layer", layer, least=0, below=model.n_layers)
    steps = whole_number("steps", steps, least=1)
    places = [
        whole_number("a position", one, least=0, below=prompt.n_positions) for one in positions
    ]
    if not places:
        raise UsageError("there is no position at which to integrate; give some, as positions=[1]")
    if prefix is not None and {prefix.position} != {*places, *(t.position for t in targets)}:
        raise UsageError(
            f"the prefix ends at position {prefix.position}, which is not the one position that is "
            "integrated and predicts all targets; leave it out"
        )
    require_gradients(model)
    shares, weights = gauss_legendre(steps)
    points = list(zip(shares, weights, strict=True))
    if complete:
        points += [(0.0, 0.0), (1.0, 0.0)]
    total: Tensor | None = None
    ends: list[Tensor] = []
    for part in batches(points, prompt.n_positions):
        share, weight = torch.tensor(part, dtype=torch.float64).T
        given, logits = _along(
            model, prompt, targets, layer, places, baseline, share, weight, prefix
        )
        total = given if total is None else total + given
        ends += [logits[row] for row, at in enumerate(part) if at[1] == 0.0]
    assert total is not None
    require_finite(model, total, *ends)
    unknown = torch.full((len(targets),), torch.nan)
    return LayerIntegral(total, ends[1] - ends[0] if complete else unknown)


def _along(
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: Sequence[Target],
    layer: int,
    places: list[int],
    baseline: float | Tensor,
    share: Float[Tensor, " rows"],
    weight: Float[Tensor, " rows"],
    prefix: Prefix | None,
) -> tuple[Float[Tensor, "targets places d_mlp"], Float[Tensor, "rows targets"]]:
    """Return the weighted sum over some points of the line, and the logits at them."""
    n_rows = len(share)
    enters = prefix is None and not model.layers_are_told_rows
    at = places if prefix is None else [0]  # of a step, the only position
    leaves: list[Tensor] = []
    distance: list[Tensor] = []

    def enter(_: int, stream: Tensor) -> Tensor:
        return stream.detach().repeat(n_rows, *[1] * (stream.dim() - 1))

    def change(_: int, activation: Tensor) -> Tensor:
        of_rows = activation.detach().reshape(n_rows, -1, activation.shape[-1])
        there = of_rows[:, at]
        begin = torch.as_tensor(baseline).to(there).expand_as(there)
        way = there - begin
        leaf = (begin + share.to(there)[:, None, None] * way).requires_grad_()
        leaves.append(leaf)
        distance.append(way[0])
        changed = of_rows.clone()
        changed[:, at] = leaf
        return changed.reshape(activation.shape)

    first = min(target.position for target in targets)
    begun = {layer: model.layer(layer)} if enters else {}
    given = prompt if enters else prompt.repeated(n_rows)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        weights_by_reference(model.model),
        edit(begun, enter),
        edit({layer: model.down_projection(layer)}, change),
    ):
        tokens = [target.token_id for target in targets]
        if prefix is None:
            output = model.read(_detached(given), keep=prompt.n_positions - first)
            behind = output.logits[:, [target.position - first for target in targets], tokens]
        else:
            behind = prefix.read(model, n_rows)[:, tokens]
        logits = _precise(behind)
        objective = (logits * weight.to(logits)[:, None]).sum(dim=0)
        gradient = torch.autograd.grad(
            objective,
            leaves[0],
            grad_outputs=torch.eye(len(tokens), device=objective.device, dtype=objective.dtype),
            is_grads_batched=True,
        )[0]
    place = logits.device
    return (
        (_precise(gradient).sum(dim=1) * _precise(distance[0])).to(place),
        logits.detach(),
    )


def gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Return where between 0 and 1 a function is taken, and with what weights, to integrate it."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()


def _detached(prompt: ImagePrompt) -> ImagePrompt:
    """Return the prompt without a graph, and not of `torch.inference_mode()`."""
    embeddings = prompt.embeddings.detach()
    return replace(
        prompt, embeddings=embeddings.clone() if embeddings.is_inference() else embeddings
    )


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
