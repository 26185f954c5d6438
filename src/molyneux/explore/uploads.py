"""Photos that are given to the page: bounded, looked at, and deleted when the server ends."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from molyneux.errors import PhotoError, RunError, UsageError, printable
from molyneux.vision.photo import read_photo

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MOST = 32
"""How many are kept; the oldest goes when another comes."""
_SHOWN = 1024
PREFIX = "molyneux-explore-"
"""Of folders of temporary files; the number of their process follows."""


@dataclass(frozen=True)
class Uploaded:
    """A photo that was given.

    Attributes:
        id: what pages call it; the name that its file had is on no address.
        name: that name, to be shown.
        path: where its bytes are.
        shown: the photo upright, made anew as a JPEG of at most 1024 pixels a side: the bytes
            that were given are never sent back.
        width: of the photo, upright, in pixels.
    """

    id: str
    name: str
    path: Path
    shown: bytes
    width: int
    height: int


class Uploads:
    """The photos that were given, in a folder of their own."""

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            RunError: it cannot be made.
        """
        _remove_left()
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        except OSError as error:
            raise RunError(
                f"there is no place for photos that are given: {error.strerror}; free some space "
                "for temporary files, or set TMPDIR to another folder"
            ) from error
        self._found: dict[str, Uploaded] = {}
        self._one = threading.Lock()

    def add(self, content: bytes, name: str) -> Uploaded:
        """Return a photo that was given; one is decoded at a time.

        Args:
            name: as a page sends it, percent-encoded.

        Raises:
            PhotoError: it is no photo, is damaged, or has more than `MAX_PIXELS` pixels.
        """
        called = _called(name)
        path = self._folder / secrets.token_urlsafe(12)
        with self._one:
            try:
                path.write_bytes(content)
                photo = read_photo(path, most_pixels=MAX_PIXELS)
            except PhotoError as error:
                path.unlink(missing_ok=True)
                raise PhotoError(str(error).replace(str(path), called)) from error
            except OSError as error:
                path.unlink(missing_ok=True)
                raise PhotoError(
                    f"cannot keep {called}: {error.strerror}; free some space for temporary files"
                ) from error
            found = Uploaded(path.name, called, path, as_shown(photo), *photo.size)
            self._found[found.id] = found
            while len(self._found) > MOST:
                oldest = self._found.pop(next(iter(self._found)))
                oldest.path.unlink(missing_ok=True)
        return found

    def get(self, name: str) -> Uploaded:
        """Return a photo by its id.

        Raises:
            UsageError: there is none, or it made place for newer ones.
        """
        found = self._found.get(name)
        if found is None:
            raise UsageError("that photo is not here any more; give it again")
        return found

    def close(self) -> None:
        """Delete them all."""
        self._found.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def _remove_left() -> None:
    """Delete what servers left that were killed before they could."""
    if os.name != "posix":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not number.isdigit():
                continue
            os.kill(int(number), 0)  # asks, and ends nothing
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, OverflowError):  # it runs, or another server was quicker
            continue


def _called(name: str) -> str:
    """Return the name of a photo's file as it can be shown, without the folders it was in."""
    last = unquote(name, errors="replace").replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    return printable(last.strip()[:100]) if last.strip() else "the given photo"


def as_shown(photo: Image.Image) -> bytes:
    """Return a photo as a JPEG of at most 1024 pixels a side."""
    small = photo.copy()
    small.thumbnail((_SHOWN, _SHOWN))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
