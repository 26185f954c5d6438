"""`molyneux data`: which data sets are known, how to get one, and whether a copy is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import show, show_json
from molyneux.errors import UsageError

if TYPE_CHECKING:
    from molyneux.data.catalogue import KnownSet

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Which photos: split=val2017, masks, captions, category=dog, listed=FILE, ...; "
        "may be given several times.",
    ),
]
Kind = Annotated[
    str | None, typer.Option("--kind", help="The data set's layout, where it is not clear.")
]


def data(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A known set, or the folder of any; known ones are listed without it.",
            metavar="NAME",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A local copy of the known set to check; no photo is decoded.", metavar="FOLDER"
        ),
    ] = None,
    kind: Kind = None,
    as_json: AsJson = False,
) -> int:
    """List data sets and layouts, say how to get a set, or check a folder."""
    from molyneux.data.catalogue import CATALOGUE, known_set
    from molyneux.data.copies import check_copy
    from molyneux.data.open import is_place, loaders

    if name is None:
        if as_json:
            show_json([known.record() for known in CATALOGUE.values()])
        else:
            for known in CATALOGUE.values():
                show(f"{known.name}  {known.title} ({known.size})")
            show("layouts that are read, also of other sets:")
            for loader in loaders().values():
                show(f"  {loader.kind}: {loader.known_by}")
        return 0
    if path is None and name.lower() not in CATALOGUE and is_place(name):
        found = {"set": None, **check_copy(name, kind)}
        if as_json:
            show_json({**found, "full": {}, "lacks": []})
        else:
            show(f"{found['data']['name']} at {found['data']['where']}")
            show(f"  photos: {found['photos']:,}; without a file: {found['missing']:,}")
            _show_contents(found, {})
        return int(bool(found["missing"]))
    known = known_set(name)
    if path is not None:
        if not path.is_dir():
            raise UsageError(f"there is no folder {path}; name the copy of {known.name} to check")
        found = {"set": known.name, **check_copy(path, kind or known.kind)}
        missing = _missing(known.has, found)
        if as_json:
            show_json({**found, "full": dict(known.photos), "lacks": missing})
        else:
            _show_copy(known, found, missing)
        return 1 if found["missing"] else 0
    if as_json:
        show_json(known.record())
        return 0
    show(f"{known.name}: {known.title}")
    show(f"photos: {known.size}")
    show(f"licence: {known.licence}")
    show("get:")
    for download in known.downloads:
        show(f"  {download.url}  ({download.size}: {download.what})")
    show(f"unpack to: {known.layout}")
    show(f"then: molyneux data {known.name} FOLDER")
    return 0


def _missing(has: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """Return what the set has elsewhere and this copy has nothing of."""
    return [what for what in has if not found[what]]


def _show_copy(known: KnownSet, found: dict[str, Any], lacks: list[str]) -> None:
    show(f"{found['set']} at {found['data']['where']}")
    show(f"  photos: {found['photos']:,}; the full set has {known.size}")
    show(f"  without a file: {found['missing']:,} of the {found['photos']:,}")
    _show_contents(found, known.photos)
    if lacks:
        show(f"  the full set also has {', '.join(lacks)}; `molyneux data {found['set']}`")


def _show_contents(found: dict[str, Any], full: Mapping[str, int]) -> None:
    for split, number in found["splits"].items():
        of = f" of {full[split]:,}" if split in full else ""
        show(f"  {split}: {number:,}{of} photos")
    show(f"  captions: {found['captions']}, on {found['with_captions']} photos")
    show(f"  categories: {found['categories']}, on {found['with_categories']} photos")
    show(f"  masks (a category in a photo): {found['masks']}, on {found['with_masks']} photos")
    if found["labels"]:
        show(f"  classes: {found['labels']}")
    for split in found["data"].get("splits_without_photos", ()):
        show(f"  annotated but without a folder of photos: {split}")
    if lines := found["data"].get("captions_without_photo"):
        show(f"  captioned but not there: {lines} photos")
    for line in found["left_out"]:
        show(f"  left out: {line}")
    for file in found["missing_first"]:
        show(f"  missing: {file}")
