"""A second, slow implementation of what the package computes, written from the paper.

It shares no code with `molyneux`: places in the models are written out by hand, activations are
replaced by exchanging modules of a copy (never by hooks), one unit at one patch at a time; decoding
is loops over floats; silencing is zeroed weights. Used only in tests.

Schwettmann et al. 2023 (arXiv 2308.01544), sections 2 and 3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Site = Literal["activation", "preactivation"]


# Layers, from the model; where a layer keeps its MLP; and the MLP's maps in and out.
H = ("gpt2", "gptj", "gpt_neo", "bloom", "falcon", "falcon_7b", "falcon_rw")
DOWN = {
    "gpt2": "c_proj",
    "gptj": "fc_out",
    "gpt_neo": "c_proj",
    "gpt_neox": "dense_4h_to_h",
    "opt": "fc2",
    "opt_350m": "fc2",
    "phi": "fc2",
    "bloom": "dense_4h_to_h",
    "falcon": "dense_4h_to_h",
    "falcon_7b": "dense_4h_to_h",
    "falcon_rw": "dense_4h_to_h",
}
UP = {
    "gpt2": "c_fc",
    "gptj": "fc_in",
    "gpt_neo": "c_fc",
    "gpt_neox": "dense_h_to_4h",
    "opt": "fc1",
    "opt_350m": "fc1",
    "phi": "fc1",
    "bloom": "dense_h_to_4h",
    "falcon": "dense_h_to_4h",
    "falcon_7b": "dense_h_to_4h",
    "falcon_rw": "dense_h_to_4h",
}


def layer_of(kind: str, model: nn.Module, layer: int) -> Any:
    """Return a layer."""
    parts: Any = model
    if kind in H:
        return parts.transformer.h[layer]
    if kind == "gpt_neox":
        return parts.gpt_neox.layers[layer]
    if kind in ("opt", "opt_350m"):
        return parts.model.decoder.layers[layer]
    return parts.model.layers[layer]


def mlp_of(kind: str, model: nn.Module, layer: int) -> Any:
    """Return the module that holds a layer's two (or three) MLP matrices."""
    whole = layer_of(kind, model, layer)
    return whole if kind in ("opt", "opt_350m") else whole.mlp


def down_name(kind: str) -> str:
    """Return the attribute of the MLP that maps units back to the residual stream."""
    return DOWN.get(kind, "down_proj")


def output_row(kind: str, model: nn.Module, layer: int, unit: int) -> np.ndarray:
    """Return what the unit adds to the MLP's output at activation 1."""
    weight = getattr(mlp_of(kind, model, layer), down_name(kind)).weight.detach().double().numpy()
    return weight[unit] if kind == "gpt2" else weight[:, unit]


def read_row(
    kind: str, model: nn.Module, layer: int, unit: int, final_norm: bool = True
) -> np.ndarray:
    """Return the unit's row as the head's matrix meets it: scaled by every norm, projected."""
    parts: Any = model
    row = output_row(kind, model, layer, unit)
    scales: list[Tensor] = []
    if kind in ("gemma2", "gemma3"):
        scales.append(1 + layer_of(kind, model, layer).post_feedforward_layernorm.weight)
    if final_norm and kind == "opt_350m":
        scales.append(layer_of(kind, model, layer).final_layer_norm.weight)
        for later in parts.model.decoder.layers[layer + 1 :]:
            scales += [later.self_attn_layer_norm.weight, later.final_layer_norm.weight]
    elif final_norm and kind in H:
        scales.append(parts.transformer.ln_f.weight)
    elif final_norm and kind == "gpt_neox":
        scales.append(parts.gpt_neox.final_layer_norm.weight)
    elif final_norm and kind == "opt":
        scales.append(parts.model.decoder.final_layer_norm.weight)
    elif final_norm and kind == "phi":
        scales.append(parts.model.final_layernorm.weight)
    elif final_norm:
        weight = parts.model.norm.weight
        scales.append(1 + weight if kind.startswith("gemma") else weight)
    for scale in scales:
        row = row * scale.double().numpy()
    if kind == "opt_350m":
        row = parts.model.decoder.project_out.weight.double().numpy() @ row
    return row


