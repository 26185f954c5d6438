"""Heat maps as signed bytes of their own largest magnitude: enough for a picture."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_QUANTA = 127


def magnitude(field: Float[np.ndarray, "rows columns"]) -> float:
    """Return the largest |value| of a map, to four digits: what its bytes are shares of."""
    largest = float(np.abs(np.nan_to_num(field, posinf=0, neginf=0)).max(initial=0))
    return float(f"{largest:.4g}") if math.isfinite(largest) else 0.0


def as_bytes(fields: Float[np.ndarray, "maps rows columns"], largest: Sequence[float]) -> str:
    """Return maps in base64, a byte a patch: 127 stands for the map's own largest magnitude."""
    scale = np.array([value or 1.0 for value in largest]).reshape(-1, 1, 1)
    quanta = np.rint(np.nan_to_num(fields, posinf=0, neginf=0) / scale * _QUANTA)
    return base64.b64encode(quanta.clip(-_QUANTA, _QUANTA).astype(np.int8).tobytes()).decode()
