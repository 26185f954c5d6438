"""The atlas: what every unit writes, searchable without a model.

`open_atlas` reads one: a unit by its name, units by the words they write. `build_atlas` makes one
from a model's weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from molyneux.atlas.reading import Atlas, open_atlas
from molyneux.atlas.records import (
    AtlasUnit,
    Found,
    Measured,
    Neighbour,
    StrongestPhoto,
    Taken,
    WordCount,
    Writes,
)

if TYPE_CHECKING:
    from molyneux.atlas.build import build_atlas

__all__ = [
    "Atlas",
    "AtlasUnit",
    "Found",
    "Measured",
    "Neighbour",
    "StrongestPhoto",
    "Taken",
    "WordCount",
    "Writes",
    "build_atlas",
    "open_atlas",
]


def __getattr__(name: str) -> Any:
    if name == "build_atlas":  # which imports torch; readers need none
        from molyneux.atlas.build import build_atlas

        return build_atlas
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
