"""An atlas in pieces that a page searches by itself, where there is no server to ask.

What each unit writes is ten tokens an end, which are small as numbers: a page reads the layers it
is asked for as a whole, and finds a word in them quicker than an index of words could be read.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from molyneux.atlas import Atlas

UNITS = 1024
"""In a piece: some 60 kB of a vocabulary of up to 65,535 tokens."""
TOKENS = 6144
"""Of the vocabulary, in a piece."""
_MEASURED = ("effect", "effect_low", "effect_high", "n_effect", "mismatched_effect")


def atlas_parts(atlas: Atlas) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the data of each piece: what there is, the vocabulary, the units.

    Units are read through the lens that a search on the server reads them through.

    Raises:
        RunError: a file of the atlas is missing or damaged.
    """
    model, lens = atlas.index.model, atlas.as_lens(None)
    ends = [atlas.token_ids(f"{end}_{lens}") for end in ("top", "bottom")]
    small = np.dtype("<u2" if len(atlas.tokens) <= np.iinfo(np.uint16).max else "<u4")
    norms = atlas.units["output_norm"].to_numpy().astype("<f4")
    measured = _measured(atlas)
    yield (
        "atlas",
        {
            "model": model["language_model"],
            "lens": lens,
            "layers": model["n_layers"],
            "d_mlp": model["d_mlp"],
            "width": [end.shape[1] for end in ends],
            "bytes": small.itemsize,
            "units": UNITS,
            "tokens": -(-len(atlas.tokens) // TOKENS),
            "joined": atlas.joined is not None,
        },
    )
    for place, first in enumerate(range(0, len(atlas.tokens), TOKENS)):
        yield f"atlas/tokens.{place}", {"texts": atlas.tokens[first : first + TOKENS]}
    for place, first in enumerate(range(0, len(norms), UNITS)):
        rows = slice(first, first + UNITS)
        yield (
            f"atlas/units.{place}",
            {
                "ends": [_packed(end[rows].astype(small)) for end in ends],
                "norms": _packed(norms[rows]),
                "measured": [row for row in measured if first <= row[0] < first + UNITS],
            },
        )


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _measured(atlas: Atlas) -> list[list[Any]]:
    """Return what was measured of units that were switched off: place of the unit, then numbers."""
    if atlas.effects is None:
        return []
    table = atlas.effects.select(["layer", "unit", *_MEASURED])
    return [
        [row["layer"] * atlas.index.model["d_mlp"] + row["unit"], *(row[n] for n in _MEASURED)]
        for row in table.to_pylist()
        if row["effect"] is not None
    ]
