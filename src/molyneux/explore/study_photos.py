"""The photos of studies, whose folders keep none: from a data set, where the bytes are the same."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from molyneux.data.dataset import Dataset, Item, Span
from molyneux.data.selection import select
from molyneux.errors import PhotoError, UsageError
from molyneux.explore.uploads import PREFIX, as_shown
from molyneux.pages.study_run import StudyRun
from molyneux.store import write_at_once

KEPT = 64
"""Pictures that are kept as they are shown, of some 100 kB each, and files of our own."""
_LOOKED_AT = 50
"""Photos of a study of which one at least has to be in the data set."""


class StudyPhotos:
    """The photos of a data set, for studies that recorded the SHA-256 of theirs.

    Attributes:
        name: of the data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Read which photos a data set has.

        Raises:
            UsageError: two of them have one id, or there is none.
        """
        self.name = dataset.name
        self._selection = select(dataset)
        self._ids = frozenset(self._selection.ids)
        self._same: dict[tuple[Path, int], bool] = {}
        self._shown: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._files: OrderedDict[tuple[Path, int], Path] = OrderedDict()
        self._folder: Path | None = None
        self._one = threading.Lock()

    def require_some(self, run: StudyRun) -> None:
        """Raise if no photo of a study is in the data set.

        Raises:
            UsageError: none is.
        """
        measured = run.measured()[:_LOOKED_AT]
        if measured and not any(run.glance(number)["id"] in self._ids for number in measured):
            raise UsageError(
                f"{self.name} has none of the photos of {run.folder.name}; give --photos the data "
                "set that the study was made with"
            )

    def has(self, run: StudyRun, number: int) -> bool:
        """Return whether the data set has a study's photo, byte for byte.

        Raises:
            RunError: the photo's part is missing or damaged.
        """
        key = run.folder, number
        if key not in self._same:
            self._same[key] = self._is_same(run, number)
        return self._same[key]

    def shown(self, run: StudyRun, number: int) -> bytes:
        """Return a study's photo as a JPEG, made anew.

        Raises:
            UsageError: the data set does not have it, or no longer as the study saw it.
            PhotoError: it cannot be read.
        """
        key = run.folder, number
        with self._one:
            if key not in self._shown:
                item = self._as_recorded(run, number)
                try:
                    photo = item.read()
                except PhotoError as error:
                    raise _unreadable(item) from error
                self._shown[key] = as_shown(photo)
                while len(self._shown) > KEPT:
                    self._shown.popitem(last=False)
            self._shown.move_to_end(key)
            return self._shown[key]

    def file(self, run: StudyRun, number: int) -> Path:
        """Return a file of our own with the bytes of a study's photo.

        The data set's might be another by the time that it is read.

        Raises:
            UsageError: the data set does not have it, or no longer as the study saw it.
            PhotoError: it cannot be read, or not be kept.
        """
        key = run.folder, number
        with self._one:
            if key not in self._files:
                item = self._as_recorded(run, number)
                assert isinstance(item.source, bytes)
                try:
                    path = self._own_folder() / secrets.token_urlsafe(12)
                    write_at_once(path, item.source)
                except OSError as error:
                    raise PhotoError(
                        f"cannot keep {item.id}: {error.strerror}; free some space for temporary "
                        "files"
                    ) from error
                self._files[key] = path
                while len(self._files) > KEPT:
                    _, oldest = self._files.popitem(last=False)
                    oldest.unlink(missing_ok=True)
            self._files.move_to_end(key)
            return self._files[key]

    def _own_folder(self) -> Path:
        """Return a folder that is deleted with this object, or at the end of the process."""
        if self._folder is None:
            # What a server leaves that is killed, the next one deletes by this name.
            self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def _as_recorded(self, run: StudyRun, number: int) -> Item:
        """Return a study's photo with its bytes, read once, which are those that it was of."""
        item = self._item(run, number)
        try:
            source = item.source
            if isinstance(source, Path):
                content = source.read_bytes()
            else:
                content = source.read() if isinstance(source, Span) else source
        except (OSError, PhotoError) as error:  # which name a file
            raise _unreadable(item) from error
        if sha256(content).hexdigest() != run.glance(number)["sha256"]:
            self._same[run.folder, number] = False
            raise UsageError(f"there is no picture of photo {number}")
        return replace(item, source=content)

    def _is_same(self, run: StudyRun, number: int) -> bool:
        recorded = run.glance(number)
        if recorded["sha256"] is None or recorded["id"] not in self._ids:
            return False
        try:
            return bool(self._named(recorded["id"]).sha256() == recorded["sha256"])
        except PhotoError:
            return False

    def _item(self, run: StudyRun, number: int) -> Item:
        if not self.has(run, number):
            raise UsageError(f"there is no picture of photo {number}")
        return self._named(run.glance(number)["id"])

    def _named(self, name: str) -> Item:
        for _, item in self._selection.only([name]).items():
            return item
        raise PhotoError(f"{self.name} has no photo {name} any more; start anew")


def _unreadable(item: Item) -> PhotoError:
    return PhotoError(f"the photo {item.id} cannot be read")
