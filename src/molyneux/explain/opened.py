"""A run folder of `explain` read a photo at a time, whether it is finished or still going on.

A document of a thousand photos is a gigabyte. Where it is laid out as `ExplainFolder` joins it,
only the places of its photos are looked for, and a photo is read when it is asked for.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molyneux.errors import RunError, UsageError
from molyneux.explain.document import (
    SCHEMA,
    Document,
    Image,
    ModelRecord,
    Reading,
    SettingsRecord,
    read_document,
)
from molyneux.explain.folder import DOCUMENT, FIELDS, ExplainFolder, find_folder
from molyneux.models.trust import Trust
from molyneux.records import from_json

_OPENS, _CLOSES = b"\n  {\n", b"\n  }"
_LIST = b'"images": ['
_MAPS = ("F16", "F32", "F64")
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, kw_only=True)
class WordGlance:
    """What a list of photos shows of a word."""

    word: str
    probability: float
    span: tuple[int, int] | None = None
    trust: Trust | None = None


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What a list of photos shows of one of them: read alone, it is a tenth of the work.

    Attributes:
        path: as `Image` has it, like all that follows.
    """

    path: str
    caption: str | None = None
    error: str | None = None
    agrees: bool | None = None
    words: tuple[WordGlance, ...] = ()
    reading: tuple[Reading, ...] | None = None


class MapsError(RunError):
    """A photo's heat maps cannot be read; the rest of it can."""


class ExplainRun:
    """The photos of a run folder, those that are finished so far.

    Attributes:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        """Open a run folder.

        Raises:
            RunError: the folder is no run of `molyneux explain`, is of another version, or is
                damaged.
        """
        self.folder = folder
        self._going: ExplainFolder | None = find_folder(folder)
        self._document: _Document | None = None
        if self._going is None:
            self._joined()

    @property
    def model(self) -> ModelRecord:
        """What produced the numbers."""
        return self._head.model

    @property
    def settings(self) -> SettingsRecord:
        """What was asked."""
        return self._head.settings

    @property
    def total(self) -> int:
        """How many photos the run is of."""
        return len(self._going.names) if self._going else len(self._joined())

    @property
    def is_going(self) -> bool:
        """Whether its photos are not all joined."""
        return self._still_going() is not None

    def finished(self) -> int:
        """Return how many photos, counted from the first, can be read by now."""
        going = self._still_going()
        return len(self._joined()) if going is None else going.finished()

    def image(self, number: int) -> Image:
        """Return one photo of the document.

        Raises:
            UsageError: there is no such photo.
            RunError: it is not finished, or what is there is damaged.
        """
        text = self._text(number)
        return text if isinstance(text, Image) else from_json(Image, text, self._named(number))

    def glance(self, number: int) -> Glance | Image:
        """Return what a list of photos shows of one.

        Raises:
            UsageError: there is no such photo.
            RunError: it is not finished, or what is there is damaged.
        """
        text = self._text(number)
        return text if isinstance(text, Image) else from_json(Glance, text, self._named(number))

    def photo(self, number: int) -> Path | None:
        """Return the file of what lies under a photo's patches; None where there is none.

        Run folders are handed on, and what is found here is shown and copied: a link that leads
        elsewhere, or anything but a JPEG, is none.
        """
        path = self.folder / "photos" / f"{number}.jpg"
        try:
            if path.resolve() != self.folder.resolve() / "photos" / path.name or not path.is_file():
                return None
            with path.open("rb") as file:
                return path if file.read(len(_JPEG)) == _JPEG else None
        except OSError:
            return None

    def fields(self, number: int) -> dict[str, np.ndarray]:
        """Return a photo's heat maps, by `<word>.<ranking>.<view>` and that with `.set`.

        Raises:
            MapsError: they are of a kind of number that none is made of.
            RunError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path, prefix = self.folder / FIELDS, f"{number}."
        going = self._still_going()
        if going is not None:
            path, prefix = going.fields_of(number), ""
        if not path.is_file():
            return {}
        try:
            with safe_open(path, "numpy") as file:
                names = [n for n in file.keys() if n.startswith(prefix) and n != "none"]  # noqa: SIM118 -- it is no dictionary
                if any(file.get_slice(name).get_dtype() not in _MAPS for name in names):
                    raise MapsError(f"the heat maps of {self._named(number)} are no floats")
                return {
                    # Heat maps of `raw` once had another name.
                    name.removeprefix(prefix).replace(".top.", ".raw."): file.get_tensor(name)
                    for name in names
                }
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path} is damaged ({error}); make the run anew") from error

    def _named(self, number: int) -> str:
        return f"photo {number} of {self.folder}"

    def _text(self, number: int) -> bytes | Image:
        """Return a photo as its part or the document has it, or read if it had to be."""
        if not 0 <= number < self.total:
            raise UsageError(f"the run has no photo {number}: it is of {self.total}")
        going = self._still_going()
        if going is not None:
            try:
                return going.document_of(number).read_bytes()
            except OSError as error:  # it was joined just now, or is not finished
                if self._still_going() is not None:
                    raise RunError(f"photo {number} is not finished yet; wait for it") from error
        return self._joined().text(number)

    @property
    def _head(self) -> Document:
        return self._going.document if self._going else self._joined().head

    def _still_going(self) -> ExplainFolder | None:
        """Return the folder while it has parts; a finished run has a document instead."""
        if self._going is not None and not self._going.parts.is_dir():
            self._going = None
        return self._going

    def _joined(self) -> _Document:
        if self._document is None:
            self._document = _open_document(self.folder)
        return self._document


@dataclass(frozen=True)
class _Document:
    """A joined document, without its photos, and where each of them lies in the file."""

    path: Path
    head: Document
    places: Sequence[tuple[int, int]]
    read: Sequence[Image] = ()

    def __len__(self) -> int:
        return len(self.places) or len(self.read)

    def text(self, number: int) -> bytes | Image:
        if self.read:
            return self.read[number]
        start, stop = self.places[number]
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        except OSError as error:
            raise RunError(
                f"cannot read {self.path} ({error.strerror}); check its permissions"
            ) from error


def _open_document(folder: Path) -> _Document:
    """Return the document of a finished run; of another layout or version, read as a whole."""
    path = folder / DOCUMENT
    found = _located(path) if path.is_file() and path.stat().st_size else None
    if found is not None:
        return found
    document = read_document(folder)
    return _Document(path, document, (), document.images)


def _located(path: Path) -> _Document | None:
    """Return a document whose photos were found by their indent; None if it is laid out otherwise.

    Line breaks inside texts are escaped, so that no text of a document can look like the layout.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        begin = text.find(_LIST)
        if begin < 0:
            return None
        end = place = begin + len(_LIST)
        places = []
        # Only a list of the document itself has its entries at this indent.
        while text[place : place + len(_OPENS)] == _OPENS:
            end = text.find(_CLOSES, place)
            if end < 0:
                return None
            end += len(_CLOSES)
            places.append((place + 3, end))
            place = end + (text[end : end + 1] == b",")
        if not places or b"NaN" in text[:begin]:
            return None
        head = bytes(text[: begin + len(_LIST)]) + bytes(text[end:])
    try:
        found = json.loads(head)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        return None
    return _Document(path, from_json(Document, head, str(path)), places)
