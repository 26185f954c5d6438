"""Methods that score a few units and leave all others at 0, as Shapley values of some players."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_ARE_ZERO = 0.9


def is_of_few(score: Sequence[float] | np.ndarray) -> bool:
    """Return whether nearly all units have 0, which then says that they were not scored."""
    return bool(np.mean(np.asarray(score, dtype=float) == 0) > MOST_ARE_ZERO)


def ranked(score: np.ndarray) -> np.ndarray:
    """Return scores as they rank units: those that were not scored never do (-inf)."""
    return np.where(score == 0, -np.inf, score) if is_of_few(score) else score
