"""What run folders say of units, as columns: which photos list them, and what was measured.

Runs of `explain` and `study` are read as the files they are; nothing is loaded that made them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molyneux.errors import RunError, UsageError, quote
from molyneux.parquet import read_parquet
from molyneux.store import MANIFEST

TOP = 100
"""Places of a list that count."""
VIEW = "patches"
RANKINGS = {"top": "top", "raw": "top", "specific": "specific"}
"""The two lists that count, by what runs call them: `raw` of `explain` is `top` of a study."""
_TABLES = ("e2_units", "e6_units", "e4_fields")
CROSSED = "other_specific"
"""Where a study keeps what other photos' units take from this photo's word."""

LISTED = pa.schema(
    [
        ("photo", pa.string()),
        ("word", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("score", pa.float64()),
        ("peak_patch", pa.int32()),
    ]
)
"""A unit among the first hundred of a photo's word, at patches."""
SILENCED = pa.schema(
    [
        ("photo", pa.string()),
        ("word", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("effect", pa.float64()),
    ]
)
"""A unit that was switched off by itself: the logit its photo's word lost, exactly."""
FIELDS = pa.schema(
    [
        ("photo", pa.string()),
        ("target", pa.string()),
        ("ranking", pa.string()),
        ("units", pa.string()),
        ("best_unit", pa.string()),
        ("best_iou", pa.float64()),
    ]
)
"""The unit of a list whose receptive field fits a photo's mask best, and how well."""
CLASSES = pa.schema(
    [
        ("role", pa.string()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("found_in", pa.list_(pa.string())),
        ("confirmed", pa.list_(pa.string())),
        ("selective", pa.bool_()),
    ]
)
"""A unit that was tried on photos of classes it was found on, or a control of such a one."""


@dataclass(frozen=True)
class RunRows:
    """What one run says of units.

    Attributes:
        record: `run` (the folder's name), `kind`, `created`, `photos`, `data`, `sha256` of its
            manifest.
        model: the manifest's record of the model.
        listed: see `LISTED`; likewise the others, without rows where the run measured nothing.
    """

    record: dict[str, Any]
    model: dict[str, Any]
    listed: pa.Table
    silenced: pa.Table
    fields: pa.Table
    classes: pa.Table


def read_run(folder: Path) -> RunRows:
    """Return what a run folder of `explain` or `study` says of units.

    Of a study that is not finished, what is measured so far.

    Raises:
        UsageError: it is no such run.
        RunError: a file is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        contents = path.read_bytes()
        manifest = json.loads(contents)
        kind, model = manifest["kind"], manifest["model"]
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} is no run folder: it has no {MANIFEST}; `molyneux runs` lists those here"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({quote(error)}); give another run") from error
    readers = {"study": _study, "explain": _explain}
    if kind not in readers:
        raise UsageError(f"{folder} is a run of molyneux {kind}; give one of explain or study")
    try:
        photos, tables = readers[kind](folder)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise RunError(
            f"{folder} is not finished, or damaged ({quote(error)}); run the same `molyneux "
            f"{kind}` again"
        ) from error
    record = {
        "run": folder.resolve().name,
        "kind": kind,
        "created": manifest["created"],
        "photos": photos,
        "data": manifest.get("data"),
        "sha256": hashlib.sha256(contents).hexdigest(),
    }
    return RunRows(record, model, *tables)


def _study(folder: Path) -> tuple[int, list[pa.Table]]:
    paths = sorted((folder / "parts" / "photos").glob("[0-9]*.parquet"))
    finished = not paths or any((folder / "results").glob("*.json"))
    photos, tables = _finished(folder) if finished else _unfinished(paths)
    ids, nouns = photos["id"].combine_chunks(), photos["noun"].combine_chunks()

    def rows(name: str, schema: pa.Schema) -> pa.Table:
        """Return a table of the study with the photo and its noun named."""
        found = tables.get(name)
        if found is None:
            return schema.empty_table()
        number = found["photo"].combine_chunks()
        columns = {column: found[column] for column in found.column_names}
        columns |= {"photo": ids.take(number), "word": nouns.take(number)}
        if "category" in columns:
            columns["target"] = columns["category"]
        return pa.table([columns[n] for n in schema.names], names=schema.names).cast(schema)

    return photos.num_rows, [
        _counted(rows("e2_units", _seen(LISTED))),
        rows("e6_units", SILENCED),
        rows("e4_fields", FIELDS),
        _classes(folder),
    ]


def _finished(folder: Path) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Return the photos of a study, and the tables it has; `photo` is the photo's row."""
    paths = {name: folder / "tables" / f"{name}.parquet" for name in _TABLES}
    tables = {name: read_parquet(path) for name, path in paths.items() if path.is_file()}
    return read_parquet(folder / "tables" / "photos.parquet", ["id", "noun"]), tables


def _unfinished(paths: list[Path]) -> tuple[pa.Table, dict[str, pa.Table]]:
    """Return what `_finished` does of the photos that are measured: their parts are whole."""
    every = [read_parquet(path) for path in paths]
    there = [name for name in _TABLES if name in every[0].column_names]
    parts = pa.concat_tables([part.select(["id", "noun", "error", *there]) for part in every])
    parts = parts.filter(pc.is_null(parts["error"]))
    return parts, {name: _flattened(parts[name].combine_chunks()) for name in there}


def _flattened(lists: pa.Array) -> pa.Table:
    """Return lists of rows as one table, `photo` being the place of the list."""
    rows, parents = pc.list_flatten(lists), pc.list_parent_indices(lists)
    columns = {rows.type.field(i).name: rows.field(i) for i in range(rows.type.num_fields)}
    return pa.table({"photo": parents.cast(pa.int32()), **columns})


def _seen(schema: pa.Schema) -> pa.Schema:
    return pa.schema([("view", pa.string()), *schema])


def _counted(rows: pa.Table) -> pa.Table:
    """Return the rows of the lists that count, under one name each."""
    wanted = pc.and_(
        pc.equal(rows["view"], VIEW),
        pc.and_(pc.is_in(rows["ranking"], pa.array(list(RANKINGS))), pc.less(rows["rank"], TOP)),
    )
    kept = rows.filter(wanted)
    names = pa.array([RANKINGS[name] for name in kept["ranking"].to_pylist()], pa.string())
    place = kept.schema.get_field_index("ranking")
    return kept.set_column(place, "ranking", names).select(LISTED.names)


def _classes(folder: Path) -> pa.Table:
    path = folder / "tables" / "e5_units.parquet"
    if not path.is_file():
        return CLASSES.empty_table()
    found = read_parquet(path)
    found = found.filter(pc.equal(found["view"], VIEW))
    return found.select(CLASSES.names).cast(CLASSES)


def _explain(folder: Path) -> tuple[int, list[pa.Table]]:
    found = read_parquet(folder / "units.parquet")
    names = [name if name in found.column_names else None for name in LISTED.names]
    columns = {
        field.name: pa.nulls(found.num_rows, field.type) if name is None else found[name]
        for field, name in zip(LISTED, names, strict=True)
    }
    columns |= {"photo": found["path"], "view": found["view"]}
    table = pa.table([columns[n] for n in _seen(LISTED).names], schema=_seen(LISTED))
    # Of a photo's words its first noun: the others' scores are not of patches alone.
    first = _first_words(found)
    table = table.filter(first)
    photos = len(set(found["image"].to_pylist()))
    empty = [schema.empty_table() for schema in (SILENCED, FIELDS, CLASSES)]
    return photos, [_counted(table), *empty]


def _first_words(found: pa.Table) -> pa.Array:
    """Return which rows are of a photo's first word."""
    image = found["image"].to_numpy()
    words = np.array(found["word"].to_pylist(), dtype=object)
    _, starts = np.unique(image, return_index=True)
    first = dict(zip(image[starts].tolist(), words[starts].tolist(), strict=True))
    return pa.array([word == first[number] for number, word in zip(image, words, strict=True)])
