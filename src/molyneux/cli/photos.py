"""The photos a command was given: files, folders, names on stdin; refused before anything loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from molyneux.cli.output import note
from molyneux.errors import PhotoError, UsageError, printable

STDIN = "-"
_SHOWN = 3


def gather_photos(names: Sequence[str]) -> list[Path]:
    """Return the photos that are named, those of a folder in order of name.

    Raises:
        UsageError: one is not there, a folder has none, or an address is named.
        PhotoError: not one of them can be read.
    """
    photos = [photo for name in names for photo in _photos_of(name)]
    missing = [photo for photo in photos if not os.path.lexists(photo)]
    if missing:
        more = f" (and {len(missing) - _SHOWN} more)" if len(missing) > _SHOWN else ""
        listed = ", ".join(printable(photo) for photo in missing[:_SHOWN])
        raise UsageError(f"there is no {listed}{more}; check the spelling and the folder")
    _require_one(photos)
    return photos


def _photos_of(name: str) -> Iterator[Path]:
    from molyneux.data.folder import photos_in
    from molyneux.vision.photo import is_address

    if name == STDIN:
        yield from _named_on_stdin()
    elif not name:
        raise UsageError("a photo's name is empty; name a file, a folder, or - for stdin")
    elif is_address(name):
        raise UsageError(f"{name} is an address, and nothing is fetched; save the photo to a file")
    elif os.path.isdir(name):
        yield from sorted(photos_in(Path(name)), key=os.fsencode)
    else:
        yield Path(name)


def _named_on_stdin() -> Iterator[Path]:
    if sys.stdin.isatty():
        note("reading names of photos from stdin, one a line; Ctrl-D ends them")
    given = sys.stdin.buffer.read()
    names = given.split(b"\0") if b"\0" in given else given.splitlines()
    found = [os.fsdecode(name) for name in names if name.strip()]
    if not found:
        raise UsageError("no names of photos came on stdin; give one a line, or name the photos")
    for name in found:
        if name != STDIN:
            yield from _photos_of(name)


def _require_one(photos: Sequence[Path]) -> None:
    """Refuse photos of which not one can be read; those that go on say so one by one."""
    from molyneux.vision.photo import read_photo

    reasons = []
    for photo in photos:
        try:
            read_photo(photo)
        except PhotoError as error:
            reasons.append(str(error))
        else:
            return
    more = len(reasons) - _SHOWN
    raise PhotoError(
        "; ".join(reasons[:_SHOWN]) + (f"; and {more} more cannot be read" if more > 0 else "")
    )
