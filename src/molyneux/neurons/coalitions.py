"""Shapley values of units, or of sets of them: exact ablation, everyone else as the model is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.errors import UsageError
from molyneux.neurons.ablation import Intervention, Positions, batches, intervened
from molyneux.neurons.attribution import Target
from molyneux.neurons.checks import as_model, as_prompt, as_sets, as_targets
from molyneux.neurons.prefix import read_prefix
from molyneux.neurons.unit import Unit
from molyneux.statistics.shapley import ShapleyValues, sample_shapley
from molyneux.vision.layout import ImagePrompt

MOST_PLAYERS = 24


def shapley_of_sets(
    model: LanguageModel,
    prompt: ImagePrompt,
    target: Target,
    groups: Sequence[Sequence[Unit | str]],
    *,
    positions: Sequence[int] | None = None,
    pairs: int = 8,
    seed: int = 0,
) -> ShapleyValues:
    """Return the Shapley value of each group of units for a target's logit.

    Those who are not in a coalition are at zero; units that no group holds are as they are. One
    unit a group is the Shapley value of units; several are players together (group Shapley).

    Args:
        prompt: one photo's, up to the target's position or further.
        groups: at most 24, no unit in two.
        positions: where units are at zero; the patches if None.
        pairs: of orders that are sampled: each takes 2 x (groups - 1) rows of a pass.
        seed: of the orders.

    Raises:
        UsageError: there are more groups, one is empty, one unit is in two, the model has no such
            unit, or the prompt more than one photo.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt)
    target = as_targets(model, prompt, [target])[0]
    sets = as_sets(model, groups)
    units = [unit for group in sets for unit in group]
    if len(sets) > MOST_PLAYERS or not all(sets) or len(units) != len(set(units)):
        raise UsageError(
            f"groups takes up to {MOST_PLAYERS} lists of units, none empty and no unit in two, and "
            f"here are {len(sets)} of {len(set(units))} units; give fewer, or join some"
        )
    patches = prompt.patches
    places = tuple(range(patches.start, patches.stop) if positions is None else positions)

    def worth(kept: Bool[np.ndarray, "coalitions players"]) -> Float[np.ndarray, " coalitions"]:
        return _logits(model, prompt, target, sets, kept, places)

    return sample_shapley(worth, len(sets), pairs=pairs, rng=np.random.default_rng(seed))


@torch.no_grad()
def _logits(
    model: LanguageModel,
    prompt: ImagePrompt,
    target: Target,
    groups: Sequence[Sequence[Unit]],
    kept: Bool[np.ndarray, "coalitions players"],
    places: tuple[int, ...],
) -> Float[np.ndarray, " coalitions"]:
    found = []
    # Where only the last position changes, a coalition is a step behind what comes ahead of it.
    alone = places == (target.position,)
    prefix = read_prefix(model, prompt, target.position) if alone else None
    for part in batches(kept.tolist(), prompt.n_positions):
        where: Positions | tuple[int, ...] = places if prefix is None else "all"
        silent = ([g for g, here in zip(groups, row, strict=True) if not here] for row in part)
        changes = [Intervention([unit for group in row for unit in group], where) for row in silent]
        with intervened(model, changes, prompt.patches):
            if prefix is None:
                rows, behind = prompt.repeated(len(part)), prompt.n_positions - target.position
                logits = model.read(rows, keep=behind).logits[:, 0]
            else:
                logits = prefix.read(model, len(part))
        found.append(logits[:, target.token_id].float().cpu())
    whole = torch.cat(found)
    require_finite(model, whole)
    return whole.double().numpy()
