"""How well a map agrees with a mask: area under precision and recall, IoU, and its ceiling."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def average_precision(
    heat: Float[np.ndarray, "*pixels"], mask: Bool[np.ndarray, "*pixels"]
) -> float:
    """Return the area under the precision-recall curve of a map against a mask, 0 to 1.

    The step integral: the precision at every distinct value of the map, times the recall gained
    there; pixels of one value count together, so their order cannot matter. Chance is the
    mask's share of the area. NaN where the mask is empty.
    """
    hits = mask.ravel()
    total = int(hits.sum())
    if total == 0:
        return float("nan")
    values = heat.ravel()
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], hits[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    found = np.cumsum(hits)[ends]
    gained = np.diff(found, prepend=0)
    return float((found / (ends + 1) * gained).sum() / total)


def iou(a: Bool[np.ndarray, "*pixels"], b: Bool[np.ndarray, "*pixels"]) -> float:
    """Return the intersection of two masks over their union, 0 to 1; NaN if both are empty."""
    union = int(np.logical_or(a, b).sum())
    return int(np.logical_and(a, b).sum()) / union if union else float("nan")


def iou_ceiling(area_share: float, covered: float = 0.05) -> float:
    """Return the largest IoU that a map covering a share of the photo can reach.

    Args:
        area_share: of the mask in the photo's area.
        covered: of the map; a receptive field thresholded at its 95th percentile covers .05.

    Raises:
        ValueError: a share is not between 0 and 1, or both are 0.
    """
    low, high = sorted((area_share, covered))
    if not (low >= 0 and 0 < high <= 1):
        raise ValueError("iou_ceiling takes shares between 0 and 1, not both 0")
    return low / high
