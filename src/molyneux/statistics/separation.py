"""How well a number tells some of a kind from others."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats


def auroc(values: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Return how likely a positive has the larger value of a random pair; ties count as half.

    The area under the receiver operating characteristic: Mann-Whitney's U over the number of
    pairs. NaN without positives, or with nothing else.
    """
    n, others = int(positive.sum()), int((~positive).sum())
    if not n or not others:
        return float("nan")
    ranks = stats.rankdata(values)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * others))
