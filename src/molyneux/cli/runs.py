"""`molyneux runs`: the run folders below a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json

_DEPTH = 3


def runs(
    folder: Annotated[
        Path, typer.Argument(help="Where to look, three folders deep.", metavar="FOLDER")
    ] = Path("."),
    as_json: AsJson = False,
) -> int:
    """List run folders, and how far they are."""
    from molyneux.errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name one that holds runs")
    found = []
    for depth in range(_DEPTH + 1):
        for manifest in sorted(folder.glob("*/" * depth + "manifest.json")):
            described = _describe(manifest)
            if described is not None:
                found.append(described)
    found.sort(key=lambda run: (run["created"], run["run"]))
    if as_json:
        show_json({"runs": found})
        return 0
    for run in found:
        show(f"{run['created']}  {run['kind']:8} {run['state']:24} {run['run']}")
    if not found:
        note(f"no runs in {folder}; `molyneux explain` and `molyneux study` make some")
    return 0


def _describe(manifest: Path) -> dict[str, Any] | None:
    """Return what a manifest says, or None for a file of that name that is no run's."""
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
        kind, created = str(document["kind"]), str(document["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    folder = manifest.parent
    return {"run": str(folder), "kind": kind, "created": created, "state": _state(folder, document)}


def _state(folder: Path, document: dict[str, Any]) -> str:
    if document["kind"] != "study":
        return "with a page" if (folder / "report.html").is_file() else ""
    import pyarrow as pa

    from molyneux.errors import RunError
    from molyneux.studies.parts import PHOTO, read_parts

    try:
        parts = read_parts(folder, "photos", pa.schema([PHOTO.field("error")]))
    except RunError:
        return "a photo's part is damaged"
    bad = parts.num_rows - parts["error"].null_count
    good = parts.num_rows - bad
    unread = f", {bad} could not be read" if bad else ""
    if any((folder / "results").glob("*.json")):
        return f"finished, {good} photo{'s' if good != 1 else ''}{unread}"
    return f"{good} of {document['data']['photos']} photos{unread}"
