"""How often what has nothing to do with a photo passes for what a page calls a unit."""

from __future__ import annotations

from math import ceil

from molyneux.explain.document import ModelRecord

LEAST_SHARE, TOP = 0.5, 100
"""A sink unit is in the raw top 100 of at least half of the reference photos."""
BADGE = 0.05
"""A badge that lets through more than one fake in twenty is no badge."""


def sinks_by_chance(model: ModelRecord) -> float | None:
    """Return how often a unit would be a sink whose place were drawn anew at every photo.

    The upper tail of the binomial distribution: `n` reference photos, each with a chance of
    100 / units. None without reference photos.
    """
    from scipy.stats import binom

    photos = None if model.reference is None else model.reference.get("photos")
    if not isinstance(photos, int) or photos < 1:
        return None
    return float(binom.sf(ceil(LEAST_SHARE * photos) - 1, photos, min(1.0, TOP / model.n_units)))
