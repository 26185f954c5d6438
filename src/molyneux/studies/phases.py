"""Measuring items one by one into parts: the loop that is killed and resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError
from molyneux.studies.parts import finished_parts, part_schema, write_part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from molyneux.data.selection import Selection
    from molyneux.processes import Share


@dataclass(frozen=True)
class Phase:
    """One pass over a data set.

    Attributes:
        name: of its folder of parts.
        tables: what is measured on each photo.
        measure: takes a photo's number, its item and its sha256 and gives `caption`, `noun`,
            `human_nouns` (any of them may be left out) and the rows of every table.
    """

    name: str
    tables: Mapping[str, pa.Schema]
    measure: Callable[[int, Item, str], dict[str, Any]]

    @property
    def schema(self) -> pa.Schema:
        """The columns of its parts."""
        return part_schema(self.tables)


@dataclass(frozen=True)
class Progress:
    """What is told after each photo: `done` and `total` are this process's own."""

    phase: str
    done: int
    total: int
    before: int
    id: str
    said: str


def run_phase(
    folder: Path,
    phase: Phase,
    selection: Selection,
    share: Share,
    on_photo: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Measure this process's photos that have no part yet; then wait for the other processes.

    A photo that cannot be read gets a part with its `error`; the others go on.

    Raises:
        RunError: a part cannot be written.
    """
    own = range(share.rank, len(selection), share.world)
    finished = set(finished_parts(folder, phase.name)) & set(own)
    total = len(own)
    before = done = len(finished)
    for index, item in selection.items(share.rank, share.world, skip=finished.__contains__):
        row: dict[str, Any] = {
            "index": index,
            "id": item.id,
            "split": item.split,
            "label": item.label,
            "captions": list(item.captions),
            "categories": sorted(item.categories),
        }
        try:
            sha256 = item.sha256()
            row |= {"sha256": sha256, **phase.measure(index, item, sha256)}
            said = str(row.get("caption") or "")
        except PhotoError as error:
            row["error"] = said = str(error)
        write_part(folder, phase.name, row, phase.schema)
        done += 1
        on_photo(Progress(phase.name, done, total, before, item.id, said))
    share.wait()
