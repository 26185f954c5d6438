"""How much each unit at each patch contributes to a word: gradient x activation, and its like.

Schwettmann et al. 2023 (arXiv 2308.01544), section 2.1: g = Z dy/dZ, with Z a unit's
pre-activation at a patch and y the logit of the token about to be emitted. Here the default site
is `a`, the coefficient of the unit's output row (after the gate product in gated blocks); the
paper's site is `site="preactivation"`. Activations and gradients have the model's precision;
products and sums are in float32. Any other method that gives each unit a number at each position
is reduced in the same way (`attribute_products`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import one_of, whole_number
from molyneux.errors import UsageError
from molyneux.hooks import capture
from molyneux.neurons.checks import (
    as_model,
    as_patches,
    as_prompt,
    as_targets,
    require_gradients,
)
from molyneux.neurons.offloading import weights_by_reference
from molyneux.vision.layout import ImagePrompt

View = Literal["patches", "last"]
VIEWS: tuple[View, View] = ("patches", "last")
Site = Literal["activation", "preactivation"]
Objective = Literal["logit", "logprob"]
_Reduced = tuple[Tensor, Tensor, Tensor, Tensor]
"""Score, total, sign and peak patch."""


@dataclass(frozen=True)
class Target:
    """A token to be explained, and the position that predicts it."""

    token_id: int
    position: int

    def __post_init__(self) -> None:
        for name in ("token_id", "position"):
            whole_number(f"a target's {name}", getattr(self, name), least=0)


@dataclass(frozen=True)
class UnitScores:
    """What each unit did for each target, in one view.

    Attributes:
        score: the maximum over patches of gradient x activation, in logits (nats for
            `of="logprob"`); in the last view the product itself.
        total: its sum over patches: the first-order estimate of what silencing the unit there
            takes from the target.
        share: total over the sum of all units' |total|, a fraction.
        sign: of the output row's coefficient at the peak patch, -1, 0 or 1, at either site.
        peak_patch: the patch of the maximum, in raster order; 0 in the last view.
    """

    score: Float[Tensor, "targets layers d_mlp"]
    total: Float[Tensor, "targets layers d_mlp"]
    share: Float[Tensor, "targets layers d_mlp"]
    sign: Int[Tensor, "targets layers d_mlp"]
    peak_patch: Int[Tensor, "targets layers d_mlp"]

    def __repr__(self) -> str:
        targets, layers, d_mlp = self.score.shape
        return f"UnitScores({targets} targets, {layers} layers x {d_mlp} units)"


@dataclass(frozen=True)
class Attribution:
    """The scores of all units for all targets of one photo, in both views.

    Attributes:
        logit: of each target, where it is predicted.
        probability: likewise.
        activation: every unit's coefficient of its output row at every patch, at either site.
        activation_last: of every unit at the position that predicts each target.
        without_sinks: the scores over all patches but sinks, where sinks were named.
        of_patches: for each target, what all units together give it at each patch: the sum over
            units of gradient x activation there, whichever patches count.
    """

    targets: tuple[Target, ...]
    patches: UnitScores
    last: UnitScores
    logit: Float[Tensor, " targets"]
    probability: Float[Tensor, " targets"]
    activation: Float[Tensor, "layers patches d_mlp"]
    activation_last: Float[Tensor, "targets layers d_mlp"]
    without_sinks: UnitScores | None = None
    of_patches: Float[Tensor, "targets patches"] | None = None

    def __repr__(self) -> str:
        layers, patches, d_mlp = self.activation.shape
        targets = ", ".join(
            f"token {target.token_id} at position {target.position} (p={probability:.3g})"
            for target, probability in zip(
                self.targets[:3], self.probability.tolist(), strict=False
            )
        )
        more = ", ..." if len(self.targets) > 3 else ""
        return f"Attribution({targets}{more}; {layers} layers x {d_mlp} units, {patches} patches)"

    def view(self, view: View) -> UnitScores:
        """Return the scores of one view.

        Raises:
            UsageError: there is no such view.
        """
        one_of("view", view, VIEWS)
        return self.patches if view == "patches" else self.last

    def magnitude(self, view: View, target: int) -> Float[Tensor, "layers d_mlp"]:
        """Return how strongly each unit is active where a view looks: the mean |activation|."""
        if view == "patches":
            return torch.stack([values.abs().mean(dim=0) for values in self.activation])
        return self.activation_last[target].abs()


@dataclass(frozen=True)
class Totals:
    """What all units give each target, of several photos.

    Attributes:
        patches: `UnitScores.total` in that view.
        last: likewise.
        log_probability: of each target, where it is predicted, in nats.
    """

    patches: Float[Tensor, "photos targets layers d_mlp"]
    last: Float[Tensor, "photos targets layers d_mlp"]
    log_probability: Float[Tensor, "photos targets"]

    def view(self, view: View) -> Float[Tensor, "photos targets layers d_mlp"]:
        """Return the totals of one view."""
        return self.patches if view == "patches" else self.last


def score_units(
    activation: Float[Tensor, "*targets layers patches d_mlp"],
    gradient: Float[Tensor, "targets layers patches d_mlp"],
    written: Float[Tensor, "*targets layers patches d_mlp"] | None = None,
    kept: Bool[Tensor, " patches"] | None = None,
) -> UnitScores:
    """Return the scores of gradient x activation over patches.

    Args:
        kept: the patches that count; all if None. Peaks keep their number among all patches.
        written: the coefficients of the output rows, whose sign is the direction written, where
            `activation` is taken at another site.
    """
    return with_shares(
        *_over_patches(activation * gradient, activation if written is None else written, kept)
    )


def _over_patches(
    product: Float[Tensor, "*any patches d_mlp"],
    written: Float[Tensor, "*_ patches d_mlp"],
    kept: Bool[Tensor, " patches"] | None = None,
) -> _Reduced:
    """Return what is kept of gradient x activation over patches, the last axis but one."""
    if kept is None:
        score, peak = product.max(dim=-2)
        total = product.sum(dim=-2)
    else:
        left_out = ~kept[:, None].to(product.device)
        score, peak = product.masked_fill(left_out, -torch.inf).max(dim=-2)
        total = product.masked_fill(left_out, 0.0).sum(dim=-2)
    at_peak = written.expand_as(product).gather(-2, peak.unsqueeze(-2)).squeeze(-2)
    return score, total, at_peak.sign().to(torch.int8), peak


def with_shares(score: Tensor, total: Tensor, sign: Tensor, peak: Tensor) -> UnitScores:
    """Return the scores of one view, with what part of all totals each unit's is."""
    size = total.abs().sum(dim=(1, 2), keepdim=True)
    share = torch.where(size > 0, total / size, torch.zeros_like(total))
    return UnitScores(score, total, share, sign, peak)


