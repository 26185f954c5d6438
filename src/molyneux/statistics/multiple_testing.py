"""Which of many tests to believe: false-discovery control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def benjamini_hochberg(
    p_values: Sequence[float] | np.ndarray, q: float = 0.05
) -> tuple[Bool[np.ndarray, "*tests"], Float[np.ndarray, "*tests"]]:
    """Return which tests are discoveries, and their adjusted p, in the shape given.

    Of the discoveries at most a share q is expected to be false, where tests are independent
    or positively dependent (Benjamini and Hochberg 1995; Benjamini and Yekutieli 2001).

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=float)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError("benjamini_hochberg takes p-values between 0 and 1")
    flat = p.ravel()
    order = np.argsort(flat, kind="stable")
    stepped = flat[order] * flat.size / np.arange(1, flat.size + 1)
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(1, np.minimum.accumulate(stepped[::-1])[::-1])
    adjusted = adjusted.reshape(p.shape)
    return adjusted <= q, adjusted
