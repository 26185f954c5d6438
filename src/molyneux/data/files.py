"""Which files of a folder are data: photos by their suffix, and what a system left there not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from molyneux.vision.photo import SUFFIXES

_NOBODYS = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "icon\r",
}
_NOT_READ = {
    *(".heic", ".heif", ".hif", ".svg", ".pdf", ".psd", ".eps", ".j2k", ".jxl", ".tga", ".ico"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data: hidden, or left by a system.

    Such are `.DS_Store`, `._a.jpg`, `.ipynb_checkpoints`, `__MACOSX`, `Thumbs.db`, `desktop.ini`,
    `@eaDir`, and the `~$` files of an office program.
    """
    return name.startswith((".", "~$")) or name.lower() in _NOBODYS


def is_hidden_below(parts: Iterable[str]) -> bool:
    """Whether any part of a path, from the data set's folder on, is nobody's data."""
    return any(is_hidden(part) for part in parts if part not in (".", ".."))


def is_photo(path: Path) -> bool:
    """Whether a file's suffix is a photo's, in either case, and the file no system's own."""
    return path.suffix.lower() in SUFFIXES and not is_hidden(path.name)


def photos_below(folder: Path) -> Iterator[Path]:
    """Yield the photos in a folder and in all below that are not hidden, in no order."""
    return (path for path in files_below(folder) if path.suffix.lower() in SUFFIXES)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in all below that are not hidden, in no order."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(place, name) for name in files if not is_hidden(name))


def matching(folder: Path, *patterns: str) -> list[Path]:
    """Return the files in a folder that match a pattern and are not hidden, in order of name.

    Patterns are in lower case, and names of either case match them.
    """
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if any(fnmatchcase(path.name.lower(), pattern) for pattern in patterns)
        and not is_hidden(path.name)
        and path.is_file()
    )


def pictures_not_read(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder whose suffix is that of a picture that is not read here."""
    return (path for path in files_below(folder) if path.suffix.lower() in _NOT_READ)


def links_to_folders(folder: Path) -> Iterator[Path]:
    """Yield the links to folders below a folder, which are not followed: they may lead back."""
    for place, folders, _ in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(place, name) for name in folders if os.path.islink(Path(place, name)))
