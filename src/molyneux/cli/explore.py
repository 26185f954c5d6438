"""`molyneux explore`: run folders and a model, to look into in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molyneux.cli.output import note, show


def explore(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run folders of `molyneux explain` and `molyneux study`.",
            metavar="RUN",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help="Where to serve; 8631, or any free one, if not given."
        ),
    ] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> int:
    """Look into runs in a browser, on this machine alone, until Ctrl-C."""
    from molyneux.explore.runs import open_runs
    from molyneux.explore.serve import HOST, listen, serve

    opened = open_runs(runs or [])
    at = listen(port)
    from molyneux.explore.app import make_app
    from molyneux.explore.guard import new_token
    from molyneux.explore.views import Views

    token = new_token()
    address = f"http://{HOST}:{at.getsockname()[1]}/?token={token}"

    def ready() -> None:
        show(address)
        note("molyneux: serving on this machine alone; Ctrl-C ends it")
        if opens:
            _open(address)

    app = make_app(Views(opened, lambda run, number: f"/api/image/{run}/{number}"), token)
    serve(app, at, ready)
    return 0


def _open(address: str) -> None:
    import webbrowser

    from molyneux.cli.output import complain

    if not webbrowser.open(address):
        complain(f"molyneux: there is no browser to open {address} in")
