"""From one value per photo to a table's number: means and differences with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from molyneux.statistics.bootstrap import bootstrap, mean
from molyneux.studies.tables import Number

DRAWS = 2000
NONE = "no photo has one"


def over_photos(
    values: np.ndarray, statistic: Callable[..., float] = mean, why: str = NONE
) -> Number:
    """Return a statistic of the photos' values, those without one (NaN) left out.

    Args:
        why: what the cell says where no photo has a value.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Number.missing(why)
    return Number.of(bootstrap(values, statistic=statistic, draws=DRAWS))


def difference(own: np.ndarray, control: np.ndarray, why: str = NONE) -> Number:
    """Return the mean of own - control over the photos that have both."""
    return over_photos(np.asarray(own, dtype=float) - np.asarray(control, dtype=float), why=why)


def ratio(part: np.ndarray, whole: np.ndarray, why: str = NONE) -> Number:
    """Return mean(part) / mean(whole) over the photos that have both."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    both = ~np.isnan(part) & ~np.isnan(whole)
    part, whole = part[both], whole[both]
    if len(part) == 0 or whole.mean() == 0:
        return Number.missing(why)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = bootstrap(
            part, whole, statistic=lambda a, b: float(np.mean(a) / np.mean(b)), draws=DRAWS
        )
    ends = (found.low, found.high)
    low, high = (end if np.isfinite(end) else None for end in ends)
    return Number(found.value, low, high, found.n)


def is_above_zero(number: Number) -> bool:
    """Return whether a number's interval lies above 0."""
    return number.low is not None and number.low > 0
