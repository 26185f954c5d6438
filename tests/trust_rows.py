"""A made-up trust scale for tests: its photos' rows are drawn, not measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from molyneux.models.trust import Part, PhotoRow, PhotosUsed, TrustScale, measured_scale
from molyneux.statistics.calibration import STEPS

FLOOR_STEP = 12  # of the half-decades: nouns asked for are right from 10^-4 on


def calibrated(probability: float) -> float:
    return probability


def rows(
    part: Part,
    n: int,
    seed: int,
    truth: Callable[[float], float] = calibrated,
    elsewhere: float = 0.1,
) -> list[PhotoRow]:
    """Return photos whose first nouns are right as often as `truth` says of their probability."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        probability = float(f"{rng.uniform(0.05, 0.95):.6g}")
        asked = np.full(STEPS, 10)
        rates = np.where(np.arange(STEPS) < FLOOR_STEP, 0.002, 0.4)
        found.append(
            PhotoRow(
                photo=hashlib.sha256(f"{part} {seed} {number}".encode()).hexdigest(),
                part=part,
                probability=probability,
                right=bool(rng.random() < truth(probability)),
                asked=tuple(asked.tolist()),
                asked_right=tuple(rng.binomial(asked, rates).tolist()),
                right_elsewhere=bool(rng.random() < elsewhere),
            )
        )
    return found


def used(part: Part, n: int) -> PhotosUsed:
    return PhotosUsed(part=part, data={"name": "drawn"}, photos=n, without_noun=0, left_out=0)


def scale(provenance: dict[str, Any], **changes: Any) -> TrustScale:
    """Return a scale of 320 photos, checked on 200."""
    photos = [*rows("scale", 320, 1), *rows("check", 200, changes.pop("seed", 2), **changes)]
    return measured_scale(provenance, [used("scale", 320), used("check", 200)], photos)


def scale_of(model: Any, **changes: Any) -> TrustScale:
    """Return one that fits a model that sees."""
    provenance = {
        **model.names,
        "projection": model.projection.hash(),
        "layout": model.layout.record(),
    }
    return scale(provenance, **changes)


def trust(**changes: Any) -> dict[str, Any]:
    """Return what a document says of a first noun's trust."""
    return {
        "rate": 0.68,
        "low": 0.55,
        "high": 0.79,
        "photos": 54,
        "asked": False,
        "under_floor": False,
        "floor": 0.001,
        **changes,
    }


UNDER = trust(rate=None, low=None, high=None, photos=0, asked=True, under_floor=True)
