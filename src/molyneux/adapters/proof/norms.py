"""Proving by intervention how a unit's write reaches the head: through which norms, which way."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel, parameter_of
from molyneux.adapters.norm_formula import deviations, epsilon_of, normalised, size_of
from molyneux.adapters.proof.clean_pass import EXACT, Check, CleanPass, norms_passed, rounding
from molyneux.hooks import capture, edit

# How far a nudge moves the head's output at most, as a part of its spread, and what enters a norm,
# as a part of its size: central differences leave about the square of it. In bfloat16 and float16
# smaller ones would drown in rounding.
STEP, HALF_STEP = 0.02, 0.1
TURN, HALF_TURN = 0.05, 0.3
TOKENS = 2048  # of which the head's output is compared: of all, large heads would need gigabytes


def _response(values: Tensor, change: Tensor, centred: bool, epsilon: float) -> Tensor:
    """Return the first-order change of `normalised(values)` when values change."""
    size = size_of(values, centred, epsilon)
    values, change = deviations(values, centred), deviations(change, centred)
    along = (values * change).mean(dim=-1, keepdim=True) / size.square()
    return (change - values * along) / size


def _rounding_of(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return errors as large as rounding to a dtype may make them, of random signs.

    Norms compute in float32 at best, in models of float64 too.
    """
    unit = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) / 2
    signs = torch.randint(0, 2, values.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return values * signs.to(values.device) * unit


def _fit(norm: nn.Module, scale: Tensor, values: Tensor) -> tuple[bool, float]:
    """Return whether a norm centres, and how far it is from scale x normalised (+ bias)."""
    output = norm(values).float()
    bias = parameter_of(norm, "bias")
    if bias is not None:
        output = output - bias.float().to(output.device)
    offs = []
    for centred in (True, False):
        claimed = scale.float().to(output.device) * normalised(values, centred, epsilon_of(norm))
        offs.append(float((claimed - output).norm() / output.norm().clamp(min=1e-12)))
    return offs[0] < offs[1], min(offs)


@torch.no_grad()
def scales(model: LanguageModel, seen: CleanPass) -> list[Check]:
    """Check of every norm from a layer's units to the head that it scales by what the row says."""
    checks = []
    for name, norm in norms_passed(model, seen.layer).items():
        claim = f"layer {seen.layer}: the norm {name[:-2]} scales by what the row says"
        if name not in seen.norms:
            checks.append(Check(claim, False, "it is never called"))
            continue
        centred, off = _fit(norm, model.scale_of(norm), seen.norms[name])
        form = "about the mean" if centred else "root mean square"
        said = f"{form}, off by {off:.1e} of its output"
        checks.append(Check(claim, off < rounding(model), said))
    return checks


def strongest(model: LanguageModel, layer: int, n: int) -> Int[Tensor, " units"]:
    """Return the units of a layer with the longest output rows."""
    norms = model.output_rows(layer).float().norm(dim=1)
    found: Tensor = norms.topk(min(n, model.d_mlp)).indices.cpu()
    return found


@torch.no_grad()
def direction(model: LanguageModel, seen: CleanPass, units: Int[Tensor, " units"]) -> Check:
    """Check that units of the last layer move the head's output as they are decoded.

    Each is nudged up and down, in two rows of the batch. The head's product with what it reads is
    taken here, in float32, for some of its tokens; what moves all of them alike is left out. In
    bfloat16, and with logits near 100 as GPT-2's, its own output would be too coarse. What
    rounding may do on the way is allowed for: a write far below the stream it is added to is lost.
    """
    claim = (
        f"layer {seen.layer}: a unit's write moves the head's output along its decoded direction"
    )
    exact = model.dtype in EXACT
    norms = norms_passed(model, seen.layer)
    module, head = model.down_projection(seen.layer), model.model.get_output_embeddings()
    if len(seen.norms) < len(norms) or seen.head is None:
        return Check(claim, False, "a norm or the head is never called")
    rows = model.output_rows(seen.layer)
    n_pos = seen.head.shape[1]
    change = rows[units.to(rows.device)].float()[:, None].expand(-1, n_pos, -1)
    rounded = torch.zeros_like(change[:1])
    turned = torch.zeros(len(units), 1, 1)
    for name, norm in norms.items():
        values, scale = seen.norms[name].float(), model.scale_of(norm).float()
        way = _fit(norm, scale, seen.norms[name])[0], epsilon_of(norm)
        change, scale = change.to(values.device), scale.to(values.device)
        turn = change.square().mean(dim=-1, keepdim=True).sqrt() / size_of(values, *way)
        turned = turned.maximum(turn.amax(dim=1, keepdim=True).cpu())
        rounded = rounded.to(values.device) + _rounding_of(values, model.dtype)
        change = _response(values, change, *way) * scale
        rounded = _response(values, rounded, *way) * scale
    decoded = model.to_head(change)
    unembedding = model.unembedding()[:: -(-model.d_vocab // TOKENS)].float()
    if decoded.shape[-1] != unembedding.shape[1]:
        wide = f"the row leads {decoded.shape[-1]} values to the head, of {unembedding.shape[1]}"
        return Check(claim, False, wide)

    def logits(read: Tensor) -> Tensor:
        found = read.float().to(unembedding.device) @ unembedding.T
        return (found - found.mean(dim=-1, keepdim=True)).cpu()

    predicted = logits(decoded)  # units pos tokens, for a nudge of 1
    size = predicted.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    step = (STEP if exact else HALF_STEP) * logits(seen.head).std() / size
    step = step.minimum((TURN if exact else HALF_TURN) / turned.clamp(min=1e-12))

    def nudge(_: str, activation: Tensor) -> Tensor:
        moved = activation.clone().reshape(2, len(units), -1, activation.shape[-1])
        for row, unit in enumerate(units.tolist()):
            moved[0, row, :, unit] += float(step[row])
            moved[1, row, :, unit] -= float(step[row])
        return moved.reshape(activation.shape)

    with edit({"down": module}, nudge), capture({"head": head}) as nudged:
        model.run(inputs_embeds=seen.embeddings.expand(2 * len(units), -1, -1))
    up, down = logits(nudged["head"]).chunk(2)
    whole = (2 * step * predicted).norm().clamp(min=1e-12)
    off = float((up - down - 2 * step * predicted).norm() / whole)
    read = seen.head.float()
    noise = logits(model.to_head(rounded).to(read.device) + _rounding_of(read, model.dtype))
    lost = float(2 * noise.expand_as(predicted).norm() / whole)
    said = f"off by {off:.1e} of the predicted change, of which rounding may make {lost:.1e}"
    # Of tiny models, what wrong rows predict is off by 0.5 or more, right ones in bfloat16 by 0.04.
    return Check(claim, off < (0.05 if exact else 0.3) + lost, said)
