"""The files a page is made of, and the one it becomes."""

from __future__ import annotations

import os
import secrets
from importlib.resources import files
from pathlib import Path

from molyneux.errors import RunError

PAGE = "report.html"


def packaged(name: str) -> str:
    """Return the text of a file that lies beside this one."""
    return files("molyneux.report").joinpath(name).read_text(encoding="utf-8")


def write_at_once(path: Path, text: str) -> Path:
    """Write a page as a whole, or leave the one that is there.

    Raises:
        RunError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        try:
            # A file name that is no text (lone surrogates) must not cost the page.
            partial.write_bytes(text.encode("utf-8", "replace"))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror}); free some space on its disk or check the "
            "folder's permissions, and run `molyneux report` on it again"
        ) from error
    return path
