"""One check of a family's row, and the undisturbed pass that it is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture

EXACT = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Check:
    """One claim, whether it holds, and by how much."""

    claim: str
    holds: bool
    measured: str


def rounding(model: LanguageModel) -> float:
    """Return how far two ways to the same number may be apart, as a part of the largest."""
    return 1e-3 if model.dtype in EXACT else 3e-2


@dataclass(frozen=True)
class CleanPass:
    """What one pass showed of a layer and of what follows it; a module never called shows None.

    Attributes:
        layer: which.
        embeddings: what went in.
        activation: the down projection's input.
        preactivation: the output of the module that makes the paper's Z.
        stream: the residual stream after the layer.
        norms: by name, what went into each norm between the units and the head.
        head: what the head read.
    """

    layer: int
    embeddings: Float[Tensor, "1 pos d_model"]
    activation: Tensor | None
    preactivation: Tensor | None
    stream: Float[Tensor, "1 pos stream"]
    norms: dict[str, Tensor]
    head: Float[Tensor, "1 pos d_model"] | None


def norms_passed(model: LanguageModel, layer: int) -> dict[str, nn.Module]:
    """Return the norms between a layer's units and the head, in order, by what they are."""
    named = {f"after the MLP {i}": n for i, n in enumerate(model.norms_of_write(layer))}
    return named | {f"before the head {i}": n for i, n in enumerate(model.norms_of_stream(layer))}


@torch.no_grad()
def pass_clean(
    model: LanguageModel, layer: int, embeddings: Float[Tensor, "1 pos d_model"]
) -> CleanPass:
    """Return what one undisturbed pass shows."""
    own = {
        "activation": model.down_projection(layer),
        "head": model.model.get_output_embeddings(),
    }
    outputs = {"preactivation": model.preactivation(layer), "stream": model.layer(layer)}
    with (
        capture(own | norms_passed(model, layer)) as before,
        capture(outputs, at="output") as after,
    ):
        model.run(inputs_embeds=embeddings)
    return CleanPass(
        layer,
        embeddings,
        before.pop("activation", None),
        after.get("preactivation"),
        after["stream"],
        head=before.pop("head", None),
        norms=before,
    )


def finiteness(model: LanguageModel, seen: CleanPass) -> Check:
    """Check that a pass gives numbers: of infinity and NaN nothing else can be asked."""
    finite = all(
        bool(tensor.isfinite().all()) for tensor in (seen.stream, seen.head) if tensor is not None
    )
    dtype = str(model.dtype).removeprefix("torch.")
    return Check(
        f"layer {seen.layer}: the residual stream, and what the head reads of it, are finite",
        finite,
        f"in {dtype} they are" if finite else f"in {dtype} they are not",
    )
