"""Proving a family's row by intervention: does the model do what the row says?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel, parameter_of
from molyneux.errors import AdapterError
from molyneux.hooks import capture, edit

EXACT = (torch.float32, torch.float64)
# How far a nudge moves the head's output, as a part of its spread; central differences leave
# about the square of it. In bfloat16 and float16 a smaller one would drown in rounding.
STEP, HALF_STEP = 0.02, 0.1


@dataclass(frozen=True)
class Check:
    """One claim, whether it holds, and by how much."""

    claim: str
    holds: bool
    measured: str


@torch.no_grad()
def prove(model: LanguageModel, n_layers: int = 3, n_units: int = 8) -> list[Check]:
    """Return the checks of some layers (first, middle, last), on a fixed random input.

    The units' writes must sum to the MLP's output; silencing units in a hook must give the same
    logits as zeroing their output rows, and other logits than leaving them on. Where that holds,
    every norm between a write and the head must scale by what the row says, and a small write by
    a unit of the last layer must move the head's output as its decoded direction predicts, to
    first order. Weights are restored bit for bit.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.d_vocab, (1, 12), generator=generator)
    embeddings = model.embed(ids)
    layers = sorted({0, model.n_layers // 2, model.n_layers - 1})[:n_layers]
    checks = []
    for layer in layers:
        units = torch.randperm(model.d_mlp, generator=generator)[:n_units]
        checks.append(_conservation(model, layer, embeddings))
        checks.append(_silencing(model, layer, embeddings, units))
    if not all(check.holds for check in checks):
        return checks  # the rest takes for granted that rows are the units' writes
    last = model.n_layers - 1
    strongest = model.output_rows(last).float().norm(dim=1).topk(min(n_units, model.d_mlp))
    checks += _scales(model, last, embeddings)
    checks.append(_direction(model, last, embeddings, strongest.indices.cpu()))
    return checks


@torch.no_grad()
def require_conservation(model: LanguageModel) -> None:
    """Check that the last layer's units sum to its MLP's output, in one pass of four tokens.

    Raises:
        AdapterError: they do not, so the family's row does not describe this model.
    """
    ids = torch.arange(min(4, model.d_vocab))[None]
    found = _conservation(model, model.n_layers - 1, model.embed(ids))
    if not found.holds:
        raise AdapterError(
            f"the row {model.family.name!r} does not describe this "
            f"{type(model.model).__name__}: not true that {found.claim} ({found.measured}); "
            "correct `down` and `rows_stored` of the row in molyneux.adapters.families"
        )


def _conservation(
    model: LanguageModel, layer: int, embeddings: Float[Tensor, "1 pos d_model"]
) -> Check:
    claim = f"layer {layer}: the units' writes sum to the MLP's output"
    module = model.down_projection(layer)
    layers = {"stream": model.layer(layer)}
    with capture({"in": module}) as inputs, capture(layers, at="output") as after:
        model.run(inputs_embeds=embeddings)
        if "in" not in inputs:
            return Check(claim, False, "the down projection is never called as a module")
        # Asked again rather than captured: some blocks add to the module's output in place.
        output = module(inputs["in"]).float()
    activation = inputs["in"].float()
    rows, stream = model.output_rows(layer).shape, after["stream"].shape[-1]
    if tuple(rows) != (activation.shape[-1], output.shape[-1]) or rows[1] != stream:
        return Check(
            claim,
            False,
            f"{activation.shape[-1]} values go in and {output.shape[-1]} come out, the row reads "
            f"the weight as {rows[0]} units of {rows[1]}, and the stream is {stream} wide",
        )
    written = activation.to(output.device) @ model.output_rows(layer).float().to(output.device)
    bias = parameter_of(module, "bias")
    if bias is not None:
        written = written + bias.float().to(written.device)
    off = float((written - output).abs().max() / output.abs().max().clamp(min=1e-12))
    return Check(
        claim,
        off < (1e-3 if model.dtype in EXACT else 3e-2),
        f"largest difference {off:.1e} of the largest value",
    )


def _silencing(
    model: LanguageModel,
    layer: int,
    embeddings: Float[Tensor, "1 pos d_model"],
    units: Int[Tensor, " units"],
) -> Check:
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


def _epsilon(norm: nn.Module) -> float:
    return float(getattr(norm, "eps", getattr(norm, "variance_epsilon", 1e-6)))


def _normalised(values: Tensor, centred: bool, epsilon: float) -> Tensor:
    """Return values over their root mean square, about their mean if `centred`."""
    values = values.float()
    if centred:
        values = values - values.mean(dim=-1, keepdim=True)
    return values / (values.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()


def _response(values: Tensor, change: Tensor, centred: bool, epsilon: float) -> Tensor:
    """Return the first-order change of `_normalised(values)` when values change."""
    if centred:
        values = values - values.mean(dim=-1, keepdim=True)
        change = change - change.mean(dim=-1, keepdim=True)
    size = (values.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()
    along = (values * change).mean(dim=-1, keepdim=True) / size.square()
    return (change - values * along) / size


def _fit(norm: nn.Module, scale: Tensor, values: Tensor) -> tuple[bool, float]:
    """Return whether a norm centres, and how far it is from scale x normalised (+ bias)."""
    output = norm(values).float()
    bias = parameter_of(norm, "bias")
    if bias is not None:
        output = output - bias.float().to(output.device)
    offs = []
    for centred in (True, False):
        claimed = scale.float().to(output.device) * _normalised(values, centred, _epsilon(norm))
        offs.append(float((claimed - output).norm() / output.norm().clamp(min=1e-12)))
    return offs[0] < offs[1], min(offs)


def _norms_passed(model: LanguageModel, layer: int) -> dict[str, nn.Module]:
    named = {f"after the MLP {i}": n for i, n in enumerate(model.norms_of_write(layer))}
    return named | {f"before the head {i}": n for i, n in enumerate(model.norms_of_stream(layer))}


def _scales(
    model: LanguageModel, layer: int, embeddings: Float[Tensor, "1 pos d_model"]
) -> list[Check]:
    norms = _norms_passed(model, layer)
    with capture(norms) as seen:
        model.run(inputs_embeds=embeddings)
    checks = []
    for name, norm in norms.items():
        claim = f"layer {layer}: the norm {name[:-2]} scales by what the row says"
        if name not in seen:
            checks.append(Check(claim, False, "it is never called"))
            continue
        centred, off = _fit(norm, model.scale_of(norm), seen[name])
        form = "about the mean" if centred else "root mean square"
        holds = off < (1e-3 if model.dtype in EXACT else 3e-2)
        checks.append(Check(claim, holds, f"{form}, off by {off:.1e} of its output"))
    return checks


def _direction(
    model: LanguageModel,
    layer: int,
    embeddings: Float[Tensor, "1 pos d_model"],
    units: Int[Tensor, " units"],
) -> Check:
    """Nudge units of the last layer, one in each row of the batch, up and down."""
    claim = f"layer {layer}: a unit's write moves the head's output along its decoded direction"
    exact = model.dtype in EXACT
    norms = _norms_passed(model, layer)
    module, head = model.down_projection(layer), model.model.get_output_embeddings()
    with capture(norms) as before, capture({"out": head}, at="output") as clean:
        model.run(inputs_embeds=embeddings)
    if len(before) < len(norms) or "out" not in clean:
        return Check(claim, False, "a norm or the head is never called")
    rows = model.output_rows(layer)
    change = rows[units.to(rows.device)].float()[:, None]  # units 1 d_stream
    for name, norm in norms.items():
        values, scale = before[name], model.scale_of(norm).float()
        centred, _ = _fit(norm, scale, values)
        change = _response(values.float(), change.to(values.device), centred, _epsilon(norm))
        change = change * scale.to(change.device)
    unembedding = model.unembedding().float()
    predicted = model.to_head(change).to(unembedding.device) @ unembedding.T
    typical = clean["out"][..., : model.d_vocab].float().std().to(predicted.device)
    size = predicted.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    step = (STEP if exact else HALF_STEP) * typical / size

    def nudge(_: str, activation: Tensor) -> Tensor:
        moved = activation.clone().reshape(2, len(units), -1, activation.shape[-1])
        for row, unit in enumerate(units.tolist()):
            moved[0, row, :, unit] += float(step[row])
            moved[1, row, :, unit] -= float(step[row])
        return moved.reshape(activation.shape)

    with edit({"down": module}, nudge), capture({"out": head}, at="output") as nudged:
        model.run(inputs_embeds=embeddings.expand(2 * len(units), -1, -1))
    up, down = nudged["out"][..., : model.d_vocab].float().to(predicted.device).chunk(2)
    off = float(((up - down) / (2 * step) - predicted).norm() / predicted.norm().clamp(min=1e-12))
    return Check(
        claim, off < (0.02 if exact else 0.25), f"off by {off:.1e} of the predicted change"
    )
