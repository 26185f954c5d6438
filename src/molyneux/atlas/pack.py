"""A small form of an atlas: one file of all units, of the lenses that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from molyneux.atlas.reading import Atlas
from molyneux.atlas.tables import (
    INDEX,
    TOKENS,
    UNITS,
    Index,
    checked_bytes,
    file_hash,
    unit_schema,
)
from molyneux.checks import one_of, path_of
from molyneux.parquet import parquet_bytes
from molyneux.store import Run, require_free

_FILE = f"{UNITS}.parquet"


def pack_atlas(
    atlas: Atlas, out: str | PathLike[str], lenses: Sequence[str] | None = None
) -> Index:
    """Write an atlas to a new folder as one file of units, compressed more closely (zstd).

    Args:
        lenses: those that are kept; all if None.

    Raises:
        UsageError: the folder holds something, or units were not read through such a lens.
        RunError: it cannot be written, or the atlas is damaged.
    """
    folder: Path = path_of("out", out)
    require_free(folder)
    kept = [one_of("lens", lens, atlas.lenses) for lens in lenses or atlas.lenses]
    run = Run(folder)
    units = atlas.units.select(unit_schema(kept).names)
    run.write_bytes(_FILE, parquet_bytes(units, "zstd"))
    run.write_bytes(TOKENS, parquet_bytes(atlas.token_table, "zstd"))
    index = replace(
        atlas.index,
        lenses=[lens for lens in atlas.index.lenses if lens["name"] in kept],
        files={name: file_hash(folder / name) for name in (_FILE, TOKENS)},
        chance={
            **atlas.index.chance,
            "random_directions": {
                lens: atlas.index.chance["random_directions"][lens] for lens in kept
            },
        },
    )
    run.write_json(INDEX, index.to_plain())
    return index


def copy_atlas(atlas: Atlas, out: str | PathLike[str]) -> Atlas:
    """Return a copy of an atlas in a new folder; what was joined to it stays behind.

    Raises:
        UsageError: the folder holds something.
        RunError: it cannot be written, or the atlas is damaged.
    """
    folder: Path = path_of("out", out)
    require_free(folder)
    run = Run(folder)
    for name, sha256 in atlas.index.files.items():
        run.write_bytes(name, checked_bytes(atlas.folder, name, sha256))
    run.write_json(INDEX, atlas.index.to_plain())
    return Atlas(folder)
