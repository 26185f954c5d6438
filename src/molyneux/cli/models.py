"""`molyneux models`: what exists ready-made, and fetching what is not fetched unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json


def models(
    action: Annotated[
        Literal["list", "fetch"],
        typer.Argument(help="List presets, or fetch a preset's projection.", metavar="ACTION"),
    ] = "list",
    preset: Annotated[
        str | None, typer.Argument(help="Which one to fetch.", metavar="PRESET")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="A local copy of proj.ckpt, instead of the download."),
    ] = None,
    random_encoder: Annotated[
        bool,
        typer.Option("--random-encoder", help="The one trained with random encoder weights."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """List presets, or fetch one's projection.

    With parts, sizes, licences, limits, and whether the weights are here.
    """
    from molyneux.errors import UsageError

    if action == "list":
        if preset is not None or file is not None or random_encoder:
            raise UsageError("only fetch takes a preset; run `molyneux models fetch PRESET`")
        return _list(as_json)
    if preset is None:
        raise UsageError("name the preset to fetch, as in `molyneux models fetch gptj-beit`")
    return _fetch(preset, file, random_encoder, as_json)


def _list(as_json: bool) -> int:
    from molyneux.models.presets import PRESETS, pieces_of

    rows: list[dict[str, Any]] = []
    for preset in PRESETS.values():
        pieces = pieces_of(preset)
        rows.append(
            {
                "preset": preset.name,
                "language_model": preset.language_model,
                "encoder": preset.encoder,
                "layout": preset.layout,
                "download_mb": preset.download_mb,
                "missing_mb": sum(piece.mb for piece in pieces if not piece.here),
                "cache_mb": preset.cache_mb,
                "cached": all(piece.here for piece in pieces if piece.mb),
                "pieces": [
                    {"part": p.part, "source": p.source, "mb": p.mb, "here": p.here, "get": p.how}
                    for p in pieces
                ],
                "licences": dict(preset.licences),
                "limits": list(preset.limits),
            }
        )
    if as_json:
        show_json(rows)
        return 0
    for row in rows:
        where = "here" if row["cached"] else f"{row['missing_mb']:,} MB to fetch"
        show(f"{row['preset']}  ({where}; keeps {row['cache_mb']:,} MB in the cache)")
        for name in ("language_model", "encoder", "layout"):
            show(f"  {name.replace('_', ' ')}: {row[name]}")
        for piece in row["pieces"] if len(row["pieces"]) > 1 else ():
            size = f"{piece['mb']:,} MB, " if piece["mb"] else ""
            show(f"  {piece['part']}: {size}{'here' if piece['here'] else piece['get']}")
        for part, licence in row["licences"].items():
            show(f"  licence of the {part}: {licence}")
        for limit in row["limits"]:
            show(f"  limit: {limit}")
    return 0


def _fetch(name: str, file: Path | None, random_encoder: bool, as_json: bool) -> int:
    from molyneux.errors import UsageError
    from molyneux.models.presets import find_preset, pieces_of
    from molyneux.weights.limber import fetch_projection

    preset = find_preset(name)
    published = preset.control if random_encoder else preset.published
    if preset.published is None:
        raise UsageError(f"{name} is fetched at first use; run `molyneux demo`")
    if published is None:
        raise UsageError(
            f"no projection of {name} was published for an encoder with random weights; leave out "
            "--random-encoder"
        )
    path = fetch_projection(published, file=file, note=note)
    others = [piece for piece in pieces_of(preset) if piece.part != "projection" and not piece.here]
    if as_json:
        rows = [{"part": p.part, "source": p.source, "mb": p.mb, "get": p.how} for p in others]
        show_json({"projection": str(path), "git_blob": published.blob, "missing": rows})
        return 0
    show(f"{path}: git blob {published.blob}, as published")
    for piece in others:
        size = f"{piece.mb:,} MB, " if piece.mb else ""
        show(f"still to come: {piece.part} {piece.source} ({size}{piece.how})")
    return 0
