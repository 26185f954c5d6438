"""The measured photos on disk: one Parquet file per photo and phase, whole or not there.

A photo is the unit of work. Its file is written beside its place and moved there, so that a
process may be killed at any moment and any other may go on; two processes that measure the same
photo write the same bytes to the same place, so no photo is ever doubled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molyneux.data.dataset import Item
from molyneux.errors import MolyneuxError, PhotoError, RunError, is_out_of_memory, quote
from molyneux.parquet import parquet_bytes, read_parquet
from molyneux.store import Run

if TYPE_CHECKING:
    from molyneux.data.selection import Selection
    from molyneux.processes import Process
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.subject import ModelFacts


FOLDER = "parts"
TABLES = "tables"
MEASURED, SCORED = "photos", "texts"
"""The phase in which the model works, and the one in which texts are compared."""
SCORERS = "scorers.json"
"""What texts were compared with, beside the parts."""

PHOTO = pa.schema(
    [
        ("index", pa.int32()),
        ("id", pa.string()),
        ("sha256", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("error", pa.string()),
        ("caption", pa.string()),
        ("noun", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("human_nouns", pa.list_(pa.string())),
        ("categories", pa.list_(pa.string())),
    ]
)
"""What is kept of every photo, whatever is measured."""


def part_schema(tables: Mapping[str, pa.Schema]) -> pa.Schema:
    """Return the columns of a part: those of the photo, and each table as a list of rows."""
    lists = [pa.field(name, pa.list_(pa.struct(list(schema)))) for name, schema in tables.items()]
    return pa.schema([*PHOTO, *lists])


def part_path(run: Path, phase: str, index: int) -> Path:
    """Return where a photo's part lies."""
    return run / FOLDER / phase / f"{index:07d}.parquet"


def write_part(run: Path, phase: str, row: Mapping[str, Any], schema: pa.Schema) -> None:
    """Write one photo's part, as a whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    path = part_path(run, phase, row["index"])
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    contents = parquet_bytes(pa.Table.from_pylist([_writable(dict(row))], schema=schema))
    with Run.writing():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _writable(value: Any) -> Any:
    """Return a value whose texts Parquet can hold: half a surrogate pair is written as its escape.

    File names that are not UTF-8 come as such halves, and so do captions that were cut.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {name: _writable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in value]
    return value


def finished_parts(run: Path, phase: str) -> list[int]:
    """Return the numbers of the photos that a phase has measured, ascending."""
    folder = run / FOLDER / phase
    if not folder.is_dir():
        return []
    return sorted(int(p.stem) for p in folder.glob("*.parquet") if not p.name.startswith("."))


def read_part(run: Path, phase: str, index: int) -> dict[str, Any]:
    """Return one photo's part.

    Raises:
        RunError: it is missing or damaged.
    """
    row: dict[str, Any] = _read(part_path(run, phase, index)).to_pylist()[0]
    return row


def read_some(run: Path, phase: str, index: int, schema: pa.Schema) -> dict[str, Any]:
    """Return some columns of one photo's part.

    Raises:
        RunError: it is missing or damaged.
    """
    row: dict[str, Any] = _read(part_path(run, phase, index), schema.names).to_pylist()[0]
    return row


def read_parts(run: Path, phase: str, schema: pa.Schema) -> pa.Table:
    """Return a phase's parts as one table of the schema's columns, ordered by photo number.

    What a part from before a column was measured lacks is null.

    Raises:
        RunError: a part is missing or damaged.
    """
    paths = [part_path(run, phase, index) for index in finished_parts(run, phase)]
    tables = (_read(path, schema.names) for path in paths)
    return pa.concat_tables([schema.empty_table(), *(_fitted(table, schema) for table in tables)])


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(schema):
        return table
    return pa.Table.from_pylist(table.to_pylist(), schema=schema)


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return read_parquet(path, columns)
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"{path} is missing or damaged ({' '.join(str(error).split())[:160]}); delete it and "
            "run the same `molyneux study` again: only that photo is measured anew"
        ) from error


def flatten_rows(parts: pa.Table, column: str, photo: Sequence[int] | np.ndarray) -> pa.Table:
    """Return a table's rows of all photos, with the column `photo` first.

    Args:
        photo: the number each row of `parts` goes by in the column `photo`.
    """
    lists = parts[column].combine_chunks()
    rows = pc.list_flatten(lists)
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    numbers = pa.array(np.asarray(photo, dtype=np.int32)[parents])
    fields = lists.type.value_type
    columns = [rows.field(i) for i in range(fields.num_fields)]
    names = [fields.field(i).name for i in range(fields.num_fields)]
    return pa.table([numbers, *columns], names=["photo", *names])


def write_table(run: Run, name: str, table: pa.Table) -> None:
    """Write one table to `tables/<name>.parquet`."""
    run.write_bytes(f"{TABLES}/{name}.parquet", parquet_bytes(table.combine_chunks()))


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
    """What is told after each photo: `done` and `total` are this process's own.

    Attributes:
        before: photos that were done when this process came to the phase.
        said: the photo's caption, or why it could not be measured.
    """

    phase: str
    done: int
    total: int
    before: int
    id: str
    said: str
    process: Process


@dataclass(frozen=True)
class Underway:
    """A study that is being measured, as an experiment's own passes see it.

    Attributes:
        labelled: the photos with a class; empty where the study was given none.
        is_first: whether this process writes what there is one of.
    """

    facts: ModelFacts
    settings: StudySettings
    selection: Selection
    labelled: Selection | None
    run: Run
    is_first: bool

    def keep(self, name: str, table: pa.Table) -> None:
        """Write a table that belongs to the study, not to a photo, to `tables/<name>.parquet`."""
        if self.is_first:
            write_table(self.run, name, table)


def run_phase(
    folder: Path,
    phase: Phase,
    selection: Selection,
    process: Process,
    on_photo: Callable[[Progress], None] = lambda progress: None,
) -> None:
    """Measure this process's photos that have no part yet; then wait for the other processes.

    A photo that cannot be read gets a part with its `error`; the others go on. So does one that
    holds what no photo can (`PhotoError`). Any other error is one of the program, a setting or the
    machine, which would meet the next photo too: it ends the phase, and names the photo.

    Raises:
        RunError: a part cannot be written, or an error that was not foreseen.
    """
    own = range(process.rank, len(selection), process.world)
    finished = set(finished_parts(folder, phase.name)) & set(own)
    total = len(own)
    before = done = len(finished)
    for index, item in selection.items(process.rank, process.world, skip=finished.__contains__):
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
        except Exception as error:
            if isinstance(error, MolyneuxError) or is_out_of_memory(error):
                raise
            raise RunError(
                f"{item.id} could not be measured in the phase {phase.name}: "
                f"{type(error).__name__}: {quote(error)}; this was not foreseen: please report it "
                "with the traceback that --debug shows. The other photos are kept, and the same "
                "command goes on with them where this one is left out of the data set"
            ) from error
        write_part(folder, phase.name, row, phase.schema)
        done += 1
        on_photo(Progress(phase.name, done, total, before, item.id, said, process))
    process.wait()
