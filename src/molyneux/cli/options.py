"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[
    list[str],
    typer.Argument(
        help="Photos, folders of photos, or - for their names on stdin, one a line.",
        metavar="IMAGE",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def _require_free(path: Path | None) -> Path | None:
    from molyneux.store import require_free

    if path is not None:
        require_free(path)
    return path


Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Run folder; molyneux-runs/<time> here if not given.",
        callback=_require_free,
    ),
]
ScorerName = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        help="What says how much each unit contributes, perhaps with choices, as in "
        "gradient-activation:site=preactivation; gradient-activation if not given.",
    ),
]


Opens = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]


def open_page(page: Path) -> None:
    """Open a page in the user's browser; a machine without one is told where the page is."""
    import webbrowser

    from molyneux.cli.output import complain

    where = page.resolve()
    if not webbrowser.open(where.as_uri()):
        complain(f"molyneux: there is no browser to open {where} in")


def _require_folder(path: Path) -> Path:
    from molyneux.errors import UsageError

    if not path.is_dir():
        what = "is not a folder" if path.exists() else "is not there"
        raise UsageError(f"{path} {what}; name a run folder, as `molyneux runs` lists them")
    return path


RunFolder = Annotated[
    Path, typer.Argument(help="A run folder.", metavar="RUN", callback=_require_folder)
]
StudyFolder = Annotated[
    Path,
    typer.Argument(
        help="A run folder of `molyneux study`.", metavar="RUN", callback=_require_folder
    ),
]
