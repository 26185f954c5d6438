"""Intervals for photos and partners that both were drawn: the crossed bootstrap.

Every cell of a matrix photos x partners shares its photo with its row and its partner with its
column. Bootstrapping photos alone takes the partners for the only ones there are, and its
intervals are too narrow where partners differ. Here both are drawn, independently, with
replacement (McCullagh 2000; the pigeonhole bootstrap of Owen 2007, which errs on the wide side).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molyneux.statistics.bootstrap import Estimate

Cells = Sequence[Sequence[float]] | Sequence[float] | np.ndarray
"""Photos x partners, NaN where a photo was not compared with a partner; or one number for each
photo, which depends on no partner that is drawn."""

_DRAWS_AT_ONCE = 500


def crossed_mean(
    cells: Cells, *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Return the mean over photos of each photo's mean over its partners, with its interval.

    Raises:
        ValueError: there is no photo with a partner.
    """
    [value], [drawn], n = _means([cells], draws, seed)
    return _estimate(value, drawn, drawn, n, level)


def crossed_difference(
    cells: Cells, minus: Cells, *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Return the difference of two `crossed_mean`s of the same photos and partners.

    Each draw takes the same photos and partners from both.

    Raises:
        ValueError: there is no photo with a partner, or the two are of different photos.
    """
    (one, other), (first, second), n = _means([cells, minus], draws, seed)
    return _estimate(one - other, first - second, first - second, n, level)


def crossed_ratio(
    cells: Cells, over: Cells, *, draws: int = 10_000, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Return the ratio of two `crossed_mean`s: the fraction of a gain, as one of means.

    A draw in which what is divided by is not positive says nothing of the ratio: it counts as
    below and above everything, so that the interval ends nowhere if there are many of them.

    Raises:
        ValueError: there is no photo with a partner, the two are of different photos, or the mean
            that is divided by is not positive.
    """
    (one, other), (first, second), n = _means([cells, over], draws, seed)
    if not other > 0:
        raise ValueError(f"a fraction is taken of what is positive, not of {other:g}")
    there = second > 0
    ratio = first / np.where(there, second, 1.0)
    low, high = np.where(there, ratio, -np.inf), np.where(there, ratio, np.inf)
    return _estimate(one / other, low, high, n, level)


def _estimate(value: float, low: np.ndarray, high: np.ndarray, n: int, level: float) -> Estimate:
    ends = (1 - level) / 2, (1 + level) / 2
    # Order statistics: between a number and infinity there is nothing to interpolate.
    lowest = np.quantile(low, ends[0], method="lower")
    highest = np.quantile(high, ends[1], method="higher")
    return Estimate(float(value), float(lowest), float(highest), n)


def _means(
    tables: Sequence[Cells], draws: int, seed: int
) -> tuple[list[float], list[np.ndarray], int]:
    """Return each table's mean, its means over draws, and the number of photos that count.

    Of several tables, a photo counts where each has something of it: the photo's weight is one.
    """
    given = [np.asarray(table, dtype=float) for table in tables]
    columns = [table[:, None] if table.ndim == 1 else table for table in given]
    if any(table.ndim != 2 or len(table) != len(columns[0]) for table in columns):
        raise ValueError("the crossed bootstrap takes photos x partners, of the same photos")
    counts = np.logical_and.reduce([(~np.isnan(table)).any(axis=1) for table in columns])
    columns = [table[counts] for table in columns]
    photos = int(counts.sum())
    partners = {table.shape[1] for table, own in zip(columns, given, strict=True) if own.ndim == 2}
    if not photos or len(partners) > 1 or partners == {0}:
        raise ValueError("the crossed bootstrap takes photos, and the same partners in each table")
    n_partners = next(iter(partners), 1)
    crossed = [own.ndim == 2 for own in given]
    everything = np.ones((1, photos)), np.ones((1, n_partners))
    values = [float(found[0]) for found in _weighted(columns, crossed, *everything)]
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        weights = [
            rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float)
            for n in (photos, n_partners)
        ]
        parts.append(_weighted(columns, crossed, *weights))
    drawn = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return values, drawn, photos


def _weighted(
    tables: Sequence[np.ndarray],
    crossed: Sequence[bool],
    photos: np.ndarray,
    partners: np.ndarray,
) -> list[np.ndarray]:
    """Return each table's mean over photos of means over partners, for each row of weights."""
    rows, there = [], np.ones_like(photos, dtype=bool)
    for table, own in zip(tables, crossed, strict=True):
        weights = partners if own else np.ones((len(partners), 1))
        known = ~np.isnan(table)
        size = weights @ known.T.astype(float)
        total = weights @ np.where(known, table, 0.0).T
        there &= size > 0
        rows.append(total / np.where(size > 0, size, 1.0))
    # A photo none of whose partners was drawn is left out of this draw.
    kept = photos * there
    size = kept.sum(axis=1)
    nothing = size == 0
    found = [(kept * row).sum(axis=1) / np.where(nothing, 1.0, size) for row in rows]
    return [np.where(nothing, np.nan, each)[~nothing] for each in found]
