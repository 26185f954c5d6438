"""The photos of studies, whose folders keep none: from a data set, where the bytes are the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from molyneux.data.dataset import Dataset, Item
from molyneux.data.selection import select
from molyneux.errors import PhotoError, UsageError
from molyneux.explore.uploads import as_shown
from molyneux.pages.study_run import StudyRun

KEPT = 64
"""Pictures that are kept as they are shown, of some 100 kB each."""
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
            UsageError: the data set does not have it.
            PhotoError: it cannot be read.
        """
        key = run.folder, number
        with self._one:
            if key not in self._shown:
                item = self._item(run, number)
                try:
                    photo = item.read()
                except PhotoError as error:  # which names its file
                    raise PhotoError(f"the photo {item.id} cannot be read") from error
                self._shown[key] = as_shown(photo)
                while len(self._shown) > KEPT:
                    self._shown.popitem(last=False)
            self._shown.move_to_end(key)
            return self._shown[key]

    def file(self, run: StudyRun, number: int) -> Path | None:
        """Return the file of a study's photo; None where it lies in an archive.

        Raises:
            UsageError: the data set does not have it.
        """
        source = self._item(run, number).source
        return source if isinstance(source, Path) else None

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