class _WithOneValue(nn.Module):
    """The given module, its input (or output) replaced for one unit at some positions."""

    def __init__(
        self,
        module: nn.Module,
        site: Site,
        unit: int,
        positions: list[int],
        value: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.module, self.site, self.unit = module, site, unit
        self.positions, self.value = positions, value
        self.found: dict[int, float] = {}

    def _replace(self, values: Tensor) -> Tensor:
        if values.dim() == 2:  # OPT merges batch and positions; the batch is one
            return self._replace(values[None])[0]
        columns = list(values.unbind(dim=-1))
        column = list(columns[self.unit].unbind(dim=-1))
        for position in self.positions:
            self.found[position] = float(column[position][0])
            column[position] = self.value(column[position])
        columns[self.unit] = torch.stack(column, dim=-1)
        return torch.stack(columns, dim=-1)

    def forward(self, values: Tensor) -> Tensor:
        if self.site == "activation":
            return self.module(self._replace(values))
        return self._replace(self.module(values))


def run_with(
    kind: str,
    model: nn.Module,
    embeddings: Tensor,
    layer: int,
    unit: int,
    positions: list[int],
    value: Callable[[Tensor], Tensor],
    site: Site = "activation",
) -> tuple[Tensor, dict[int, float]]:
    """Return all logits with one unit's values replaced, and the values found there before."""
    mlp = mlp_of(kind, model, layer)
    if site == "preactivation" and kind not in UP:
        raise ValueError("written for the families without a gate")
    name = down_name(kind) if site == "activation" else UP[kind]
    original = getattr(mlp, name)
    surgery = _WithOneValue(original, site, unit, positions, value)
    setattr(mlp, name, surgery)
    try:
        logits = model(inputs_embeds=embeddings, use_cache=False).logits[0]
    finally:
        setattr(mlp, name, original)
    return logits, surgery.found


def gradient_times_activation(
    kind: str,
    model: nn.Module,
    embeddings: Tensor,
    layer: int,
    unit: int,
    patch_position: int,
    token: int,
    at: int,
    *,
    site: Site = "activation",
    of: str = "logit",
) -> tuple[float, float]:
    """Return (g, activation): the paper's product, from autograd on this one number as a leaf."""
    _, found = run_with(kind, model, embeddings, layer, unit, [patch_position], lambda v: v, site)
    leaf = torch.tensor([found[patch_position]], dtype=embeddings.dtype, requires_grad=True)
    logits, _ = run_with(
        kind, model, embeddings, layer, unit, [patch_position], lambda _: leaf, site
    )
    y = logits[at] if of == "logit" else logits[at].log_softmax(dim=-1)
    gradient = torch.autograd.grad(y[token], leaf, allow_unused=True)[0]
    slope = 0.0 if gradient is None else float(gradient)
    return slope * found[patch_position], found[patch_position]


def relative_difference(
    kind: str,
    model: nn.Module,
    embeddings: Tensor,
    layer: int,
    unit: int,
    positions: list[int],
    token: int,
    at: int,
    *,
    site: Site = "activation",
    of: str = "logit",
    step: float = 1e-2,
) -> float:
    """Return dy/de at e = 0 where the unit is scaled by 1 + e: central differences, no gradient.

    By the chain rule this is the sum of activation x gradient over the positions.
    """
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            factor = 1 + sign * step
            logits, _ = run_with(
                kind, model, embeddings, layer, unit, positions, lambda v, f=factor: v * f, site
            )
            y = logits[at] if of == "logit" else logits[at].log_softmax(dim=-1)
            values.append(float(y[token]))
    return (values[0] - values[1]) / (2 * step)


def scores_of_unit(products: list[tuple[float, float]]) -> tuple[float, float, int, int]:
    """Return (score, total, sign, peak) of one unit from (g, activation) of every patch."""
    peak = 0
    total = 0.0
    for patch, (product, _) in enumerate(products):
        total += product
        if product > products[peak][0]:
            peak = patch
    activation = products[peak][1]
    sign = (activation > 0) - (activation < 0)
    return products[peak][0], total, sign, peak


def shares(totals: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Return each total over the sum of their magnitudes."""
    size = 0.0
    for total in totals.values():
        size += abs(total)
    return {unit: total / size for unit, total in totals.items()}


def decode(row: Iterable[float], unembedding: np.ndarray, sign: int) -> list[tuple[float, int]]:
    """Return (probability, token) of every token, descending: softmax of unembedding x row."""
    direction = [sign * r for r in row]
    logits = []
    for token in range(len(unembedding)):
        logit = 0.0
        for component, weight in zip(direction, unembedding[token], strict=True):
            logit += component * float(weight)
        logits.append(logit)
    largest = max(logits)
    size = 0.0
    for logit in logits:
        size += math.exp(logit - largest)
    probabilities = [(math.exp(logit - largest) / size, t) for t, logit in enumerate(logits)]
    return sorted(probabilities, key=lambda pair: -pair[0])


def without_units(kind: str, model: nn.Module, units: list[tuple[int, int]]) -> nn.Module:
    """Return a copy of the model in which the units' output rows are zero."""
    silent = copy.deepcopy(model)
    with torch.no_grad():
        for layer, unit in units:
            weight = getattr(mlp_of(kind, silent, layer), down_name(kind)).weight
            if kind == "gpt2":
                weight[unit, :] = 0
            else:
                weight[:, unit] = 0
    return silent


class _SilentAt(nn.Module):
    """The given module, some units of its input set to zero at some positions, one by one."""

    def __init__(self, module: nn.Module, units: list[int], positions: list[int]) -> None:
        super().__init__()
        self.module, self.units, self.positions = module, units, positions

    def forward(self, values: Tensor) -> Tensor:
        if values.dim() == 2:  # OPT merges batch and positions; the batch is one
            return self.forward(values[None])[0]
        silent = values.clone()
        for unit in self.units:
            for position in self.positions:
                silent[:, position, unit] = 0.0
        return self.module(silent)


def without_units_at(
    kind: str, model: nn.Module, units: list[tuple[int, int]], positions: list[int]
) -> nn.Module:
    """Return a copy of the model in which the units are silent at some positions only."""
    silent = copy.deepcopy(model)
    for layer in {layer for layer, _ in units}:
        mlp = mlp_of(kind, silent, layer)
        own = [unit for at, unit in units if at == layer]
        surgery = _SilentAt(getattr(mlp, down_name(kind)), own, positions)
        setattr(mlp, down_name(kind), surgery)
    return silent


def permute_units(kind: str, model: nn.Module, layer: int, order: list[int]) -> nn.Module:
    """Return a copy whose unit k of a layer is unit order[k] of the model: the same function."""
    changed = copy.deepcopy(model)
    mlp = mlp_of(kind, changed, layer)
    with torch.no_grad():
        if kind == "phi3":  # gate and input in one matrix, one above the other
            inputs, both = ["gate_up_proj"], [*order, *(len(order) + unit for unit in order)]
        else:
            inputs, both = [UP[kind]] if kind in UP else ["gate_proj", "up_proj"], order
        for name in inputs:
            module = getattr(mlp, name)
            weight = module.weight
            weight.copy_(weight[:, both].clone() if kind == "gpt2" else weight[both].clone())
            if module.bias is not None:
                module.bias.copy_(module.bias[both].clone())
        weight = getattr(mlp, down_name(kind)).weight
        weight.copy_(weight[order].clone() if kind == "gpt2" else weight[:, order].clone())
    return changed


def specific(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return (s - m) / (d + d0) from raw reference scores (photos, layers, units).

    Tusher et al. 2001; -inf where the score is not positive or the layer has no spread. An even
    number of deviations has its lower middle one as the median.
    """
    mean = reference.mean(axis=0)
    deviation = reference.std(axis=0, ddof=1)
    result = np.full(scores.shape, -np.inf)
    for layer in range(len(scores)):
        if not deviation[layer].any():
            continue
        d0 = sorted(deviation[layer])[(len(deviation[layer]) - 1) // 2]
        for unit in range(len(scores[layer])):
            if scores[layer, unit] > 0:
                distance = scores[layer, unit] - mean[layer, unit]
                result[layer, unit] = distance / (deviation[layer, unit] + d0)
    return result
