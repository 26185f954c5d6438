"""Proving by intervention that a row's units are the MLP's: what makes them, what they write."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel, parameter_of
from molyneux.adapters.proof.clean_pass import EXACT, HEAD, Check, CleanPass, rounding
from molyneux.hooks import capture, edit

# Pre-activations far to either side of zero. No activation function is a straight line over both;
# the branch that a gate multiplies is.
HIGH, LOW = 8.0, -16.0


@torch.no_grad()
def conservation(model: LanguageModel, seen: CleanPass, layer: int) -> Check:
    """Check that activations times output rows, plus the bias, are the down projection's output.

    The output is what the layer is given, after adapters and hooks that change it.
    """
    claim = f"layer {layer}: the units' writes sum to the MLP's output"
    if layer not in seen.maps:
        return Check(claim, False, "the down projection is never called as a module")
    activation, output = seen.maps[layer]
    rows, stream = model.output_rows(layer), seen.stream.shape[-1]
    if tuple(rows.shape) != (activation.shape[-1], output.shape[-1]) or rows.shape[1] != stream:
        return Check(
            claim,
            False,
            f"{activation.shape[-1]} values go in and {output.shape[-1]} come out, the row reads "
            f"the weight as {rows.shape[0]} units of {rows.shape[1]}, and the stream is {stream} "
            "wide",
        )
    off = _off(model, activation, rows, model.down_projection(layer), output)
    return Check(claim, off < rounding(model), f"largest difference {off:.1e} of the largest value")


@torch.no_grad()
def conservation_everywhere(model: LanguageModel, seen: CleanPass) -> Check:
    """Check the same of every layer, in the one pass: the first where it does not hold, or all."""
    width = model.d_mlp
    for layer in range(model.n_layers):
        check = conservation(model, seen, layer)
        if not check.holds:
            return check
        own = model.output_rows(layer).shape[0]
        if own != width:
            claim = f"layer {layer}: it has as many units as layer 0"
            return Check(claim, False, f"it has {own}, layer 0 has {width}")
    return Check("every layer: the units' writes sum to the MLP's output", True, "one pass of all")


@torch.no_grad()
def head_conservation(model: LanguageModel, seen: CleanPass) -> Check:
    """Check that the head's output is its weight times what it reads, plus its bias."""
    claim = "the head's output is its weight times what it reads"
    if HEAD not in seen.maps:
        return Check(claim, False, "the head is never called as a module")
    read, logits = seen.maps[HEAD]
    columns = model.unembedding().T
    if columns.shape[0] != read.shape[-1]:
        return Check(claim, False, f"it reads {read.shape[-1]} values, its weight {len(columns)}")
    off = _off(
        model, read, columns, model.model.get_output_embeddings(), logits[..., : model.d_vocab]
    )
    return Check(claim, off < rounding(model), f"largest difference {off:.1e} of the largest value")


def _off(
    model: LanguageModel, given: Tensor, rows: Tensor, module: nn.Module, made: Tensor
) -> float:
    """Return how far given x rows + bias is from what a module made, as a part of the largest.

    The product is in the weight's own precision: a copy in float32 of every layer's weights would
    take longer than the pass itself.
    """
    product = (given.to(rows.device, rows.dtype) @ rows).float()
    bias = parameter_of(module, "bias")
    if bias is not None:
        product = product + bias[: product.shape[-1]].float().to(product.device)
    made = made.float().to(product.device)
    return float((product - made).abs().max() / made.abs().max().clamp(min=1e-12))


