"""The files a page is made of, and the one it becomes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from molyneux.errors import RunError
from molyneux.store import write_at_once

PAGE = "report.html"


def packaged(name: str) -> str:
    """Return the text of a file that lies beside this one."""
    return files("molyneux.report").joinpath(name).read_text(encoding="utf-8")


def write_page(path: Path, text: str | Iterable[str]) -> Path:
    """Write a page, or the pieces of one, as a whole, or leave the one that is there.

    Raises:
        RunError: it cannot be written.
    """
    try:
        # A file name that is no text (lone surrogates) must not cost the page.
        pieces = [text] if isinstance(text, str) else text
        write_at_once(path, (piece.encode("utf-8", "replace") for piece in pieces))
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror}); free some space on its disk or check the "
            "folder's permissions, and run `molyneux report` on it again"
        ) from error
    return path
