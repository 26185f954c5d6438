"""The photos of a folder, in a fixed order."""

from __future__ import annotations

from pathlib import Path

from molyneux.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def photos_in(place: Path) -> list[Path]:
    """Return the photos below a folder, sorted, or those a text file lists, one a line.

    Raises:
        UsageError: there is no such place, or no photo in it.
    """
    if place.is_file() and place.suffix == ".txt":
        names = place.read_text(encoding="utf-8").splitlines()
        found = [place.parent / name.strip() for name in names if name.strip()]
    elif place.is_dir():
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    else:
        raise UsageError(f"{place} is neither a folder of photos nor a .txt file that lists them")
    if not found:
        raise UsageError(f"no photos in {place}; it needs files that end in .jpg, .png, ...")
    return found
