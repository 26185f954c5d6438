"""How often what was said at a probability was right, and whether that holds of other photos.

The photo is the unit throughout: one photo gives one first noun, and all nouns that are asked for
of one photo are drawn together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Values = Sequence[float] | Sequence[bool] | np.ndarray
LEAST = 50
"""How many photos a bin has at least."""
MOST_RIGHT = 0.1
"""Under the floor, fewer of the nouns asked for are right than this."""
LEVEL = 0.05
STEPS = 20
"""Half-decades of probability: below 10^-9.5, ten of 10^-9 ... up to 1."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """How often a first noun whose probability lies in a range is right.

    Attributes:
        least: lower end of the range; 0 of the first.
        below: its upper end, which is not in it; of the last bin 1, which is.
        photos: how many had such a first noun.
        right: of how many it is right.
        rate: `right` over `photos`.
        low: lower end of the 95 % interval of the rate (Wilson 1927).
        high: its upper end.
    """

    least: float
    below: float
    photos: int
    right: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class AskedBin:
    """How often a noun that was asked for, at a probability in a range, is right.

    Attributes:
        least: lower end of the range; 0 of the first.
        below: its upper end.
        photos: how many have such a noun.
        pairs: of a noun and a photo.
        right: in how many the noun is right of the photo.
        rate: `right` over `pairs`.
        low: lower end of the rate's 95 % interval over photos.
        high: its upper end.
    """

    least: float
    below: float
    photos: int
    pairs: int
    right: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """A scale held against photos that set no bin of it.

    Attributes:
        photos: how many.
        bins: the scale's ranges, with what these photos give in each that has any.
        error: expected calibration error: the mean over photos of |rate of the scale - rate of
            these photos in the bin|.
        p: how often chance alone gives so large an error where both sides have one rate a bin.
        brier: mean squared difference of the scale's rate and what holds (0 or 1).
        brier_of_one_rate: the same if the scale were its mean for every photo: what the
            probability adds is the difference.
    """

    photos: int
    bins: tuple[Bin, ...]
    error: float
    p: float
    brier: float
    brier_of_one_rate: float

    @property
    def fits(self) -> bool:
        """Whether chance alone may well give the error."""
        return self.p >= LEVEL


def interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, `right` of `n` (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(right, n).proportion_ci(1 - LEVEL, method="wilson")
    return float(found.low), float(found.high)


def equal_bins(probability: Values, right: Values, least: int = LEAST) -> tuple[Bin, ...]:
    """Return bins of as many photos each, at least so many, whose rates never fall.

    Where a bin's rate is below that of the bin before it, both are pooled, until none is (pool
    adjacent violators: Ayer et al. 1955): a higher probability never stands for a lower rate. A
    border lies in the middle between the photos beside it; photos of one probability share a bin.
    With fewer photos than `least`, there is no bin.
    """
    order = np.argsort(np.asarray(probability, dtype=float), kind="stable")
    values = np.asarray(probability, dtype=float)[order]
    holds = np.asarray(right, dtype=int)[order]
    n = len(values)
    if n < least:
        return ()
    cuts = [0]
    for part in range(1, n // least):
        cut = part * n // (n // least)
        while cut < n and values[cut] == values[cut - 1]:
            cut += 1
        if cut - cuts[-1] >= least and n - cut >= least:
            cuts.append(cut)
    pooled: list[tuple[int, int]] = []  # where a bin begins, and how many are right
    for start, stop in zip(cuts, [*cuts[1:], n], strict=True):
        pooled.append((start, int(holds[start:stop].sum())))
        end = stop
        while len(pooled) > 1:
            (a, right_a), (b, right_b) = pooled[-2:]
            if right_a * (end - b) < right_b * (b - a):
                break
            pooled[-2:] = [(a, right_a + right_b)]
    starts = [start for start, _ in pooled]
    edges = [0.0, *(float(values[s - 1] + values[s]) / 2 for s in starts[1:]), 1.0]
    return tuple(
        _bin(edges[i], edges[i + 1], stop - start, count)
        for i, ((start, count), stop) in enumerate(zip(pooled, [*starts[1:], n], strict=True))
    )


def _bin(least: float, below: float, photos: int, right: int) -> Bin:
    low, high = interval(right, photos)
    return Bin(
        least=least,
        below=below,
        photos=photos,
        right=right,
        rate=right / photos,
        low=low,
        high=high,
    )


def place_in(bins: Sequence[Bin] | Sequence[AskedBin], probability: float) -> int:
    """Return which bin a probability lies in."""
    return sum(probability >= each.least for each in bins[1:])


def check_bins(
    bins: Sequence[Bin],
    probability: Values,
    right: Values,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Check | None:
    """Return how a scale does on other photos; None without a bin or a photo.

    p: each draw gives the photos of either side of a bin, as many as there are, the rate of both
    sides together; it is the share of draws whose error reaches the one found, which counts as a
    draw itself.
    """
    if not bins or not len(probability):
        return None
    at = np.array([place_in(bins, float(each)) for each in probability])
    holds = np.asarray(right, dtype=float)
    n = np.bincount(at, minlength=len(bins))
    count = np.bincount(at, weights=holds, minlength=len(bins))
    scale_n, scale_right = (np.array([getattr(b, k) for b in bins]) for k in ("photos", "right"))
    rate = scale_right / scale_n

    def error(of_scale: np.ndarray, of_check: np.ndarray) -> np.ndarray:
        apart = np.abs(of_scale / scale_n - of_check / np.maximum(n, 1))
        return np.asarray((apart * n).sum(axis=-1) / n.sum())

    found = float(error(scale_right, count))
    rng = np.random.default_rng(seed)
    both = (scale_right + count) / (scale_n + n)
    drawn = error(
        rng.binomial(scale_n, both, size=(draws, len(bins))),
        rng.binomial(n, both, size=(draws, len(bins))),
    )
    one_rate = scale_right.sum() / scale_n.sum()
    return Check(
        photos=len(holds),
        bins=tuple(
            _bin(b.least, b.below, int(n[i]), int(count[i])) for i, b in enumerate(bins) if n[i]
        ),
        error=found,
        p=float((1 + (drawn >= found - 1e-12).sum()) / (1 + draws)),
        brier=float(np.mean((rate[at] - holds) ** 2)),
        brier_of_one_rate=float(np.mean((one_rate - holds) ** 2)),
    )


def half_decade(probability: np.ndarray | float) -> np.ndarray:
    """Return which of the `STEPS` half-decades probabilities lie in."""
    with np.errstate(divide="ignore"):
        steps = np.floor(2 * np.log10(np.asarray(probability, dtype=float))) + STEPS
    found: np.ndarray = np.clip(steps, 0, STEPS - 1).astype(int)
    return found


def asked_bins(
    pairs: np.ndarray,
    right: np.ndarray,
    least: int = LEAST,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[AskedBin, ...]:
    """Return how often nouns asked for are right, by half-decades of their probability.

    Half-decades are joined, from the lowest on, until they have `least` photos. The interval is
    the percentile bootstrap's over photos, which are drawn with all their nouns. Where no pair is
    right, or every one, that has no width: the end is then the exact one (Clopper and Pearson 1934)
    as if each photo were one pair.

    Args:
        pairs: photos x half-decades: how many nouns had such a probability.
        right: likewise: how many of them are right.
    """
    photos = len(pairs)
    starts, begin = [0], 0
    for step in range(1, STEPS):
        if (pairs[:, begin:step].sum(axis=1) > 0).sum() >= least:
            starts.append(step)
            begin = step
    while len(starts) > 1 and (pairs[:, starts[-1] :].sum(axis=1) > 0).sum() < least:
        starts.pop()
    if not photos or (pairs.sum(axis=1) > 0).sum() < least:
        return ()
    grouped = np.add.reduceat(pairs, starts, axis=1)
    holds = np.add.reduceat(right, starts, axis=1)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(photos, np.full(photos, 1 / photos), size=draws)
    drawn, drawn_right = times @ grouped, times @ holds
    found = []
    edges = [0.0, *(10 ** ((step - STEPS) / 2) for step in starts[1:]), 1.0]
    for i in range(len(starts)):
        there = drawn[:, i] > 0
        rates = drawn_right[there, i] / drawn[there, i]
        low, high = (float(each) for each in np.quantile(rates, [LEVEL / 2, 1 - LEVEL / 2]))
        n, of = int((grouped[:, i] > 0).sum()), int(grouped[:, i].sum())
        count = int(holds[:, i].sum())
        if count == 0:
            high = 1 - (LEVEL / 2) ** (1 / n)
        if count == of:
            low = (LEVEL / 2) ** (1 / n)
        found.append(
            AskedBin(
                least=edges[i],
                below=edges[i + 1],
                photos=n,
                pairs=of,
                right=count,
                rate=count / of,
                low=low,
                high=high,
            )
        )
    return tuple(found)


def floor_of(bins: Sequence[AskedBin], most: float = MOST_RIGHT) -> float | None:
    """Return the probability under which fewer than `most` of the nouns asked for are right.

    It is the upper end of the last bin of those, from the lowest on, of which all have the upper
    end of their interval below `most`. None if the lowest has not.
    """
    floor = None
    for each in bins:
        if each.high >= most:
            break
        floor = each.below
    return floor
