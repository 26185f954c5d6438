"""Switching units off: what is left of a word when their activations are set to zero.

Schwettmann et al. 2023, section 3.3. Many sets are tried in one forward pass: each row of the
batch carries its own mask of silenced units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.hooks import edit
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

Positions = Literal["all", "patches"]
T = TypeVar("T")
BATCH = 16
_POSITIONS_AT_ONCE = BATCH * 256
"""Attention takes memory by their square: tiles make prompts of thousands."""


def batches(sets: Sequence[T], n_positions: int) -> Iterator[Sequence[T]]:
    """Yield sets as they are tried together: 16 at once, fewer with prompts over 256 positions."""
    at_once = min(BATCH, max(1, _POSITIONS_AT_ONCE // n_positions))
    for start in range(0, len(sets), at_once):
        yield sets[start : start + at_once]


@contextmanager
def silenced(
    model: LanguageModel,
    masks: Bool[Tensor, "rows layers d_mlp"],
    patches: slice,
    positions: Positions,
) -> Iterator[None]:
    """Set each row's masked units to zero while the context is open.

    With `positions="patches"` only image patches are silenced; a forward pass over a single
    position (a step of generation, patches cached) is left alone.
    """
    keep = (~masks).to(model.device)

    def change(layer: int, activation: Tensor) -> Tensor:
        shape = activation.shape
        rows = activation.reshape(len(keep), -1, shape[-1])
        kept = keep[:, layer, None, :].to(rows.device, rows.dtype)  # layers may be on many devices
        if positions == "all":
            rows = rows * kept
        elif rows.shape[1] >= max(patches.stop, 2):  # a step of generation has one position
            rows = torch.cat(
                [rows[:, : patches.start], rows[:, patches] * kept, rows[:, patches.stop :]], dim=1
            )
        return rows.reshape(shape)

    touched = masks.any(dim=2).any(dim=0)
    modules = {
        layer: model.down_projection(layer) for layer in range(model.n_layers) if touched[layer]
    }
    with edit(modules, change):
        yield


@torch.no_grad()
def ablated_logits(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[Sequence[Unit]],
    *,
    positions: Positions = "all",
) -> Float[Tensor, "sets vocab"]:
    """Return the next token's logits with each set of units silenced, in float32.

    An empty set gives the intact model's. The prompt holds one photo and ends where the token
    is predicted. Padding rows of the vocabulary are included.

    Raises:
        AdapterError: the model overflows in its dtype.
    """
    rows: list[Tensor] = []
    for part in batches(sets, prompt.n_positions):
        masks = torch.stack([unit_mask(list(s), model.n_layers, model.d_mlp) for s in part])
        with silenced(model, masks, prompt.patches, positions):
            batch = prompt.repeated(len(part))
            output = model.run(inputs_embeds=batch.embeddings, beside=batch.given(), keep=1)
        rows.append(output.logits[:, -1].float().cpu())
    found = torch.cat(rows)
    require_finite(model, found[:, : model.d_vocab])
    return found


def ablate_units(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[Sequence[Unit]],
    *,
    positions: Positions = "all",
) -> Float[Tensor, "sets d_vocab"]:
    """Return the log-probabilities (nats) of the next token with each set of units silenced.

    As `ablated_logits`, normalised over the whole vocabulary.
    """
    logits = ablated_logits(model, prompt, sets, positions=positions)
    return logits.log_softmax(dim=-1)[:, : model.d_vocab]
