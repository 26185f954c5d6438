"""How well maps agree with a mask: many maps at once, and the maps that no unit is needed for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.neurons.receptive_fields import PERCENTILE, upsample

_PIXELS = 64 * 224 * 224  # upsampled at once: 13 MB


@dataclass(frozen=True)
class MapScores:
    """What each field scores against one mask, upsampled to its size.

    Attributes:
        iou: of the receptive field (the pixels above the map's 95th percentile) with the mask.
        auprc: area under the precision-recall curve of the map itself.
    """

    iou: Float[np.ndarray, " maps"]
    auprc: Float[np.ndarray, " maps"]


class SortedMap:
    """A map with its pixels sorted: once, however many masks it is compared with."""

    def __init__(self, heat: Float[np.ndarray, "height width"]) -> None:
        self._values = heat.ravel()
        self._ascending = np.sort(self._values)
        n = len(self._values)
        # The percentile lies between two neighbours in order: what is above it is above the lower.
        self._threshold = self._ascending[math.floor(PERCENTILE * (n - 1))]
        self._covered = n - int(np.searchsorted(self._ascending, self._threshold, side="right"))

    def against(self, mask: Bool[np.ndarray, "height width"]) -> tuple[float, float]:
        """Return the map's IoU and AUPRC against a mask that is not empty.

        They are `iou` of `field_mask` and `average_precision`: a pixel of the mask has, at its own
        value, the precision (mask's pixels at least as hot) / (all pixels at least as hot), and
        the step integral is the mean of that over the mask.
        """
        hits = np.sort(self._values[mask.ravel()])
        n, total = len(self._values), len(hits)
        as_hot = n - np.searchsorted(self._ascending, hits, side="left")
        hits_as_hot = total - np.searchsorted(hits, hits, side="left")
        shared = total - int(np.searchsorted(hits, self._threshold, side="right"))
        return shared / (self._covered + total - shared), float((hits_as_hot / as_hot).mean())


def map_scores(
    fields: Float[Tensor, "maps rows columns"],
    masks: Bool[np.ndarray, "masks size size"],
    wanted: Bool[np.ndarray, "masks maps"],
) -> list[MapScores]:
    """Return, for each mask, what the wanted fields score against it once they are upsampled.

    Each field is upsampled and sorted once, and few are held at a time, whatever the size; what
    is not wanted is NaN.
    """
    size = masks.shape[-1]
    at_once = max(1, _PIXELS // size**2)
    found = np.full((2, *wanted.shape), np.nan)
    for start in range(0, len(fields), at_once):
        heat = upsample(fields[start : start + at_once], size).numpy()
        for place, one in enumerate(heat, start=start):
            ranked = SortedMap(one)
            for number in np.flatnonzero(wanted[:, place]):
                found[:, number, place] = ranked.against(masks[number])
    return [MapScores(iou, auprc) for iou, auprc in zip(*found, strict=True)]


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