def _stacked(layers: Sequence[_Reduced]) -> UnitScores:
    """Return the scores of all layers, of which each was reduced by itself."""
    score, total, sign, peak = (torch.stack(parts, dim=1) for parts in zip(*layers, strict=True))
    return with_shares(score, total, sign, peak)


@dataclass(frozen=True)
class LayerPass:
    """One layer's units in the pass over a photo, in float32: what a product is made of.

    Attributes:
        activation: the coefficient of every unit's output row.
        value: what the gradient was taken with respect to: `activation`, or the pre-activation.
        gradients: of each target; None where none were asked for.
    """

    layer: int
    activation: Float[Tensor, "positions d_mlp"]
    value: Float[Tensor, "positions d_mlp"]
    gradients: Float[Tensor, "targets positions d_mlp"] | None

    @property
    def gradient(self) -> Float[Tensor, "targets positions d_mlp"]:
        """Of each target with respect to `value`.

        Raises:
            UsageError: the pass was made without gradients.
        """
        if self.gradients is None:
            raise UsageError(
                "this pass has no gradients; say of what they are taken, as of='logit'"
            )
        return self.gradients


Product = Callable[[LayerPass], Float[Tensor, "targets positions d_mlp"]]
"""What each unit of a layer gives each target at each position: what a method is, in one layer."""


def attribute_units(
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: Sequence[Target],
    *,
    of: Objective = "logit",
    site: Site = "activation",
    patches: Bool[Tensor, " patches"] | None = None,
    sinks: Bool[Tensor, " patches"] | None = None,
) -> Attribution:
    """Return gradient x activation of all units for all targets: one pass, one batched backward.

    Args:
        prompt: one photo's prompt, followed by the caption up to the last target's position.
        of: the target's logit, or its log-probability (nats).
        site: where; `preactivation` is the paper's.
        patches: the patches that count in the patch view; all if None.
        sinks: patches to leave out of `Attribution.without_sinks`: the same scores as another
            attribution with all other patches as `patches`, without another pass.

    Raises:
        UsageError: there is no target, one that the model or prompt does not have, more than one
            photo, or the model was loaded under `torch.inference_mode()`.
        AdapterError: the model overflows in its dtype.
    """
    return attribute_products(
        model,
        prompt,
        targets,
        lambda at: at.value * at.gradient,
        of=of,
        site=site,
        patches=patches,
        sinks=sinks,
    )


