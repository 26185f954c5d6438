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
from molyneux.errors import UsageError
from molyneux.hooks import edit
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

# Schwettmann et al. 2023: 0 to 6400 of GPT-J's 458,752 units. Other models take the same shares.
PAPER_GRID = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)
PAPER_UNITS = 458_752

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
            output = model.read(prompt.repeated(len(part)), keep=1)
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


@torch.no_grad()
def replaced_logits(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[tuple[Sequence[Unit], Float[Tensor, "layers patches d_mlp"]]],
) -> Float[Tensor, "sets vocab"]:
    """Return the next token's logits with each set's units given other activations at the patches.

    The prompt holds one photo. As `ablated_logits` with `positions="patches"`, where all the
    activations given are zero.
    """
    rows: list[Tensor] = []
    for part in batches(sets, prompt.n_positions):
        masks = torch.stack([unit_mask(list(s), model.n_layers, model.d_mlp) for s, _ in part])
        given = [values for _, values in part]

        def change(
            layer: int,
            activation: Tensor,
            masks: Tensor = masks,
            given: list[Tensor] = given,
        ) -> Tensor:
            shape = activation.shape
            values = activation.reshape(len(given), -1, shape[-1]).clone()
            at_patches = values[:, prompt.patches]
            new = torch.stack([v[layer] for v in given]).to(values.device, values.dtype)
            chosen = masks[:, layer, None, :].to(values.device)
            values[:, prompt.patches] = torch.where(chosen, new, at_patches)
            return values.reshape(shape)

        touched = masks.any(dim=2).any(dim=0)
        modules = {k: model.down_projection(k) for k in range(model.n_layers) if touched[k]}
        with edit(modules, change):
            output = model.read(prompt.repeated(len(part)), keep=1)
        rows.append(output.logits[:, -1].float().cpu())
    return torch.cat(rows)


def ablation_grid(name: str, n_units: int) -> list[int]:
    """Return how many units are switched off at each step.

    `short`: 0, 10, 50, 100 and 1.4 % of all units; `full`: the paper's shares, and 50 and 100.

    Raises:
        UsageError: the grid is neither.
    """
    shares = [round(step * n_units / PAPER_UNITS) for step in PAPER_GRID]
    if name == "short":
        grid = {0, 10, 50, 100, shares[-1]}
    elif name == "full":
        grid = {*shares, 50, 100}
    else:
        raise UsageError(f"there is no grid {name!r}; take short or full")
    return sorted(size for size in grid if size <= n_units)


def exact_effects(
    model: LanguageModel,
    prompt: ImagePrompt,
    token_id: int,
    units: Sequence[Unit],
    *,
    positions: Positions = "patches",
) -> Float[Tensor, " units"]:
    """Return y(clean) - y(unit zeroed) in logits, for each unit by itself.

    What a unit's `total` predicts to first order.
    """
    sets = [[], *([unit] for unit in units)]
    logits = ablated_logits(model, prompt, sets, positions=positions)[:, token_id]
    return logits[0] - logits[1:]
