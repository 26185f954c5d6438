"""Which units are about *this* photo, rather than high for every photo."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def specific_scores(
    score: Float[Tensor, "layers d_mlp"],
    mean: Float[Tensor, "layers d_mlp"],
    deviation: Float[Tensor, "layers d_mlp"],
) -> Float[Tensor, "layers d_mlp"]:
    """Return (score - mean) / (deviation + d0), in units of that denominator.

    `mean` and `deviation` are of the same unit's score over reference photos, each with its own
    first noun. d0, the median deviation of the layer, keeps near-dead units from winning (the
    fudge factor of SAM: Tusher, Tibshirani and Chu 2001). Units whose score is not positive, units
    that never varied where d0 is 0 too, and layers without spread are -inf: they never rank.
    """
    d0 = deviation.median(dim=1, keepdim=True).values
    spread = deviation.amax(dim=1, keepdim=True) > 0
    denominator = deviation + d0
    specific = (score - mean) / denominator.clamp(min=torch.finfo(score.dtype).tiny)
    eligible = (score > 0) & spread & (denominator > 0)
    return torch.where(eligible, specific, torch.full_like(specific, -torch.inf))
