"""Where the units of a run stand: which photos' lists, for which words; and what they write.

Read from the run's tables once, and kept as columns: a thousand photos list two million rows.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molyneux.errors import RunError
from molyneux.explain.folder import UNITS
from molyneux.explain.opened import ExplainRun
from molyneux.explain.tables import unit_rows
from molyneux.pages.study_run import StudyRun
from molyneux.parquet import read_batches

_TEXT = pa.dictionary(pa.int32(), pa.string())
_KEPT = pa.schema(
    [
        ("image", pa.int32()),
        ("word", _TEXT),
        ("view", _TEXT),
        ("ranking", _TEXT),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("score", pa.float32()),
        ("peak_patch", pa.int32()),
    ]
)
"""What is kept of a place in a list."""
_PLACE = [name for name in _KEPT.names if name not in ("layer", "unit")]
TOKENS, WORDS = 10, 8


@dataclass(frozen=True)
class Place:
    """A place of a unit in a list of a photo's word.

    Attributes:
        rank: from 0.
        peak_patch: its place in reading order; None at the last position, and of runs whose table
            is from before it was kept.
    """

    image: int
    word: str
    view: str
    ranking: str
    rank: int
    score: float
    peak_patch: int | None


class UnitLists:
    """The places of all units in the lists of a run, as far as it is finished."""

    def __init__(self, run: ExplainRun | StudyRun) -> None:
        self._run = run
        self._read: tuple[int, pa.Table] | None = None
        self._searched: tuple[int, list[dict[str, Any]]] | None = None
        self._reading, self._searching = threading.Lock(), threading.Lock()

    def ahead(self) -> Iterator[None]:
        """Read all that will be asked for, piece by piece; one who asks meanwhile waits for it.

        Raises:
            RunError: a table is missing or damaged.
        """
        with self._reading:
            yield from self._read_table()
        with self._searching:
            yield from self._search()

    def places(self, layer: int, unit: int) -> list[Place]:
        """Return where a unit stands, the first places first.

        Raises:
            RunError: a table is missing or damaged.
        """
        chosen = (pc.field("layer") == layer) & (pc.field("unit") == unit)
        return _places(self._table.filter(chosen).select(_PLACE).to_pylist())

    def all_places(self) -> Iterator[tuple[tuple[int, int], list[Place]]]:
        """Yield every listed unit, its layer and number, with its places.

        Raises:
            RunError: a table is missing or damaged.
        """
        table = self._table.sort_by([("layer", "ascending"), ("unit", "ascending")])
        rows = (row for batch in table.to_batches(10_000) for row in batch.to_pylist())
        for key, own in groupby(rows, lambda row: (row.pop("layer"), row.pop("unit"))):
            yield key, _places(list(own))

    def searched(self) -> list[dict[str, Any]]:
        """Return every listed unit with tokens that it writes and words that it is listed for.

        Raises:
            RunError: a table is missing or damaged.
        """
        with self._searching:
            for _ in self._search():
                pass
            assert self._searched is not None
            return self._searched[1]

    @property
    def _table(self) -> pa.Table:
        with self._reading:
            for _ in self._read_table():
                pass
            assert self._read is not None
            return self._read[1]

    def _read_table(self) -> Iterator[None]:
        photos = _finished(self._run)
        if self._read is not None and self._read[0] == photos:
            return
        parts = []
        for batch in _batches(self._run, _KEPT.names):
            parts.append(_small(batch))
            yield
        self._read = (photos, pa.Table.from_batches(parts, _KEPT).unify_dictionaries())

    def _search(self) -> Iterator[None]:
        photos = _finished(self._run)
        if self._searched is not None and self._searched[0] == photos:
            return
        tokens: dict[tuple[int, int], list[str]] = {}
        words: dict[tuple[int, int], Counter[str]] = {}
        for batch in _batches(self._run, ["layer", "unit", "word", "tokens"]):
            listed = pa.table({name: batch[name] for name in ("layer", "unit", "word")})
            counted = listed.group_by(["layer", "unit", "word"]).aggregate([([], "count_all")])
            for row in counted.to_pylist():
                own = words.setdefault((row["layer"], row["unit"]), Counter())
                own[row["word"]] += row["count_all"]
            numbers = listed["layer"].to_numpy().astype(np.int64) << 32
            _, first = np.unique(numbers | listed["unit"].to_numpy(), return_index=True)
            here = batch.take(pa.array(first)).select(["layer", "unit", "tokens"])
            for row in here.to_pylist():
                tokens.setdefault((row["layer"], row["unit"]), (row["tokens"] or [])[:TOKENS])
            yield
        rows = [
            {
                "id": f"L{layer}.u{unit}",
                "tokens": tokens[layer, unit],
                "words": [word for word, _ in words[layer, unit].most_common(WORDS) if word],
            }
            for layer, unit in sorted(tokens)
        ]
        self._searched = (photos, rows)


def _places(rows: list[dict[str, Any]]) -> list[Place]:
    found = [Place(**row) for row in rows]
    return sorted(found, key=lambda place: (place.rank, -abs(place.score), place.image))


def _small(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the columns that are kept, texts by their numbers; what is not there is null."""
    columns = []
    for field in _KEPT:
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, field.type))
        elif field.type == _TEXT:
            columns.append(batch[field.name].dictionary_encode())
        else:
            columns.append(batch[field.name].cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=_KEPT)


def _finished(run: ExplainRun | StudyRun) -> int:
    return len(run.measured()) if isinstance(run, StudyRun) else run.finished()


def _batches(run: ExplainRun | StudyRun, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows of all lists.

    Raises:
        RunError: a table is missing or damaged.
    """
    if isinstance(run, StudyRun):
        yield from _of_study(run, columns)
        return
    if not run.is_going:
        yield from _of_file(run.folder / UNITS, columns)
        return
    kinds = {f.name: pa.string() if f.type == _TEXT else f.type for f in _KEPT}
    kinds["tokens"] = pa.list_(pa.string())
    schema = pa.schema([(name, kinds[name]) for name in columns])
    for number in range(run.finished()):
        rows = list(unit_rows(number, run.image(number)))
        yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _of_file(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from read_batches(path, columns)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path} is missing or damaged; make the run anew") from error


def _of_study(run: StudyRun, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows of the lists that a finished study's E2 measured; none without it."""
    path = run.folder / "tables" / "e2_units.parquet"
    if not path.is_file():
        return
    rows = {number: run.glance(number) for number in run.measured()}
    nouns = {number: row["noun"] or "" for number, row in rows.items() if row["error"] is None}
    good = list(nouns)  # what tables count
    named = {"image": "photo", "word": "photo", "tokens": "text"}
    wanted = [named.get(name, name) for name in columns]
    for batch in _of_file(path, list(dict.fromkeys(wanted))):
        arrays: dict[str, pa.Array] = {}
        for name in columns:
            if named.get(name, name) not in batch.schema.names:
                continue
            there = batch[named.get(name, name)]
            if name in ("image", "word"):
                photos = [good[row] for row in there.to_pylist()]
                there = pa.array(photos if name == "image" else [nouns[n] for n in photos])
            elif name == "tokens":
                there = pa.array([(text or "").split() for text in there.to_pylist()])
            arrays[name] = there
        yield pa.RecordBatch.from_pydict(arrays)