@torch.no_grad()
def one_each(model: LanguageModel, seen: CleanPass, n_units: int) -> Check:
    """Check that a value of the pre-activation makes one unit, where it stands, by a curve.

    Each of some values is nudged at one position, in a row of the batch of its own: of all the
    down projection's inputs, that unit at that position alone must move. An input of attention's
    projection does not move at all, or moves at later positions too. In two more rows the whole
    pre-activation is set to a high and a low number there: the units must not follow in
    proportion, as they follow the branch that a gate multiplies; and they must all be one number,
    unless they are gated, as the row says.
    """
    claim = f"layer {seen.layer}: a value of the pre-activation makes one unit, at its position"
    if seen.activation is None or seen.preactivation is None:
        return Check(claim, False, "the pre-activation or the down projection is never called")
    n_pos = seen.embeddings.shape[1]
    at = min(1, n_pos - 1)  # not the last: attention would carry a change to those behind
    units = seen.activation.reshape(n_pos, -1)
    made = model.preactivation_in(seen.preactivation).shape[-1]
    if made != units.shape[1]:
        return Check(claim, False, f"{made} pre-activations are made, and {units.shape[1]} units")
    # The strongest, so that what a gate multiplies is not nearly zero.
    chosen = units[at].abs().topk(min(n_units, made)).indices.cpu()
    row = torch.arange(len(chosen))

    def nudge(_: str, output: Tensor) -> Tensor:
        moved = output.clone().reshape(len(chosen) + 3, n_pos, -1)
        own = model.preactivation_in(moved)  # a view
        here = row.to(own.device), chosen.to(own.device)
        values = own[here[0], at, here[1]]
        own[here[0], at, here[1]] = values + 2 * values.abs() + 1
        own[-2, at], own[-1, at] = HIGH, LOW
        return moved.reshape(output.shape)

    places, module = {"z": model.preactivation(seen.layer)}, model.down_projection(seen.layer)
    rows = len(chosen) + 3  # the nudged ones, one as it is, and two set high and low
    with edit(places, nudge, at="output"), capture({"in": module}) as inputs:
        model.run(inputs_embeds=seen.embeddings.expand(rows, -1, -1), keep=1)
    found = inputs["in"].reshape(rows, n_pos, -1).float().cpu()
    change = found[:-3] - found[-3]
    own = change[row, at, chosen].abs()
    change[row, at, chosen] = 0
    spread = float((change.abs().amax(dim=(1, 2)) / own.clamp(min=1e-12)).max())
    expected = LOW / HIGH * found[-2, at]
    bent = float((found[-1, at] - expected).norm() / expected.norm().clamp(min=1e-12))
    high = found[-2, at]
    gated = float(high.std() / high.abs().mean().clamp(min=1e-12)) > rounding(model)
    if gated != model.family.gated:
        is_so = "gated" if gated else "not gated"
        return Check(claim, False, f"the units are {is_so}: the row's `gated` says otherwise")
    if not own.all():
        said = "nudging the pre-activation leaves its unit as it is"
    else:
        said = f"others move {spread:.1e} times as far; {bent:.2f} off a straight line"
    return Check(claim, bool(own.all()) and spread < rounding(model) and bent > 0.25, said)


def silencing(
    model: LanguageModel,
    layer: int,
    embeddings: Float[Tensor, "1 pos d_model"],
    units: Int[Tensor, " units"],
) -> Check:
    """Check that silencing units in a hook is zeroing their rows; weights are restored after."""
    claim = f"layer {layer}: silencing {len(units)} units equals zeroing their rows"
    clean = model.run(inputs_embeds=embeddings).logits

    def silence(_: str, activation: Tensor) -> Tensor:
        activation = activation.clone()
        activation[..., units.to(activation.device)] = 0
        return activation

    with edit({"down": model.down_projection(layer)}, silence):
        hooked = model.run(inputs_embeds=embeddings).logits
    module = model.down_projection(layer)
    elsewhere = parameter_of(module, "weight") is not module.weight
    operated = (_with_zeroed_copy if elsewhere else _with_zeroed_rows)(
        model, layer, embeddings, units
    )
    gap = float((hooked - operated).float().abs().max())
    moved = float((clean - hooked).float().abs().max())
    scale = max(1.0, float(clean.float().abs().max()))
    return Check(
        claim,
        # In place the same code runs on other numbers; a product of our own rounds otherwise.
        gap <= (1e-5 if not elsewhere or model.dtype in EXACT else 3e-2) * scale and moved > 0,
        f"logits differ by {gap:.1e}; silencing moves them by {moved:.1e}",
    )


def _with_zeroed_rows(
    model: LanguageModel,
    layer: int,
    embeddings: Float[Tensor, "1 pos d_model"],
    units: Int[Tensor, " units"],
) -> Float[Tensor, "1 pos vocab"]:
    """Return the logits with units' rows set to zero in the weights, which are then restored."""
    rows = model.output_rows(layer)
    chosen = units.to(rows.device)
    kept = rows[chosen].clone()
    try:
        rows[chosen] = 0
        logits: Tensor = model.run(inputs_embeds=embeddings).logits
    finally:
        rows[chosen] = kept
    return logits


def _with_zeroed_copy(
    model: LanguageModel,
    layer: int,
    embeddings: Float[Tensor, "1 pos d_model"],
    units: Int[Tensor, " units"],
) -> Float[Tensor, "1 pos vocab"]:
    """Return them where accelerate fetches the weights for every pass, so that none can be set.

    The down projection's output is replaced by what a copy with zeroed rows makes of its input.
    """
    module = model.down_projection(layer)
    rows = model.output_rows(layer).clone()
    rows[units.to(rows.device)] = 0
    bias = parameter_of(module, "bias")

    def by_the_copy(_: str, output: Tensor) -> Tensor:
        activation = given["down"]
        made = activation @ rows.to(activation)
        made = made if bias is None else made + bias.to(made)
        return made.reshape(output.shape).to(output)

    with capture({"down": module}) as given, edit({"down": module}, by_the_copy, at="output"):
        logits: Tensor = model.run(inputs_embeds=embeddings).logits
    return logits
