"""How often what has nothing to do with a photo passes for what a page calls a unit."""

from __future__ import annotations

from math import ceil

from molyneux.explain.claims import percent
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


def sink_share(model: ModelRecord) -> str | None:
    """Say how many of the units would be sinks by chance; None where that is not known."""
    chance = sinks_by_chance(model)
    return None if chance is None else percent(max(chance, 1e-9))  # it is never quite zero


def sink_badge(model: ModelRecord) -> str | None:
    """Say what the badge of a sink means and how often a fake has it; None where it would not do.

    It would not where that is not known, or is more than one in twenty.
    """
    if (sinks_by_chance(model) or 0) > BADGE or (share := sink_share(model)) is None:
        return None
    return (
        "near the top for at least half of the reference photos; were places drawn anew at each "
        f"photo, {share} of units would be"
    )
