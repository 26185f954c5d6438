"""`molyneux explore`: run folders and a model, to look into in a browser."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molyneux.cli.model_choice import COMPARES, TRUSTS, ModelChoice, takes_model
from molyneux.cli.options import Opens, open_page
from molyneux.cli.output import complain, note, show
from molyneux.models import DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from molyneux.atlas import Atlas
    from molyneux.explore.study_photos import StudyPhotos
    from molyneux.pages.runs import OpenRun


@takes_model(*COMPARES, *TRUSTS, "lens")
def explore(
    model: ModelChoice,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run folders of `molyneux explain` and `molyneux study`, finished or not.",
            metavar="RUN",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            min=1,
            max=65535,
            help="Where to serve; 8631, or any that is free, if not given.",
        ),
    ] = None,
    no_live: Annotated[
        bool,
        typer.Option(
            "--no-live",
            help="Load no model to be asked; else the first run's preset, or the one named.",
        ),
    ] = False,
    atlas: Annotated[
        str | None,
        typer.Option(
            "--atlas",
            help="Another atlas than the preset's, of `molyneux atlas build` or `atlas join`.",
        ),
    ] = None,
    photos: Annotated[
        str | None,
        typer.Option(
            "--photos",
            metavar="DATA",
            help="The data set that a study was made with: its photos are shown, where they are "
            "the same byte for byte.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="DIR",
            help="Write the pages to a folder instead, which needs no server, and end.",
        ),
    ] = None,
    opens: Opens = False,
) -> int:
    """Look into runs, and ask a model, in a browser on this machine alone.

    Prints the address, and serves until Ctrl-C.
    """
    from molyneux.atlas import open_atlas
    from molyneux.errors import UsageError
    from molyneux.pages.runs import open_runs

    if export is not None and photos is not None:
        raise UsageError(
            "--photos goes with the server alone: an export holds no photos of a data set; leave "
            "one of them out"
        )
    if export is not None:
        return _export(runs or [], export, opens, atlas)
    opened = open_runs(runs or [])
    if no_live and not opened:
        raise UsageError("there is nothing to show: name a run, or leave --no-live out")
    given = None if atlas is None else open_atlas(atlas)
    pictures = None if photos is None else _pictures(photos, opened)
    chosen = None if no_live else _chosen(model, opened)
    if chosen is not None:
        chosen.require_ready()
    from molyneux.explore.serve import listen, serve

    at = listen(port)
    from molyneux.explore.explorer import address_of, explorer

    load = None if chosen is None else chosen.load
    with explorer(opened, load, given or _atlas(chosen, opened), pictures) as (app, token):
        address = address_of(at, token)

        def ready() -> None:
            show(address)
            loading = "" if chosen is None else f"; {chosen.title} is being loaded"
            note(f"molyneux: served on this machine alone, until Ctrl-C{loading}")
            if opens:
                _open(address)

        serve(app, at, ready)
    return 0


def _export(runs: list[Path], out: Path, opens: bool, atlas: str | None) -> int:
    """Write pages that need no server."""
    from molyneux.atlas import open_atlas
    from molyneux.errors import UsageError
    from molyneux.pages.export import export
    from molyneux.pages.runs import open_runs

    if not runs:
        raise UsageError("there is nothing to write: name a run, as `molyneux runs` lists them")
    opened, given = open_runs(runs), None if atlas is None else open_atlas(atlas)
    page = export(opened, out, lambda step: note(f"writing {step}"), given)
    show(f"page: {page}")
    if opens:
        open_page(page)
    return 0


def _pictures(photos: str, opened: Mapping[str, OpenRun]) -> StudyPhotos:
    """Return a data set's photos for the studies that are shown.

    Raises:
        UsageError: there is no study, no such data set, or it has no photo of a study.
    """
    from molyneux.data.open import open_dataset
    from molyneux.errors import UsageError
    from molyneux.explore.study_photos import StudyPhotos
    from molyneux.pages.study_run import StudyRun

    studies = [each.run for each in opened.values() if isinstance(each.run, StudyRun)]
    if not studies:
        raise UsageError(
            "--photos is for runs of `molyneux study`, and none is shown; a run of `molyneux "
            "explain` keeps its own"
        )
    found = StudyPhotos(open_dataset(photos))
    for study in studies:
        found.require_some(study)
    return found


def _atlas(chosen: ModelChoice | None, opened: Mapping[str, OpenRun]) -> Atlas | None:
    """Return the atlas of the preset that is loaded, where no run brings its own."""
    from molyneux.atlas import open_atlas
    from molyneux.models.presets import find_preset

    if opened or chosen is None or chosen.vlm or chosen.language_model:
        return None
    preset = chosen.preset or DEFAULT_PRESET
    return open_atlas(preset) if find_preset(preset).atlas is not None else None


def _chosen(model: ModelChoice, opened: Mapping[str, OpenRun]) -> ModelChoice | None:
    """Return the model to load: what was named, else the preset that the first run was made with.

    None where that run's model is no preset: which files it was made of is not known.
    """
    named = any(
        getattr(model, each.name) is not None
        for each in fields(model)
        if each.name in ("preset", "language_model", "vlm", "projection")
    )
    first = next(iter(opened.values()), None)
    if named or first is None:
        return model
    if first.preset is None:
        note(
            f"molyneux: {first.name} was made with no preset, so no model is loaded to be asked; "
            "name one, as with --vlm"
        )
        return None
    return replace(model, preset=first.preset)


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        complain(f"molyneux: there is no browser to open {address} in")
