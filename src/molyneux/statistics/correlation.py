"""How two measurements go together: of the values, and of their ranks."""

from __future__ import annotations

import numpy as np
from scipy import stats


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation."""
    return float(stats.pearsonr(a, b)[0])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation."""
    return float(stats.spearmanr(a, b)[0])
