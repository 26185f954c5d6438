"""Options that several verbs share, and how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Photos = Annotated[list[Path], typer.Argument(help="Photos.", metavar="IMAGE", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Preset = Annotated[str, typer.Option("--preset", help="Which parts; `molyneux models` lists them.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder; molyneux-runs/<time> here if not given."),
]


def note(line: str) -> None:
    """Say a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a line of data on stdout."""
    print(text)  # noqa: T201


def show_json(document: Any) -> None:
    """Print a document on stdout."""
    show(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
