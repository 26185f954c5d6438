"""What pages show of a model's atlas: what a unit writes, and what looking for a word finds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from molyneux.atlas import Atlas, AtlasUnit, Found, open_atlas
from molyneux.atlas.reading import ORDERS, Order
from molyneux.errors import UsageError
from molyneux.models.presets import PRESETS
from molyneux.records import to_plain

MOST = 200
_TOKENS = 5


def shipped_atlas(preset: str | None, hashes: Mapping[str, Any]) -> Atlas | None:
    """Return the atlas that comes with a preset; None where it is of other weights, or none does.

    Args:
        hashes: of the model's parts, `language_model` among them.
    """
    if preset is None or preset not in PRESETS or PRESETS[preset].atlas is None:
        return None
    atlas = open_atlas(preset)
    return atlas if is_of(atlas, hashes) else None


def is_of(atlas: Atlas, hashes: Mapping[str, Any]) -> bool:
    """Return whether an atlas is of the weights of a run's language model."""
    return bool(atlas.index.model["sha256"] == hashes.get("language_model"))


def unit(atlas: Atlas, layer: int, number: int) -> dict[str, Any]:
    """Return what an atlas says of a unit, with its chance levels and what its neighbours write.

    Raises:
        UsageError: the model has no such unit.
        RunError: a file of the atlas is missing or damaged.
    """
    found = atlas.unit(f"L{layer}.u{number}")
    return {
        **to_plain(found),
        "chance": atlas.chance,
        "neighbour_tokens": {
            near.unit: _tokens(atlas.unit(near.unit)) for near in found.neighbours
        },
    }


def _tokens(of: AtlasUnit) -> tuple[str, ...]:
    """Return what a unit writes, through the lens that reads most."""
    return of.writes[-1].tokens[:_TOKENS] if of.writes else ()


def search(
    atlas: Atlas, q: str, layer: str = "", by: str = "", sign: str = "", limit: int = 50
) -> dict[str, Any]:
    """Return the units that write a word, then those that write what begins so.

    Args:
        q: the word.
        layer: one, as `5`, or some, as `5-12`; all if empty.
        by: one of `ORDERS`, or `layer`; by rank if empty.
        sign: `1`, `-1`, or empty for both.
        limit: at most so many.

    Raises:
        UsageError: there is no such layer or order, no token begins so, or effects are asked for
            and no run was joined.
    """
    if by not in ("", "layer", *ORDERS):
        raise UsageError(f"units are ordered by {', '.join(ORDERS)} or layer, not by {by[:20]!r}")
    order: Order = next((one for one in ORDERS if one == by), "rank")
    top = max(1, min(limit, MOST))
    chosen: dict[str, Any] = {
        "layer": _layers(layer),
        "sign": {"": None, "1": 1, "-1": -1}.get(sign),
        "by": order,
        "top": top,
    }
    begins = atlas.find(prefix=q, **chosen)
    found: dict[str, Found] = {}
    with suppress(UsageError):  # no token is the word itself
        found = {one.unit: one for one in atlas.find(q, **chosen)}
    for one in begins:
        found.setdefault(one.unit, one)
    rows = list(found.values())[:top]
    if by == "layer":
        rows.sort(key=lambda one: (one.layer, one.rank or 0))
    return {"rows": [to_plain(one) for one in rows]}


def _layers(text: str) -> int | tuple[int, int] | None:
    if not text.strip():
        return None
    found = re.fullmatch(r"\s*(\d{1,5})\s*(?:-\s*(\d{1,5})\s*)?", text, re.ASCII)
    if found is None:
        raise UsageError(f"layers are given as 5 or 5-12, not {text[:20]!r}")
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))
