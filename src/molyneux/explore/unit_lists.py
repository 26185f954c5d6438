"""Where the units of a run stand: which photos' lists, for which words; and what they write.

Read from the run's tables once, and kept as columns: a thousand photos list two million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from molyneux.errors import RunError
from molyneux.explain.folder import UNITS
from molyneux.explain.opened import ExplainRun
from molyneux.explain.tables import unit_rows
from molyneux.explore.study_run import StudyRun
from molyneux.parquet import read_batches

LISTED = pa.schema(
    [
        ("image", pa.int32()),
        ("word", pa.string()),
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("score", pa.float32()),
        ("sign", pa.int8()),
    ]
)
"""What is kept of a place in a list."""
_TEXTS = ("word", "view", "ranking")
TOKENS, WORDS = 8, 8


@dataclass(frozen=True)
class Place:
    """A place of a unit in a list."""

    image: int
    word: str
    view: str
    ranking: str
    rank: int
    score: float
    sign: int


class UnitLists:
    """The places of all units in the lists of a run, as far as it is finished."""

    def __init__(self, run: ExplainRun | StudyRun) -> None:
        self._run = run
        self._table: pa.Table | None = None
        self._photos = -1
        self._searched: tuple[int, list[dict[str, Any]]] | None = None

    def places(self, layer: int, unit: int) -> list[Place]:
        """Return where a unit stands, the first places first.

        Raises:
            RunError: a table is missing or damaged.
        """
        table = self._read()
        here = table.filter((pc.field("layer") == layer) & (pc.field("unit") == unit))
        rows = here.select([name for name in LISTED.names if name not in ("layer", "unit")])
        found = [Place(**row) for row in rows.to_pylist()]
        return sorted(found, key=lambda place: (place.rank, -abs(place.score), place.image))

    def searched(self) -> list[dict[str, Any]]:
        """Return every listed unit with tokens that it writes and words that it is listed for.

        Raises:
            RunError: a table is missing or damaged.
        """
        self._read()
        if self._searched is None or self._searched[0] != self._photos:
            self._searched = (self._photos, self._search())
        return self._searched[1]

    def _read(self) -> pa.Table:
        photos = _finished(self._run)
        if self._table is None or photos != self._photos:
            parts = [_small(batch) for batch in _batches(self._run, LISTED.names)]
            self._table = pa.Table.from_batches(parts, _SMALL).unify_dictionaries()
            self._photos = photos
        return self._table

    def _search(self) -> list[dict[str, Any]]:
        tokens: dict[tuple[int, int], list[str]] = {}
        words: dict[tuple[int, int], Counter[str]] = {}
        for batch in _batches(self._run, ["layer", "unit", "word", "tokens"]):
            pairs = batch.select(["layer", "unit", "word"]).to_pydict()
            keys = list(zip(pairs["layer"], pairs["unit"], strict=True))
            new = [n for n, key in enumerate(keys) if key not in tokens]
            for n, written in zip(new, batch["tokens"].take(new).to_pylist(), strict=True):
                tokens.setdefault(keys[n], list(written or ())[:TOKENS])
            for key, word in zip(keys, pairs["word"], strict=True):
                words.setdefault(key, Counter())[word] += 1
        return [
            {
                "id": f"L{layer}.u{unit}",
                "tokens": tokens[layer, unit],
                "words": [word for word, _ in words[layer, unit].most_common(WORDS) if word],
            }
            for layer, unit in sorted(tokens)
        ]


_SMALL = pa.schema(
    [
        pa.field(f.name, pa.dictionary(pa.int32(), pa.string())) if f.name in _TEXTS else f
        for f in LISTED
    ]
)


def _small(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        batch[name].dictionary_encode()
        if name in _TEXTS
        else batch[name].cast(LISTED.field(name).type)
        for name in LISTED.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SMALL)


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
    path = run.folder / UNITS
    if not run.is_going:
        yield from _of_file(path, columns)
        return
    kinds = {**{f.name: f.type for f in LISTED}, "tokens": pa.list_(pa.string())}
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
    for batch in _of_file(path, list(dict.fromkeys(named.get(name, name) for name in columns))):
        arrays: dict[str, pa.Array] = {}
        for name in columns:
            there = batch[named.get(name, name)]
            if name in ("image", "word"):
                photos = [good[row] for row in there.to_pylist()]
                there = pa.array(photos if name == "image" else [nouns[n] for n in photos])
            elif name == "tokens":
                there = pa.array([(text or "").split() for text in there.to_pylist()])
            arrays[name] = there
        yield pa.RecordBatch.from_pydict(arrays)
