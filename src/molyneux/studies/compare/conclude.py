"""The end of a comparison: its tables, and its effects as a data set, written to its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from molyneux.errors import UsageError
from molyneux.store import Run
from molyneux.studies.compare.gathered import read_photos
from molyneux.studies.compare.published import FOLDER, Published
from molyneux.studies.compare.summary import NAME, Gathered, document_rows, summarise
from molyneux.studies.folder import RESULTS
from molyneux.studies.manifest import COMPARED, read_manifest
from molyneux.studies.parts import write_table
from molyneux.studies.results import Result

AGREEMENT = "scorers_agreement"
"""The table of every photo's agreement, before it is averaged."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison in its folder: what is known of it so far.

    Attributes:
        photos: those with a word.
        whole: of how many of them every unit was measured.
        rows: those of `--json`.
        result: all tables.
    """

    folder: Path
    photos: int
    whole: int
    rows: list[dict[str, Any]]
    result: Result

    @property
    def effects(self) -> Path:
        """The folder of the data set of effects."""
        return self.folder / FOLDER


def conclude(folder: Path, *, writes: bool = True) -> Comparison:
    """Return what a comparison's folder says so far; tables and data set are written to it.

    Args:
        writes: whether they are: by one process of several.

    Raises:
        UsageError: no caption of its photos has a noun.
        RunError: the folder is no comparison's, a part is damaged, or it cannot be written.
    """
    manifest = read_manifest(folder, COMPARED)
    model = manifest["model"]
    found, published = Gathered(), Published()
    for photo in read_photos(folder, model["n_layers"], model["d_mlp"]):
        found.add(photo)
        published.add(photo)
    if not found.photos:
        raise UsageError("no photo could be compared: none was read, or no caption has a noun")
    run, result = Run(folder), summarise(found)
    if writes:
        published.write(run, manifest)
        if found.agreement:
            write_table(run, AGREEMENT, pa.Table.from_pylist(found.agreement))
        run.write_json(f"{RESULTS}/{NAME}.json", result.document())
    return Comparison(folder, found.photos, found.whole, document_rows(found), result)
