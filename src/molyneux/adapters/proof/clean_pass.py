"""One check of a family's row, and the undisturbed pass that it is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture, edit

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
        maps: what went into every layer's down projection and into the head, and what came out.
    """

    layer: int
    embeddings: Float[Tensor, "1 pos d_model"]
    activation: Tensor | None
    preactivation: Tensor | None
    stream: Float[Tensor, "1 pos stream"]
    norms: dict[str, Tensor]
    head: Float[Tensor, "1 pos d_model"] | None
    maps: dict[int | str, tuple[Tensor, Tensor]]


HEAD = "head"


def norms_passed(model: LanguageModel, layer: int) -> dict[str, nn.Module]:
    """Return the norms between a layer's units and the head, in order, by what they are."""
    named = {f"after the MLP {i}": n for i, n in enumerate(model.norms_of_write(layer))}
    return named | {f"before the head {i}": n for i, n in enumerate(model.norms_of_stream(layer))}


@torch.no_grad()
def pass_clean(
    model: LanguageModel, layer: int, embeddings: Float[Tensor, "1 pos d_model"]
) -> CleanPass:
    """Return what one undisturbed pass shows."""
    linear: dict[int | str, nn.Module] = {
        n: model.down_projection(n) for n in range(model.n_layers)
    }
    linear[HEAD] = model.model.get_output_embeddings()
    outputs = {"preactivation": model.preactivation(layer), "stream": model.layer(layer)}
    made: dict[int | str, Tensor] = {}

    def keep(key: int | str, output: Tensor) -> Tensor:
        made[key] = output.clone()  # some blocks add to the module's output in place
        return output

    with (
        capture(norms_passed(model, layer)) as norms,
        capture(outputs, at="output") as after,
        capture(linear) as given,
        edit(linear, keep, at="output"),
    ):
        model.run(inputs_embeds=embeddings)
    return CleanPass(
        layer,
        embeddings,
        given.get(layer),
        after.get("preactivation"),
        after["stream"],
        norms,
        given.get(HEAD),
        {key: (given[key], output) for key, output in made.items()},
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
