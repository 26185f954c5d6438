"""A run folder as one HTML page that opens from disk; no model is needed."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_report"]


def write_report(run: Path) -> Path:
    """Write the page of a run, whichever command made it, to `RUN/report.html`; return its path.

    Raises:
        RunError: the folder is no run, is of another version, is damaged, or cannot be written.
    """
    if _is_study(run):
        from molyneux.report.study_page import write_study_report

        return write_study_report(run)
    from molyneux.report.page import write_photo_report

    return write_photo_report(run)


def _is_study(run: Path) -> bool:
    try:
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # the page of photos says what is wrong
    return isinstance(manifest, dict) and manifest.get("kind") == "study"
