"""How well maps agree with a mask: many maps at once, and the maps that no unit is needed for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from molyneux.neurons.receptive_fields import PERCENTILE


@dataclass(frozen=True)
class Agreement:
    """What each map scores against one mask.

    Attributes:
        iou: of the map's receptive field (the pixels above its 95th percentile) with the mask.
        auprc: area under the precision-recall curve of the map itself.
    """

    iou: Float[np.ndarray, " maps"]
    auprc: Float[np.ndarray, " maps"]


def agreement(
    heat: Float[np.ndarray, "maps height width"], mask: Bool[np.ndarray, "height width"]
) -> Agreement:
    """Return each map's IoU and AUPRC against a mask that is not empty; one sort a map.

    They are `iou` of `field_mask` and `average_precision`: a pixel of the mask has, at its own
    value, the precision (mask's pixels at least as hot) / (all pixels at least as hot), and the
    step integral is the mean of that over the mask.
    """
    inside = mask.ravel()
    n, total = len(inside), int(inside.sum())
    below = math.floor(PERCENTILE * (n - 1))
    ious, areas = [], []
    for values in heat.reshape(len(heat), -1):
        ascending, hits = np.sort(values), np.sort(values[inside])
        as_hot = n - np.searchsorted(ascending, hits, side="left")
        hits_as_hot = total - np.searchsorted(hits, hits, side="left")
        areas.append(float((hits_as_hot / as_hot).mean()))
        # The percentile lies between two neighbours in order: what is above it is above the lower.
        threshold = ascending[below]
        covered = n - int(np.searchsorted(ascending, threshold, side="right"))
        shared = total - int(np.searchsorted(hits, threshold, side="right"))
        ious.append(shared / (covered + total - shared))
    return Agreement(np.array(ious, dtype=float), np.array(areas, dtype=float))


def centre_heat(size: int) -> Float[np.ndarray, "size size"]:
    """Return a map that always looks at the centre: minus the squared distance from it."""
    offset = 2.0 * np.arange(size) - (size - 1)  # in half pixels, so that all are whole numbers
    return np.asarray(-(offset[:, None] ** 2 + offset[None, :] ** 2))


def random_map(n_pixels: int, in_mask: int) -> tuple[float, float]:
    """Return the expected IoU and AUPRC of a map in random order, both exact.

    Its field is 5 % of the pixels, so the overlap is hypergeometric. The expected average
    precision over all orders of n pixels, R of them in the mask, is
    `(R - 1) / (n - 1) * (1 - H / n) + H / n` with H the n-th harmonic number: the mask's share of
    the area to within H / n.
    """
    from scipy.stats import hypergeom

    covered = n_pixels - 1 - math.floor(PERCENTILE * (n_pixels - 1))
    shared = np.arange(min(covered, in_mask) + 1)
    chances = hypergeom.pmf(shared, n_pixels, in_mask, covered)
    expected = float(chances @ (shared / (covered + in_mask - shared)))
    harmonic = float((1 / np.arange(1, n_pixels + 1)).sum()) / n_pixels
    rest = (in_mask - 1) / max(1, n_pixels - 1)
    return expected, rest * (1 - harmonic) + harmonic
