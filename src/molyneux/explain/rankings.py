"""The units to switch off for one word in one view, and their controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Attribution, View
from molyneux.neurons.controls import matched_units, random_units
from molyneux.neurons.reference import OtherPhoto, Reference
from molyneux.neurons.unit import Unit, top_units

Ranking = Sequence[Unit | None]


@dataclass(frozen=True)
class Rankings:
    """Units in the order in which they are switched off; None where there is no reference table.

    Attributes:
        top: by score, the paper's order.
        specific: by how far the score exceeds what it is on reference photos.
        interpretable: `top` without the units whose tokens are not words.
        other: another photo's `top`.
        other_specific: another photo's `specific`.
        matched: for each specific unit, one of its layer nearest in |activation| x norm of what
            it writes, in neither this photo's specific list nor its top list.
        random: for each top unit, one of its layer that is never a top unit; one list a seed.
    """

    top: Ranking
    random: Sequence[Ranking]
    specific: Ranking | None = None
    interpretable: Ranking | None = None
    other: Ranking | None = None
    other_specific: Ranking | None = None
    matched: Ranking | None = None


def row_norms(model: LanguageModel) -> Float[Tensor, "layers d_mlp"]:
    """Return the norm of what every unit writes at activation 1.

    That is its output row's, through the scale of a norm after the MLP where there is one.
    """
    found = []
    for layer in range(model.n_layers):  # which may lie on several devices
        rows, scale = model.output_rows(layer).float(), model.write_scale(layer)
        written = rows if scale is None else rows * scale.float().to(rows.device)
        found.append(written.norm(dim=1).cpu())
    return torch.stack(found)


def rank_for(
    model: LanguageModel,
    attribution: Attribution,
    target: int,
    view: View,
    *,
    n: int,
    seeds: int,
    seed: int = 0,
    reference: Reference | None = None,
    other: OtherPhoto | None = None,
) -> Rankings:
    """Return all rankings of up to `n` units for one target."""
    scores = attribution.view(view)
    score, sign = scores.score[target].cpu(), scores.sign[target].cpu()
    top = top_units(score, n)
    random = [
        random_units(top, model.d_mlp, set(top), seed=1000 * seed + number)
        for number in range(seeds)
    ]
    if reference is None:
        return Rankings(top, random)
    specific = top_units(reference.specific(score, view), n)
    words = torch.where(reference.interpretable_as(sign), score, -torch.inf)
    strength = attribution.magnitude(view, target).cpu() * row_norms(model)
    return Rankings(
        top=top,
        random=random,
        specific=specific,
        interpretable=top_units(words, n),
        other=other.units[view, "top"] if other else None,
        other_specific=other.units[view, "specific"] if other else None,
        matched=matched_units(specific, strength, set(specific) | set(top)),
    )
