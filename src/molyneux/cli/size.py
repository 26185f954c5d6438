"""`molyneux size`: what a model needs, before it is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json

if TYPE_CHECKING:
    from molyneux.checkpoints.checkpoint_size import CheckpointSize
    from molyneux.models.presets import Preset


def size(
    model: Annotated[
        str,
        typer.Argument(
            help="A preset, a folder, a GGUF file or a hub name.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
) -> int:
    """Say what a model needs on the disk and in memory. Reads headers alone, fetches no weight."""
    from molyneux.checkpoints.checkpoint_size import size_of
    from molyneux.errors import MolyneuxError
    from molyneux.models.presets import PRESETS

    preset = PRESETS.get(model)
    sources = {"model": model} if preset is None else _sources(preset)
    parts = []
    for part, source in sources.items():
        note(f"looking at the headers of {source}")
        try:
            parts.append({"part": part, **_record(size_of(source)), "error": None})
        except MolyneuxError as error:
            if preset is None:
                raise
            parts.append({"part": part, **_UNKNOWN, "where": source, "error": str(error)})
    if as_json:
        needs = None if preset is None else preset.download_mb
        keeps = None if preset is None else preset.cache_mb
        show_json({"model": model, "download_mb": needs, "cache_mb": keeps, "parts": parts})
        return 0
    if preset is not None:
        show(f"{model}: {preset.download_mb:,} MB to fetch, {preset.cache_mb:,} MB in the cache")
    for found in parts:
        _show(found)
    return 0


_UNKNOWN: dict[str, Any] = {
    "here": False,
    "parameters": None,
    "stored": {},
    "disk_bytes": None,
    "memory_bytes": {},
}


def _sources(preset: Preset) -> dict[str, str]:
    """Return where a preset's parts are, as far as they have a header to look at."""
    from molyneux.weights.cache import RECORD, cache_dir

    found = {"language model": preset.language_model_source, "encoder": preset.encoder_source}
    if preset.published is None:
        for part, folder in zip(found, preset.folders, strict=False):
            place = cache_dir() / folder
            found[part] = str(place) if (place / RECORD).is_file() else None
    return {part: source for part, source in found.items() if source is not None}


def _record(found: CheckpointSize) -> dict[str, Any]:
    from molyneux.checkpoints.checkpoint_size import BYTES

    return {
        "where": found.where,
        "here": found.here,
        "parameters": found.parameters,
        "stored": dict(found.stored),
        "disk_bytes": found.disk_bytes,
        "memory_bytes": {dtype: found.memory_bytes(dtype) for dtype in BYTES},
    }


def _show(found: dict[str, Any]) -> None:
    from molyneux.cli.cache import in_words

    show(f"{found['part']}: {found['where']}")
    if found["error"]:
        show(f"  {found['error']}")
        return
    stored = ", ".join(f"{kind} {number:,}" for kind, number in found["stored"].items())
    show(f"  parameters: {found['parameters']:,} ({stored})")
    fetched = "here" if found["here"] else "to fetch"
    show(f"  on the disk: {in_words(found['disk_bytes'])}, {fetched}")
    memory = ", ".join(f"{in_words(size)} in {d}" for d, size in found["memory_bytes"].items())
    show(f"  in memory, the weights alone: {memory}")
