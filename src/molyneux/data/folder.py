"""The photos of a folder, in a fixed order."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from molyneux.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def photos_in(place: Path) -> list[Path]:
    """Return the photos below a folder, or those a text file lists, one a line, in its order.

    A folder's are in the order of the hashes of their names, so that the first of them are a
    fair sample of one that is sorted by class.

    Raises:
        UsageError: there is no such place, or no photo in it.
    """
    if place.is_file() and place.suffix == ".txt":
        try:
            names = place.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{place} is not UTF-8 text; it should list one photo a line"
            ) from error
        found = [place.parent / name.strip() for name in names if name.strip()]
    elif place.is_dir():
        found = sorted(
            (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES),
            key=lambda path: hashlib.sha256(os.fsencode(path.name)).digest(),
        )
    else:
        raise UsageError(f"{place} is neither a folder of photos nor a .txt file that lists them")
    if not found:
        raise UsageError(f"no photos in {place}; it needs files that end in .jpg, .png, ...")
    return found
