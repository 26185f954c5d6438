"""What chance alone does: other photos' pairings, labels exchanged, the best of several tries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np

MOST_DRAWS = 1_000_000


def derangement(n: int, seed: int) -> list[int]:
    """Return a random order of 0 to n - 1 in which nothing stays in its place.

    One cycle through all of them, each such cycle equally likely (Sattolo 1986).

    Raises:
        ValueError: fewer than two cannot be deranged.
    """
    if n < 2:
        raise ValueError("derangement takes two or more: one alone stays in its place")
    rng = np.random.default_rng(seed)
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        other = int(rng.integers(last))
        order[last], order[other] = order[other], order[last]
    return order


def best_of_k_expectation(values: Sequence[float] | np.ndarray, k: int) -> float:
    """Return the expected largest of k of the values, drawn without replacement; exact.

    The i-th smallest of n is the largest of the k in C(i-1, k-1) of C(n, k) draws. Photos with
    different numbers of values can thus be compared at one k, which their maxima cannot.

    Raises:
        ValueError: k is not between 1 and the number of values.
    """
    falling = np.sort(np.asarray(values, dtype=float))[::-1]
    n = len(falling)
    if not 1 <= k <= n:
        raise ValueError(f"best_of_k_expectation takes k from 1 to the {n} values there are")
    # C(i-2, k-1) / C(i-1, k-1) = (i-k) / (i-1): the chances follow from the largest's, k / n.
    rank = np.arange(n, 1, -1)
    chances = k / n * np.concatenate([[1.0], np.cumprod(np.maximum(rank - k, 0) / (rank - 1))])
    return float(chances @ falling)


def exchange_p(values: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> float:
    """Return how often values are so much larger than others if the labels mean nothing; exact.

    Of all ways to draw as many from both together, the share whose mean is at least that of
    `values` (Fisher 1935), so that it is never below 1 / C(n + m, n): with very few nothing is
    ever told apart. One-sided.

    Raises:
        ValueError: a group is empty, or there are more than a million ways.
    """
    n, both = len(values), np.concatenate([values, others]).astype(float)
    if not 0 < n < len(both):
        raise ValueError("exchange_p takes two groups of one or more")
    if comb(len(both), n) > MOST_DRAWS:
        raise ValueError(f"exchange_p tries every way, {MOST_DRAWS} at most; give fewer values")
    drawn = both[np.array(list(combinations(range(len(both)), n)))].sum(axis=1)
    slack = 1e-9 * max(float(np.abs(both).max()), 1e-30)  # sums in another order are equal
    return float((drawn >= drawn[0] - slack).mean())


def least_p(n: int, m: int) -> float:
    """Return the smallest `exchange_p` that groups of these sizes can have."""
    return 1 / comb(n + m, n)
