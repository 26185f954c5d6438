"""Other forms of an atlas: a small one, one to be read in pieces, and a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import pyarrow as pa

from molyneux.atlas.reading import Atlas
from molyneux.atlas.tables import (
    EFFECTS,
    INDEX,
    TOKENS,
    UNITS,
    Effects,
    Index,
    checked_bytes,
    file_hash,
    layer_file,
    unit_schema,
)
from molyneux.checks import one_of, path_of
from molyneux.parquet import parquet_bytes
from molyneux.store import Run, require_free


def pack_atlas(
    atlas: Atlas, out: str | PathLike[str], lenses: Sequence[str] | None = None
) -> Atlas:
    """Return an atlas in a new folder as one file of units, compressed more closely (zstd).

    What was joined to it is left out.

    Args:
        lenses: those that are kept; all if None.

    Raises:
        UsageError: the folder holds something, or units were not read through such a lens.
        RunError: it cannot be written, or the atlas is damaged.
    """
    folder, kept = _new(out), _lenses(atlas, lenses)
    table = atlas.units.select(unit_schema(kept).names)
    return _written(atlas, folder, kept, {f"{UNITS}.parquet": table}, "zstd")


def shard_atlas(
    atlas: Atlas, out: str | PathLike[str], lenses: Sequence[str] | None = None
) -> Atlas:
    """Return an atlas in a new folder as one file a layer, which a browser reads (snappy).

    What was joined to it comes along.

    Args:
        lenses: those that are kept; all if None.

    Raises:
        UsageError: the folder holds something, or units were not read through such a lens.
        RunError: it cannot be written, or the atlas is damaged.
    """
    folder, kept = _new(out), _lenses(atlas, lenses)
    table = atlas.units.select(unit_schema(kept).names)
    model = atlas.index.model
    tables = {
        layer_file(layer): table.slice(layer * model["d_mlp"], model["d_mlp"])
        for layer in range(model["n_layers"])
    }
    sharded = _written(atlas, folder, kept, tables, "snappy")
    if atlas.joined is None or atlas.effects is None:
        return sharded
    run = Run(folder)
    path = run.write_bytes(f"{EFFECTS}.parquet", parquet_bytes(atlas.effects))
    joined = Effects(atlas.joined.runs, {path.name: file_hash(path)})
    run.write_json(f"{EFFECTS}.json", joined.to_plain())
    return Atlas(folder)


def copy_atlas(atlas: Atlas, out: str | PathLike[str]) -> Atlas:
    """Return a copy of an atlas in a new folder; what was joined to it is left out.

    Raises:
        UsageError: the folder holds something.
        RunError: it cannot be written, or the atlas is damaged.
    """
    folder = _new(out)
    run = Run(folder)
    for name, sha256 in atlas.index.files.items():
        run.write_bytes(name, checked_bytes(atlas.folder, name, sha256))
    run.write_json(INDEX, atlas.index.to_plain())
    return Atlas(folder)


def _new(out: str | PathLike[str]) -> Path:
    folder: Path = path_of("out", out)
    require_free(folder)
    return folder


def _lenses(atlas: Atlas, lenses: Sequence[str] | None) -> list[str]:
    return [one_of("lens", lens, atlas.lenses) for lens in lenses or atlas.lenses]


def _written(
    atlas: Atlas, folder: Path, kept: list[str], tables: dict[str, pa.Table], compression: str
) -> Atlas:
    """Write tables of units, and what belongs to them; return the atlas they are."""
    run, old = Run(folder), atlas.index
    for name, table in {**tables, TOKENS: atlas.token_table}.items():
        run.write_bytes(name, parquet_bytes(table, compression))
    by_chance = old.chance["random_directions"]
    index: Index = replace(
        old,
        lenses=[lens for lens in old.lenses if lens["name"] in kept],
        chance={**old.chance, "random_directions": {lens: by_chance[lens] for lens in kept}},
        files={name: file_hash(folder / name) for name in (*tables, TOKENS)},
    )
    run.write_json(INDEX, index.to_plain())
    return Atlas(folder)
