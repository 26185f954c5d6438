"""Whether a difference is small enough to be called none: two one-sided tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05


@dataclass(frozen=True)
class Equivalence:
    """A mean difference against a margin that was fixed beforehand.

    Attributes:
        mean: over photos, in the unit of the differences.
        low90: of the 90 % interval, which lies inside the margin if `equivalent`.
        high90: its other end.
        p: the larger p of the two one-sided tests.
        margin: differences of at least this size count as such.
        equivalent: whether p < .05. If not, nothing is shown: equal or different.
        n: photos.
    """

    mean: float
    low90: float
    high90: float
    p: float
    margin: float
    equivalent: bool
    n: int

    def __str__(self) -> str:
        verdict = "equivalent" if self.equivalent else "not shown equivalent"
        return (
            f"{self.mean:.3f} [{self.low90:.3f}, {self.high90:.3f}], {verdict} within "
            f"±{self.margin:g} (p = {self.p:.2g}, n = {self.n})"
        )


def paired_tost(differences: Sequence[float] | np.ndarray, margin: float) -> Equivalence:
    """Return whether a mean of paired differences lies within ±margin (Schuirmann 1987).

    Two paired t tests: against a mean of -margin or below, and of +margin or above.

    Args:
        differences: one per photo, the mean over what the photo holds several of.
        margin: fixed before looking, in the unit of the differences.

    Raises:
        ValueError: fewer than two differences, or a margin that is not positive.
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n < 2 or not margin > 0 or np.isnan(values).any():
        raise ValueError("paired_tost takes two differences or more, no NaN, and a margin above 0")
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / n**0.5
    if error == 0:
        low = high = mean
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        below = student.sf((mean + margin) / error, n - 1)
        above = student.cdf((mean - margin) / error, n - 1)
        p = float(max(below, above))
        half = float(student.ppf(1 - LEVEL, n - 1)) * error
        low, high = mean - half, mean + half
    return Equivalence(mean, low, high, p, float(margin), p < LEVEL, n)
