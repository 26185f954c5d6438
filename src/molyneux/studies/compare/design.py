"""What is measured of a photo: which units, put to what, and read at which words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.neurons.unit import Unit

UNIFORM, STRONG, TOP, EVERY = "uniform", "strong", "top", "all"
"""Samples: of all units alike, of those that write most, a scorer's first, and every unit."""
N_UNIFORM, N_STRONG, N_TOP = 100, 60, 20
STRONGEST = 0.01
"""The share of a layer's units that strong ones are drawn from."""
ZERO, MEAN, RESAMPLE = "zero", "mean", "resample"
"""What a unit is put to: nothing, its mean over reference photos, what it is at another photo."""
WORD, ABSENT = "word", "absent"
TARGETS = (WORD, ABSENT)
TOTAL, LARGEST = "total", "score"
"""A scorer's two numbers of a unit: the sum over patches, and the largest of them."""
RANKED_BY = (TOTAL, LARGEST)
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Shares of all units, in equal steps of the logarithm, or nearly so."""

WORDS = pa.schema(
    [
        ("target", pa.string()),
        ("word", pa.string()),
        ("token", pa.int32()),
        ("logit", pa.float64()),
        ("probability", pa.float64()),
        ("resampled", pa.string()),
    ]
)
"""The two words of a photo, and the SHA-256 of the photo that units are resampled from."""
EFFECTS = pa.schema(
    [
        ("sample", pa.string()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("put_to", pa.string()),
        ("target", pa.string()),
        ("logit", pa.float64()),
        ("log_probability", pa.float64()),
    ]
)
"""What a unit gives a word: the unchanged value minus that with the unit put to something."""
SCORES = pa.schema(
    [("target", pa.string()), ("ranking", pa.string()), ("values", pa.list_(pa.float32()))]
)
"""Of every unit, layer after layer."""
COST = pa.schema(
    [
        ("scorer", pa.string()),
        ("seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("peak_mib", pa.float64()),
        ("forward", pa.float64()),
        ("backward", pa.float64()),
        ("threads", pa.int32()),
    ]
)
"""Of scoring both words at once; `scorer` is its record, as JSON."""
SPENT = pa.schema([("put_to", pa.string()), ("units", pa.int32()), ("seconds", pa.float64())])
"""What exact effects took."""
KEPT = pa.schema(
    [
        ("ranking", pa.string()),
        ("target", pa.string()),
        ("set", pa.string()),
        ("share", pa.float64()),
        ("units", pa.int32()),
        ("log_probability", pa.float64()),
    ]
)
"""A word's log-probability where a set of units is put to the mean (`necessity`), or all units but
those (`sufficiency`); shares 0 and 1 are the ends of both."""
NECESSITY, SUFFICIENCY = "necessity", "sufficiency"


def phase_of(what: str, record: Mapping[str, Any]) -> str:
    """Return the name of a scorer's phase: with other choices, or other defaults, it is another.

    Args:
        record: the scorer's own.
    """
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return f"{what}-{record['name']}-{digest[:8]}"


def uniform_units(n_layers: int, d_mlp: int, seed: int, n: int = N_UNIFORM) -> list[Unit]:
    """Return units drawn from all layers but the last, each as likely as any other.

    What the last layer's units write at the patches reaches no other position. Of a small model
    they are half of the units at most.
    """
    total = (n_layers - 1) * d_mlp
    n = min(n, total // 2)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return [Unit(*divmod(place, d_mlp)) for place in sorted(order[:n].tolist())]


def strong_units(
    strength: Float[Tensor, "layers d_mlp"], seed: int, but: list[Unit], n: int = N_STRONG
) -> list[Unit]:
    """Return units drawn from the strongest of each layer, as many from each but the last.

    Of a small model they are a quarter of the units at most.

    Args:
        strength: |activation| x the norm of the output row.
        but: units that are not taken.
    """
    layers, d_mlp = strength.shape[0] - 1, strength.shape[1]
    generator = torch.Generator().manual_seed(seed)
    each, more = divmod(min(n, layers * d_mlp // 4), max(1, layers))
    luckier = set(torch.randperm(layers, generator=generator)[:more].tolist())
    taken = set(but)
    found: list[Unit] = []
    for layer in range(layers):
        wanted = each + (layer in luckier)
        pool = max(wanted, round(STRONGEST * d_mlp))
        order = strength[layer].double().sort(descending=True, stable=True).indices.tolist()
        free = [unit for unit in order if Unit(layer, unit) not in taken][:pool]
        drawn = torch.randperm(len(free), generator=generator)[:wanted].tolist()
        found += sorted(Unit(layer, free[place]) for place in drawn)
    return found


def effect_rows(
    sample: str,
    units: list[Unit],
    put_to: str,
    logit: Float[Tensor, "units tokens"],
    log_probability: Float[Tensor, "units tokens"],
) -> list[dict[str, Any]]:
    """Return rows of `EFFECTS`, of both words."""
    return [
        {
            "sample": sample,
            "layer": unit.layer,
            "unit": unit.unit,
            "put_to": put_to,
            "target": target,
            "logit": float(logit[row, column]),
            "log_probability": float(log_probability[row, column]),
        }
        for row, unit in enumerate(units)
        for column, target in enumerate(TARGETS[: logit.shape[1]])
    ]