def attribute_products(
    model: LanguageModel,
    prompt: ImagePrompt,
    targets: Sequence[Target],
    product: Product,
    *,
    of: Objective | None = None,
    site: Site = "activation",
    within: AbstractContextManager[object] | None = None,
    patches: Bool[Tensor, " patches"] | None = None,
    sinks: Bool[Tensor, " patches"] | None = None,
) -> Attribution:
    """Return the scores of a method that says what each unit gives each target, layer by layer.

    The photo is passed through the model once. Then `product` is called for each layer in order,
    outside that pass, so that it may make passes of its own; what it returns is reduced to score,
    total, sign and peak, and let go, before the next layer's.

    Args:
        product: of one layer, in float32.
        of: what gradients are taken of; None for none, and no backward pass.
        site: what they are taken with respect to.
        within: entered for that pass; hooks that it registers come before those that look.
        patches: as for `attribute_units`, and `sinks`.

    Raises:
        UsageError: there is no target, one that the model or prompt does not have, more than one
            photo, or the model was loaded under `torch.inference_mode()`.
        AdapterError: the model, or the product, overflows in the model's dtype.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt)
    targets = as_targets(model, prompt, targets)
    if of is not None:
        one_of("of", of, get_args(Objective))
    one_of("site", site, get_args(Site))
    patches, sinks = (
        as_patches(name, mask, prompt) for name, mask in (("patches", patches), ("sinks", sinks))
    )
    if of is not None:
        require_gradients(model)
    layers = range(model.n_layers)
    down = capture({layer: model.down_projection(layer) for layer in layers}, at="input")
    before = capture(
        {layer: model.preactivation(layer) for layer in layers if site == "preactivation"},
        at="output",
    )
    with (
        torch.inference_mode(False),  # of the caller: it allows no gradients
        torch.set_grad_enabled(of is not None),
        nullcontext() if within is None else within,
        down as written,
        before as preactivation,
    ):
        embeddings = prompt.embeddings.detach()
        embeddings = embeddings.clone() if embeddings.is_inference() else embeddings
        embeddings.requires_grad_(of is not None)
        first = min(target.position for target in targets)
        with weights_by_reference(model.model):
            output = model.read(
                replace(prompt, embeddings=embeddings), keep=prompt.n_positions - first
            )
        rows = [target.position - first for target in targets]
        tokens = [target.token_id for target in targets]
        logits = output.logits[0, rows].float()
        logprobs = logits.log_softmax(dim=-1)
        at_token = (torch.arange(len(tokens)), torch.tensor(tokens))
        require_finite(model, logits)
        seen = written if site == "activation" else preactivation
        gradients: list[Tensor | None] = [None] * len(layers)
        if of is not None:
            objective = (logits if of == "logit" else logprobs)[at_token]
            gradients = list(
                torch.autograd.grad(
                    objective,
                    [seen[layer] for layer in layers],
                    grad_outputs=torch.eye(len(tokens), device=objective.device),
                    is_grads_batched=True,
                )
            )
    place = logits.device  # layers may be on several
    at_site = model.preactivation_in if site == "preactivation" else _whole
    positions = [target.position for target in targets]
    each = list(range(len(targets)))

    def one(values: Tensor, *ahead: int) -> Tensor:
        flat = values.detach().float().to(place)
        return flat.reshape(*ahead, prompt.n_positions, flat.shape[-1])

    size = (model.n_layers, prompt.patches.stop - prompt.patches.start, model.d_mlp)
    at_patches = torch.empty(size, dtype=torch.float32, device=place)
    at_last, in_patches, in_last, in_others = [], [], [], []
    of_patches = torch.zeros(len(targets), size[1], dtype=torch.float32, device=place)
    for layer in layers:
        # A layer's tensors are let go as soon as they are reduced: together they are the largest
        # thing here, layers x positions x d_mlp, and as much again for each target.
        gradient = gradients.pop(0)
        coefficient = one(written[layer])
        passed = LayerPass(
            layer,
            coefficient,
            coefficient if site == "activation" else one(at_site(seen[layer])),
            None if gradient is None else one(at_site(gradient), len(targets)),
        )
        del gradient
        written.pop(layer)
        preactivation.pop(layer, None)
        at_patches[layer] = coefficient[prompt.patches]
        at_last.append(coefficient[positions])
        given = product(passed).to(place)
        del passed
        there = given[:, prompt.patches]
        of_patches += there.sum(dim=-1)
        in_patches.append(_over_patches(there, at_patches[layer], patches))
        if sinks is not None:
            in_others.append(_over_patches(there, at_patches[layer], ~sinks))
        last = given[each, positions]
        in_last.append(_over_patches(last.unsqueeze(-2), at_last[-1].unsqueeze(-2)))
    patch_scores, last_scores = _stacked(in_patches), _stacked(in_last)
    # A gradient may overflow where no logit does.
    require_finite(model, patch_scores.total, last_scores.total)
    return Attribution(
        targets=tuple(targets),
        patches=patch_scores,
        last=last_scores,
        logit=logits.detach()[at_token],
        probability=logprobs.detach()[at_token].exp(),
        activation=at_patches,
        activation_last=torch.stack(at_last, dim=1),
        without_sinks=_stacked(in_others) if in_others else None,
        of_patches=of_patches,
    )


def attribute_totals(
    model: LanguageModel,
    prompts: ImagePrompt,
    targets: Sequence[Target],
    *,
    of: Objective = "logit",
    site: Site = "activation",
) -> Totals:
    """Return the totals of `attribute_units` alone, of several photos in one pass.

    Rows of a batch do not touch one another, so that the gradient of their sum is each one's own.

    Args:
        prompts: of several photos, with the same text.
        of: as for `attribute_units`, and `site`.

    Raises:
        UsageError: there is no target, one that the model or prompt does not have, or the model
            was loaded under `torch.inference_mode()`.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    prompts = as_prompt(model, prompts, one_photo=False)
    targets = as_targets(model, prompts, targets)
    one_of("of", of, get_args(Objective))
    one_of("site", site, get_args(Site))
    require_gradients(model)
    layers, n_photos = range(model.n_layers), len(prompts.embeddings)
    by_activation = site == "activation"
    place_of = model.down_projection if by_activation else model.preactivation
    at_site = _whole if by_activation else model.preactivation_in
    first = min(target.position for target in targets)
    positions = [target.position for target in targets]
    seen = capture(
        {layer: place_of(layer) for layer in layers}, at="input" if by_activation else "output"
    )
    with torch.inference_mode(False), torch.enable_grad(), seen as values:
        embeddings = prompts.embeddings.detach().clone().requires_grad_(True)
        with weights_by_reference(model.model):
            output = model.read(
                replace(prompts, embeddings=embeddings), keep=prompts.n_positions - first
            )
        logits = output.logits.float()
        rows = [position - first for position in positions]
        tokens = [target.token_id for target in targets]
        log_p = logits.log_softmax(dim=-1)
        objective = (logits if of == "logit" else log_p)[:, rows, tokens].sum(dim=0)
        require_finite(model, objective)
        gradients = list(
            torch.autograd.grad(
                objective,
                [values[layer] for layer in layers],
                grad_outputs=torch.eye(len(targets), device=objective.device),
                is_grads_batched=True,
            )
        )
    totals: dict[View, list[Tensor]] = {"patches": [], "last": []}
    each = list(range(len(targets)))
    for layer in layers:
        value, gradient = (
            at_site(one).detach().float() for one in (values.pop(layer), gradients.pop(0))
        )
        shape = (n_photos, prompts.n_positions, model.d_mlp)
        product = value.reshape(shape) * gradient.reshape(len(targets), *shape)
        totals["patches"].append(product[:, :, prompts.patches].sum(dim=2).cpu())
        totals["last"].append(product[each, :, positions].cpu())
    found = {view: torch.stack(parts, dim=2).transpose(0, 1) for view, parts in totals.items()}
    require_finite(model, *found.values())
    return Totals(
        patches=found["patches"],
        last=found["last"],
        log_probability=log_p[:, rows, tokens].detach().cpu(),
    )


def _whole(values: Tensor) -> Tensor:
    return values
