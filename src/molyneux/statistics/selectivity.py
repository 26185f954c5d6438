"""The arithmetic of E5: whether a set is most active on its own class, and how many units are.

The photo is the unit of resampling: confirmation photos are drawn again within their class, the
sets being given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata

DRAWS = 2000
SHUFFLES = 999
_NUMBERS_AT_ONCE = 1 << 21


def class_means(
    values: Float[np.ndarray, "photos columns"], classes: Int[np.ndarray, " photos"], n: int
) -> Float[np.ndarray, "classes columns"]:
    """Return each column's mean over the photos of each of `n` classes, which all have some."""
    member = (classes[None, :] == np.arange(n)[:, None]).astype(float)
    found: np.ndarray = member @ values / member.sum(axis=1, keepdims=True)
    return found


def dominance(
    means: Float[np.ndarray, "*draws classes sets"],
    spread: Float[np.ndarray, "*draws sets"],
    own: Int[np.ndarray, " sets"],
) -> Float[np.ndarray, "*draws three"]:
    """Return, over sets: the share most active on their own class, the mean rank of the own
    class (1 is the most active), and the mean of own minus the other classes' mean in units of
    `spread`.

    Of equal classes each has the mean of their ranks, and none is the most active.
    """
    sets = np.arange(len(own))
    mine = means[..., own, sets][..., None, :]
    above = (means > mine).sum(axis=-2)
    level = (means == mine).sum(axis=-2) - 1
    rank = 1 + above + level / 2
    others = (means.sum(axis=-2) - mine[..., 0, :]) / (means.shape[-2] - 1)
    difference = mine[..., 0, :] - others
    contrast = np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    return np.stack([(rank == 1).mean(-1), rank.mean(-1), contrast.mean(-1)], axis=-1)


def measured_dominance(
    values: Float[np.ndarray, "photos sets"],
    classes: Int[np.ndarray, " photos"],
    own: Int[np.ndarray, " sets"],
    n: int,
) -> Float[np.ndarray, " three"]:
    """Return `dominance` of sets on photos; the spread is the standard deviation over photos."""
    return dominance(class_means(values, classes, n), values.std(axis=0), own)


def resampled_means(
    values: Float[np.ndarray, "photos columns"],
    classes: Int[np.ndarray, " photos"],
    n: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Iterator[Float[np.ndarray, "draws classes columns"]]:
    """Yield class means of bootstrap draws within each class, a block of draws at a time.

    Which photos are drawn depends on the classes, the draws and the seed, not on the values.
    """
    members = [np.flatnonzero(classes == c) for c in range(n)]
    rng = np.random.default_rng(seed)
    times = [rng.multinomial(len(m), np.full(len(m), 1 / len(m)), size=draws) for m in members]
    step = max(1, _NUMBERS_AT_ONCE // max(1, n * values.shape[1]))
    for start in range(0, draws, step):
        part = slice(start, start + step)
        yield np.stack(
            [t[part] @ values[m] / len(m) for t, m in zip(times, members, strict=True)], axis=1
        )


def resampled_dominance(
    values: Float[np.ndarray, "photos sets"],
    classes: Int[np.ndarray, " photos"],
    own: Int[np.ndarray, " sets"],
    n: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Float[np.ndarray, "draws three"]:
    """Return `measured_dominance` of bootstrap draws within each class."""
    sizes = np.bincount(classes, minlength=n)[:, None] / len(classes)
    centred = values - values.mean(axis=0)  # keeps the variance from drowning in the mean
    both = np.concatenate([centred, centred**2], axis=1)
    found = []
    for block in resampled_means(both, classes, n, draws=draws, seed=seed):
        means, squares = np.split(block, 2, axis=2)
        variance = (squares * sizes).sum(axis=1) - (means * sizes).sum(axis=1) ** 2
        found.append(dominance(means, np.sqrt(np.maximum(variance, 0)), own))
    return np.concatenate(found)


def shuffled_dominance(
    values: Float[np.ndarray, "photos sets"],
    classes: Int[np.ndarray, " photos"],
    own: Int[np.ndarray, " sets"],
    n: int,
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> Float[np.ndarray, "shuffles three"]:
    """Return `measured_dominance` with the labels shuffled over photos."""
    rng = np.random.default_rng(seed)
    spread, size = values.std(axis=0), np.bincount(classes, minlength=n)[:, None]
    step = max(1, _NUMBERS_AT_ONCE // (n * len(classes)))
    found = []
    for start in range(0, shuffles, step):
        count = min(step, shuffles - start)
        labels = rng.permuted(np.tile(classes, (count, 1)), axis=1)
        member = (labels[:, None, :] == np.arange(n)[None, :, None]).astype(float)
        means = member @ values / size
        found.append(dominance(means, np.broadcast_to(spread, (count, len(own))), own))
    return np.concatenate(found)


def shuffled_p(
    observed: Float[np.ndarray, " three"], shuffled: Float[np.ndarray, "shuffles three"]
) -> Float[np.ndarray, " three"]:
    """Return one-sided p-values: how often shuffled labels do as well (a low rank is good).

    The observed labels count as one of the shuffles (Phipson and Smyth 2010).
    """
    direction = np.array([1.0, -1.0, 1.0])
    as_well = (shuffled * direction >= observed * direction - 1e-12).sum(axis=0)
    p: np.ndarray = (1 + as_well) / (1 + len(shuffled))
    return p


def mann_whitney_greater(
    values: Float[np.ndarray, "photos units"], classes: Int[np.ndarray, " photos"], n: int
) -> Float[np.ndarray, "classes units"]:
    """Return the p-value of each unit being more active on each class than on all the rest.

    One-sided Mann-Whitney test, normal approximation with continuity and tie correction; a unit
    with one value on all photos has p = 1.
    """
    photos = len(classes)
    ranks = rankdata(values, axis=0)
    # A tie of t values puts each of them t = 2 (highest - mean rank) + 1.
    ties = 2 * (rankdata(values, method="max", axis=0) - ranks) + 1
    correction = (ties**2 - 1).sum(axis=0) / (photos * (photos - 1))
    size = np.bincount(classes, minlength=n)[:, None]
    rest = photos - size
    u = class_means(ranks, classes, n) * size - size * (size + 1) / 2
    deviation = np.sqrt(np.maximum(size * rest / 12 * (photos + 1 - correction), 0))
    excess = u - size * rest / 2 - 0.5
    z = np.divide(excess, deviation, out=np.full_like(excess, -np.inf), where=deviation > 0)
    p: np.ndarray = norm.sf(z)
    return p


def jackknife(
    statistic: Callable[[Int[np.ndarray, " kept"]], Float[np.ndarray, " several"]],
    classes: Int[np.ndarray, " photos"],
    *,
    groups: int = 20,
) -> tuple[Float[np.ndarray, " several"], Float[np.ndarray, " several"]]:
    """Return statistics of all photos, and their standard errors by a grouped jackknife.

    For counts of significant tests, which a bootstrap inflates: a photo drawn twice is taken
    for two. The groups take an equal part of every class, or one photo of it.

    Args:
        statistic: takes the rows of photos.
    """
    place = np.zeros(len(classes), dtype=int)
    for c in np.unique(classes):
        rows = np.flatnonzero(classes == c)
        place[rows] = np.arange(len(rows))
    groups = min(groups, int(np.bincount(classes).min()))
    group = place % groups
    every = np.arange(len(classes))
    left = np.stack([statistic(every[group != g]) for g in range(groups)])
    error = np.sqrt((groups - 1) / groups * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    return statistic(every), error
