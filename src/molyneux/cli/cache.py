"""`molyneux cache`: the weights that are kept on this machine, and removing them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json


def cache(
    action: Annotated[
        Literal["show", "clear"],
        typer.Argument(help="Show what is there, or remove it.", metavar="ACTION"),
    ] = "show",
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Some of the folders shown; all if none.", metavar="NAME"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show what the cache holds, or clear it. MOLYNEUX_CACHE sets its place."""
    from molyneux.errors import UsageError
    from molyneux.weights.cache import cache_dir, cached_folders, remove_folder

    place, found = cache_dir(), cached_folders()
    if names:
        unknown = [name for name in names if name not in {each.name for each in found}]
        if unknown:
            raise UsageError(f"the cache has no {unknown[0]}; `molyneux cache` lists what it has")
        found = [each for each in found if each.name in names]
    total = sum(each.size for each in found)
    if action == "clear":
        asked = f"Remove {len(found)} folders, {in_words(total)}, from {place}?"
        if found and not yes and not typer.confirm(asked, err=True):
            note("nothing was removed")
            return 0
        for each in found:
            remove_folder(each)
    if as_json:
        rows = [{"name": f.name, "made_of": f.source, "bytes": f.size} for f in found]
        removed = action == "clear"
        show_json({"cache": str(place), "bytes": total, "removed": removed, "folders": rows})
        return 0
    if action == "clear":
        show(f"removed {len(found)} folders, {in_words(total)}, from {place}")
        return 0
    show(f"{place}: {in_words(total)}; MOLYNEUX_CACHE sets another place")
    for each in found:
        show(f"  {each.name}  {in_words(each.size)}, from {each.source}")
    note("models of the Hugging Face hub are in its own cache, which `hf cache` shows")
    return 0


def in_words(size: int) -> str:
    """Return a number of bytes with its unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"
