"""What pages show of where a run comes from: its command, settings, model and manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from molyneux.errors import RunError
from molyneux.explain.opened import ExplainRun
from molyneux.pages.runs import OpenRun
from molyneux.records import to_plain
from molyneux.store import MANIFEST

_SHOWN_APART = ("model", "settings", "photos")


def record(opened: OpenRun) -> dict[str, Any]:
    """Return how a run was made.

    Raises:
        RunError: its manifest is damaged.
    """
    run = opened.run
    manifest = _read(run.folder / MANIFEST)
    model: Any = manifest.get("model", {})
    settings: Any = manifest.get("settings", {})
    if isinstance(run, ExplainRun):
        model, settings = to_plain(run.model), to_plain(run.settings)
    reference = model.get("reference")
    return {
        "made": manifest.get("created"),
        "version": manifest.get("versions", {}).get("molyneux"),
        "command": " ".join(manifest.get("argv", ())) or None,
        "reference": None if reference is None else reference.get("photos"),
        "parts": {
            "settings": settings,
            "model": model,
            "manifest": {k: v for k, v in manifest.items() if k not in _SHOWN_APART},
        },
    }


def _read(path: Path) -> dict[str, Any]:
    """Return a manifest; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        # NaN and Infinity are Python's own; a browser would refuse the whole page for them.
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}); check its permissions") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); make the run anew") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged (not a JSON object); make the run anew")
    return found
