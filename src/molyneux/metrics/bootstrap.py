"""Percentile bootstrap intervals; the photo is the unit of resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A statistic, its 95 % percentile bootstrap interval, and the photos behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def bootstrap(
    *samples: Sequence[float] | np.ndarray,
    statistic: Callable[..., float] = lambda values: float(np.mean(values)),
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return a statistic of paired samples with its percentile interval (Efron 1979).

    Each draw takes the same photos, with replacement, from every sample.

    Raises:
        ValueError: the samples are empty or of different lengths.
    """
    columns = [np.asarray(sample, dtype=float) for sample in samples]
    n = len(columns[0])
    if n == 0 or any(len(column) != n for column in columns):
        raise ValueError("bootstrap takes non-empty samples of one length")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = rng.integers(n, size=n)
        values.append(statistic(*(column[rows] for column in columns)))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(*columns)), float(low), float(high), n)
