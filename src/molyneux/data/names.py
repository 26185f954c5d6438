"""Photos' names as others wrote them: on another system, as an address, or leading elsewhere."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from molyneux.data.texts import is_cut
from molyneux.vision.photo import is_address


def spellings(written: str) -> Iterator[str]:
    """Yield a name as it is written, and as another system, an address or a form may mean it.

    Backslashes are another system's slashes, `%20` is a space, `file://` says that a path follows,
    and an accent is a character of its own or part of the letter.
    """
    path = written
    if written.lower().startswith("file:/"):
        path = unquote("/" + written[5:].removeprefix("//").removeprefix("localhost").lstrip("/"))
    plain = dict.fromkeys((written, path, unquote(path)))
    plain |= dict.fromkeys([name.replace("\\", "/") for name in plain])
    seen = set()
    for name in plain:
        for spelling in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
            if spelling not in seen:
                seen.add(spelling)
                yield spelling


def as_it_is_here(written: str, there: Callable[[str], bool]) -> str:
    """Return the first spelling of a name that is there; with slashes, if none is.

    White space around it is none of it, unless a file is called so.
    """
    written, spaced = written.strip(), written
    if written == spaced and written.isascii() and not {"\\", "%", ":"} & {*written}:
        return written  # there is one spelling: nothing needs to be looked up
    found = (name for name in (spaced, *spellings(written)) if there(name))
    return next(found, written.replace("\\", "/"))


def inside(written: object) -> str:
    """Return a photo's name, which may not lead out of the data set, however it is read.

    Raises:
        ValueError: it does, or it is no name.
    """
    if not isinstance(written, str) or not written.strip() or is_cut(written):
        raise ValueError(f"{written!r} is no photo's name")
    if is_address(written) and not written.lower().startswith("file:"):
        raise ValueError(
            f"the photo {written} is an address, and addresses are not fetched; download the "
            "photos and name the files"
        )
    for name in spellings(written):
        for path in (PurePosixPath(name), PureWindowsPath(name), Path(name)):
            if path.is_absolute() or path.root or ".." in path.parts:
                raise ValueError(f"the photo {written} lies outside the data set")
    return written


def photo_file(folder: Path, written: str) -> Path:
    """Return the file that a name means in a folder, whether or not it is there."""
    return folder / as_it_is_here(written, lambda name: os.path.isfile(folder / name))
