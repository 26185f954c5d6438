"""Percentile bootstrap intervals; the photo is the unit of resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


def mean(values: np.ndarray) -> float:
    """Return the mean of a sample."""
    return float(np.mean(values))


def median(values: np.ndarray) -> float:
    """Return the median of a sample."""
    return float(np.median(values))


# Statistics that are known to be taken of many draws at once, to the bit the same.
_OF_ROWS: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
    (mean, np.mean),
    (median, np.median),
    (np.mean, np.mean),
    (np.median, np.median),
)
_NUMBERS_AT_ONCE = 1 << 20


def bootstrap(
    *samples: Sequence[float] | np.ndarray,
    statistic: Callable[..., float] = mean,
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Return a statistic of paired samples with its percentile interval (Efron 1979).

    Each draw takes the same photos, with replacement, from every sample. `mean` and `median`
    of this module are fastest: they are taken of many draws at once.

    Raises:
        ValueError: the samples are empty or of different lengths.
    """
    columns = [np.asarray(sample, dtype=float) for sample in samples]
    n = len(columns[0])
    if n == 0 or any(len(column) != n for column in columns):
        raise ValueError("bootstrap takes non-empty samples of one length")
    rng = np.random.default_rng(seed)
    values: list[float] = []
    known = (of_rows for one, of_rows in _OF_ROWS if one is statistic)
    of_rows = next(known, None) if len(columns) == 1 else None
    step = max(1, _NUMBERS_AT_ONCE // n) if of_rows else 1
    for start in range(0, draws, step):
        rows = rng.integers(n, size=(min(step, draws - start), n))
        if of_rows:
            values.extend(of_rows(columns[0][rows], axis=1))
        else:
            values.append(statistic(*(column[rows[0]] for column in columns)))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(*columns)), float(low), float(high), n)
