"""What is written into a set's units at the patches: another photo's values, and controls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.neurons.ablation import Intervention
from molyneux.neurons.sight.patch_sets import PatchSet

Values = Float[Tensor, "layers patches d_mlp"]


def written(chosen: PatchSet, values: Tensor) -> Intervention:
    """Return the edit that gives a set, at every layer at once, these values at the patches.

    Args:
        values: of each unit at each patch, or of each unit: the same at all patches.
    """
    return Intervention(chosen.mask, "patches", values)


def scrambled(chosen: PatchSet, there: Values, values: Tensor, *, seed: int = 0) -> Values:
    """Return values that change a set as much, each change at another of its units.

    What `values` adds to what is `there` is permuted among the set's units of a layer, the same
    way at all patches: the sizes of the changes stay, and which unit has which is lost.
    """
    generator = torch.Generator().manual_seed(1000 * seed + chosen.draw)
    per_patch = values if values.dim() == 3 else values[:, None]
    result = there.clone()
    for layer, own in enumerate(chosen.mask):
        units = own.nonzero().flatten()
        if len(units):
            change = (per_patch[layer] - there[layer])[:, units]
            to = units[torch.randperm(len(units), generator=generator)]
            result[layer][:, to] = there[layer][:, to] + change
    return result


def edit_norm(
    model: LanguageModel,
    mask: Bool[Tensor, "layers d_mlp"],
    change: Values,
) -> float:
    """Return how much an edit changes what the set writes into the residual stream.

    sqrt(sum over layers l and patches p of |sum over units u of the set in l of
    change[l, p, u] x row[l, u]|^2): the Frobenius norm over patches of the change written, layers
    in quadrature. `change` is of the clean values; that the edit of a layer changes what later
    layers compute is not in it. A norm after the MLP counts with its scale alone (`row_norms`).
    """
    return edit_norms(model, mask, [(change, torch.zeros(()).expand_as(change))])[0]


def edit_norms(
    model: LanguageModel,
    mask: Bool[Tensor, "layers d_mlp"],
    changes: Sequence[tuple[Values, Values]],
) -> list[float]:
    """Return the `edit_norm` of each change, given as what is written and what was there."""
    totals = [0.0] * len(changes)
    for layer, own in enumerate(mask):
        units = own.nonzero().flatten()
        if not len(units):
            continue
        rows, scale = model.output_rows(layer), model.write_scale(layer)
        chosen = rows[units.to(rows.device)].float()
        if scale is not None:
            chosen = chosen * scale.float().to(chosen.device)
        for number, (new, there) in enumerate(changes):
            moved = (new[layer][:, units] - there[layer][:, units]).to(chosen.device) @ chosen
            totals[number] += float(moved.square().sum())
    return [total**0.5 for total in totals]


def require_same_patches(own: int, other: int, name: str) -> None:
    """Refuse to write one photo's values into another with more or fewer patches.

    Raises:
        UsageError: the counts differ; `name` says whose.
    """
    if own != other:
        raise UsageError(
            f"the photo has {own} patches and {name} has {other}, so that values of the one have "
            "no places in the other; crop both to squares of one size (`centre` does, in models "
            "that keep every photo's shape)"
        )
