"""`molyneux models`: what exists ready-made."""

from __future__ import annotations

from typing import Any

from molyneux.cli.app import app
from molyneux.cli.options import AsJson, show, show_json


@app.command()
def models(as_json: AsJson = False) -> int:
    """List presets: parts, sizes, licences, limits, and whether they are in the cache."""
    from molyneux.models.presets import PRESETS, is_cached

    rows: list[dict[str, Any]] = [
        {
            "preset": preset.name,
            "language_model": preset.language_model,
            "encoder": preset.encoder,
            "layout": preset.layout,
            "download_mb": preset.download_mb,
            "cache_mb": preset.cache_mb,
            "cached": is_cached(preset),
            "licences": dict(preset.licences),
            "limits": list(preset.limits),
        }
        for preset in PRESETS.values()
    ]
    if as_json:
        show_json(rows)
        return 0
    for row in rows:
        where = "in the cache" if row["cached"] else f"{row['download_mb']} MB to fetch"
        show(f"{row['preset']}  ({where}; {row['cache_mb']} MB in the cache)")
        for name in ("language_model", "encoder", "layout"):
            show(f"  {name.replace('_', ' ')}: {row[name]}")
        for part, licence in row["licences"].items():
            show(f"  licence of the {part}: {licence}")
        for limit in row["limits"]:
            show(f"  limit: {limit}")
    return 0
