"""Proving a family's row by intervention: does the model do what the row says?"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture, edit


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
    logits as zeroing their output rows, and other logits than leaving them on. Weights are restored
    bit for bit.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.d_vocab, (1, 12), generator=generator).to(model.device)
    embeddings = model.embed(ids)
    layers = sorted({0, model.n_layers // 2, model.n_layers - 1})[:n_layers]
    checks = []
    for layer in layers:
        module = model.down_projection(layer)
        units = torch.randperm(model.d_mlp, generator=generator)[:n_units].to(model.device)
        with capture({"in": module}) as inputs, capture({"out": module}, at="output") as outputs:
            clean = model.model(inputs_embeds=embeddings, use_cache=False).logits
        written = inputs["in"].float() @ model.output_rows(layer).float()
        bias = getattr(module, "bias", None)
        if bias is not None:
            written = written + bias.float()
        scale = outputs["out"].float().abs().max().clamp(min=1e-12)
        off = float((written - outputs["out"].float()).abs().max() / scale)
        checks.append(
            Check(
                f"layer {layer}: the units' writes sum to the MLP's output",
                off < (1e-3 if model.dtype == torch.float32 else 3e-2),
                f"largest difference {off:.1e} of the largest value",
            )
        )

        def silence(_: str, activation: torch.Tensor, off: torch.Tensor = units) -> torch.Tensor:
            activation = activation.clone()
            activation[..., off] = 0
            return activation

        with edit({"down": module}, silence):
            hooked = model.model(inputs_embeds=embeddings, use_cache=False).logits
        rows = model.output_rows(layer)
        kept = rows[units].clone()
        try:
            rows[units] = 0
            operated = model.model(inputs_embeds=embeddings, use_cache=False).logits
        finally:
            rows[units] = kept
        gap = float((hooked - operated).float().abs().max())
        moved = float((clean - hooked).float().abs().max())
        checks.append(
            Check(
                f"layer {layer}: silencing {n_units} units equals zeroing their rows",
                gap <= 1e-5 * max(1.0, float(clean.float().abs().max())) and moved > 0,
                f"logits differ by {gap:.1e}; silencing moves them by {moved:.1e}",
            )
        )
    return checks
