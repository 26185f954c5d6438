"""How far a photo moves every unit from what it does at other photos; no word enters."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.errors import UsageError


def change_scores(
    activation: Float[Tensor, "layers patches d_mlp"],
    mean: Float[Tensor, "layers d_mlp"],
    deviation: Float[Tensor, "layers d_mlp"],
    sinks: Bool[Tensor, " patches"] | None = None,
) -> Float[Tensor, "layers d_mlp"]:
    """Return how far each unit's activation in a photo is from other photos', in deviations.

    z = (a - m) / (d + d0), with a the mean activation over the photo's patches that are no sinks,
    m and d the mean and standard deviation of the same over reference photos, and d0 the median
    deviation of the layer (the fudge factor of SAM: Tusher, Tibshirani and Chu 2001). No word
    enters. Units that never varied where d0 is 0 too have z = 0.

    Raises:
        UsageError: all patches are sinks.
    """
    kept = activation if sinks is None else activation[:, ~sinks]
    if not kept.shape[1]:
        raise UsageError("all patches are sinks, so that none is left; give no sinks")
    d0 = deviation.median(dim=1, keepdim=True).values
    denominator = deviation + d0
    z = (kept.mean(dim=1) - mean) / denominator.clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(denominator > 0, z, torch.zeros_like(z))
