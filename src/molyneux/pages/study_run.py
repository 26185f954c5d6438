"""A study's run folder a photo at a time, whether it is finished or still going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molyneux.errors import UsageError
from molyneux.studies.folder import RESULTS, read_results
from molyneux.studies.manifest import read_manifest
from molyneux.studies.parts import MEASURED, PHOTO, finished_parts, read_part, read_some
from molyneux.studies.results import Result


class StudyRun:
    """The photos of a study, those that are measured so far, and what it concluded.

    Attributes:
        folder: the run folder.
        manifest: as written when the study began.
    """

    def __init__(self, folder: Path) -> None:
        """Open a run folder.

        Raises:
            RunError: it is no study's.
        """
        self.folder = folder
        self.manifest: dict[str, Any] = read_manifest(folder)

    @property
    def total(self) -> int:
        """How many photos the study is of."""
        return int(self.manifest["data"]["photos"])

    def measured(self) -> list[int]:
        """Return the numbers of the photos that are measured by now, ascending."""
        return finished_parts(self.folder, MEASURED)

    def glance(self, number: int) -> dict[str, Any]:
        """Return what is kept of a photo whatever is measured.

        Raises:
            RunError: its part is missing or damaged.
        """
        return read_some(self.folder, MEASURED, number, PHOTO)

    def row(self, number: int) -> dict[str, Any]:
        """Return all that was measured of a photo, each table as a list of rows.

        Raises:
            UsageError: there is no such photo, or it is not measured yet.
            RunError: its part is damaged.
        """
        if number not in self.measured():
            raise UsageError(f"photo {number} is not measured, or is none of the {self.total}")
        return read_part(self.folder, MEASURED, number)

    def results(self) -> list[Result]:
        """Return what the study concluded; nothing while it goes on.

        Raises:
            RunError: a file is damaged.
        """
        return read_results(self.folder) if any((self.folder / RESULTS).glob("*.json")) else []
