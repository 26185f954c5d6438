"""How far two distributions lie apart, with the photo as the unit of resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_PAIRS_EXACT = 10**6  # above, the exact p is slow and the asymptotic one no different


@dataclass(frozen=True)
class DistributionDistance:
    """The Kolmogorov-Smirnov distance D of two distributions.

    Attributes:
        d: largest difference of the two cumulative shares, 0 to 1.
        p: of a D as large where all values are independent draws from one distribution. Values
            of one photo are not independent, and a large p is no proof of equality.
        high95: upper 95 % bound of D over resampled photos. D cannot fall below 0, so that
            resampling overstates it: the bound is on the safe side.
        n: photos.
        n_values: values on either side.
    """

    d: float
    p: float
    high95: float
    n: int
    n_values: tuple[int, int]


def kolmogorov_smirnov(
    a: Sequence[np.ndarray | Sequence[float]],
    b: Sequence[np.ndarray | Sequence[float]],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> DistributionDistance:
    """Return the distance of two sets of values, each given as one array per photo.

    D and p are the two-sample test's over all values (Hodges 1958); the bound is the 95th
    percentile of D over draws that take whole photos, the same ones from both sides.

    Raises:
        ValueError: the sides are not the same photos, or one has no value.
    """
    from scipy.stats import ks_2samp

    sides = [[np.asarray(values, dtype=float).ravel() for values in side] for side in (a, b)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError("kolmogorov_smirnov takes the same photos on both sides")
    values = [np.concatenate([np.empty(0), *side]) for side in sides]
    sizes = (len(values[0]), len(values[1]))
    if min(sizes) == 0 or any(np.isnan(side).any() for side in values):
        raise ValueError("kolmogorov_smirnov takes at least one value a side, and no NaN")
    method = "exact" if sizes[0] * sizes[1] <= _MOST_PAIRS_EXACT else "asymp"
    test = ks_2samp(*values, method=method)
    found = _resampled(sides, values, draws, seed)
    high = float(np.quantile(found, 0.95))
    return DistributionDistance(
        float(test.statistic), float(test.pvalue), high, len(sides[0]), sizes
    )


def _resampled(
    sides: list[list[np.ndarray]], values: list[np.ndarray], draws: int, seed: int
) -> np.ndarray:
    """Return D of every draw of photos: the largest step sum of the signed, weighted values."""
    n = len(sides[0])
    pooled = np.concatenate(values)
    order = np.argsort(pooled, kind="stable")
    pooled = pooled[order]
    photo = np.concatenate([np.repeat(np.arange(n), [len(v) for v in side]) for side in sides])
    photo = photo[order]
    first = (np.arange(len(order)) < len(values[0]))[order]
    last_of_value = np.append(pooled[1:] != pooled[:-1], True)  # ties step together
    lengths = np.array([[len(v) for v in side] for side in sides])
    rng = np.random.default_rng(seed)
    found = np.zeros(draws)
    for draw in range(draws):
        times = np.bincount(rng.integers(n, size=n), minlength=n)
        totals = lengths @ times
        if totals.min() == 0:  # every drawn photo lacks values on one side
            found[draw] = 1.0
            continue
        weights = np.where(first, 1 / totals[0], -1 / totals[1]) * times[photo]
        found[draw] = np.abs(np.cumsum(weights)[last_of_value]).max()
    return found
