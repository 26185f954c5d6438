"""What an atlas holds: one row a unit, one row a token, and a file that names both with hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from molyneux.errors import RunError, UsageError, quote
from molyneux.parquet import parquet_from

INDEX = "atlas.json"
"""Written last: an atlas without it is not finished."""
UNITS, TOKENS = "units", "tokens.parquet"
SCHEMA = 1
KIND = "atlas"
LISTED = 10
"""Tokens at each end of what a unit writes: as many as the words flag looks at."""
NEIGHBOURS = 5
EFFECTS = "effects"
"""What runs say of units: a table, and a file that names the runs; written by a join."""

TOKEN = pa.schema([("token", pa.int32()), ("text", pa.string()), ("word", pa.bool_())])
"""Of a token: its number, its text with the space before it, whether the dictionary has it."""

_NEIGHBOUR = pa.struct([("layer", pa.int16()), ("unit", pa.int32()), ("cosine", pa.float32())])


def unit_schema(lenses: Sequence[str]) -> pa.Schema:
    """Return the columns of the table of units.

    `layer` and `unit` name it; `output_norm` is the norm of what it writes at activation 1; `fake`
    the unit of the same layer nearest in that norm; `neighbours` the units of any layer nearest in
    direction. For each lens `top_LENS` and `bottom_LENS` are the tokens raised and lowered most,
    and `top_words_LENS` and `bottom_words_LENS` how many of them the dictionary has; all four are
    null where the lens does not read the layer.
    """
    fields = [
        pa.field("layer", pa.int16()),
        pa.field("unit", pa.int32()),
        pa.field("output_norm", pa.float32()),
        pa.field("fake", pa.int32()),
        pa.field("neighbours", pa.list_(_NEIGHBOUR)),
    ]
    for lens in lenses:
        for end in ("top", "bottom"):
            fields.append(pa.field(f"{end}_{lens}", pa.list_(pa.int32())))
            fields.append(pa.field(f"{end}_words_{lens}", pa.int8()))
    return pa.schema(fields)


def _mean(name: str) -> list[tuple[str, pa.DataType]]:
    ends = (name, f"{name}_low", f"{name}_high")
    return [*((end, pa.float32()) for end in ends), (f"n_{name}", pa.int32())]


_WORD = pa.struct(
    [
        ("word", pa.string()),
        ("n_top", pa.int32()),
        ("n_specific", pa.int32()),
        ("effect", pa.float32()),
        ("n_effect", pa.int32()),
    ]
)
_PHOTO = pa.struct(
    [
        ("run", pa.int16()),
        ("photo", pa.string()),
        ("word", pa.string()),
        ("score", pa.float32()),
        ("patch", pa.int32()),
    ]
)
EFFECT = pa.schema(
    [
        ("layer", pa.int16()),
        ("unit", pa.int32()),
        ("n_top", pa.int32()),
        ("n_specific", pa.int32()),
        ("fake_n_top", pa.int32()),
        ("fake_n_specific", pa.int32()),
        ("words", pa.list_(_WORD)),
        ("photos", pa.list_(_PHOTO)),
        *_mean("effect"),
        *_mean("mismatched_effect"),
        *_mean("elsewhere_effect"),
        ("iou", pa.float32()),
        ("random_iou", pa.float32()),
        ("n_iou", pa.int32()),
        ("selective", pa.bool_()),
        ("selective_for", pa.list_(pa.string())),
        ("control_selective", pa.float32()),
    ]
)
"""What runs say of a unit (docs/atlas.md has each column)."""


def neighbour_lists(layers: Any, units: Any, cosines: Any) -> pa.Array:
    """Return three arrays of shape units x neighbours as one list of neighbours a unit."""
    n = layers.shape[1]
    rows = pa.StructArray.from_arrays(
        [
            pa.array(layers.reshape(-1), pa.int16()),
            pa.array(units.reshape(-1), pa.int32()),
            pa.array(cosines.reshape(-1), pa.float32()),
        ],
        fields=list(_NEIGHBOUR),
    )
    starts = pa.array([n * row for row in range(len(layers) + 1)], pa.int32())
    return pa.ListArray.from_arrays(starts, rows)


def layer_file(layer: int) -> str:
    """Return the name of the file of one layer's units."""
    return f"{UNITS}/L{layer:02d}.parquet"


@dataclass(frozen=True)
class Index:
    """What an atlas says of itself.

    Attributes:
        model: `preset` (or null), `language_model`, its weights' `sha256`, `dtype`, `n_layers`,
            `d_mlp`, `d_vocab`.
        lenses: their records: `name`, and of a measured one what it was measured on.
        neighbours: how many each unit has.
        chance: what the words flag is to be read beside: `random_tokens`, how often ten random
            tokens pass; `random_directions`, of each lens and layer how often a random direction
            of a unit's norm does (null where it does not read the layer).
        files: name -> sha256, the tables of units in the order of layers.
    """

    model: dict[str, Any]
    lenses: list[dict[str, Any]]
    neighbours: int
    chance: dict[str, Any]
    files: dict[str, str]

    @property
    def lens_names(self) -> list[str]:
        """The names of the lenses."""
        return [str(lens["name"]) for lens in self.lenses]

    def to_plain(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {"schema": SCHEMA, "kind": KIND, **vars(self)}


@dataclass(frozen=True)
class Effects:
    """What was joined to an atlas.

    Attributes:
        runs: of each run `run` (its folder's name), `kind`, `created`, `photos`, `data`, and the
            `sha256` of its manifest.
        files: name -> sha256.
    """

    runs: list[dict[str, Any]]
    files: dict[str, str]

    def to_plain(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {"schema": SCHEMA, "kind": EFFECTS, **vars(self)}


def read_effects(folder: Path) -> Effects | None:
    """Return what was joined to an atlas, or None.

    Raises:
        RunError: another version wrote it, or it is damaged.
    """
    path = folder / f"{EFFECTS}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        if (found["schema"], found["kind"]) != (SCHEMA, EFFECTS):
            raise ValueError(f"schema {found['schema']} of {found['kind']}")
        return Effects(found["runs"], found["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is not what a join wrote ({quote(error)}); join the runs anew"
        ) from error


def read_index(folder: Path) -> Index:
    """Return what an atlas says of itself.

    Raises:
        UsageError: there is no finished atlas in the folder.
        RunError: its file is damaged, or another version wrote it.
    """
    try:
        found = json.loads((folder / INDEX).read_bytes())
        if (found["schema"], found["kind"]) != (SCHEMA, KIND):
            raise ValueError(f"schema {found['schema']} of {found['kind']}")
        return Index(**{name: found[name] for name in Index.__dataclass_fields__})
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no finished atlas; `molyneux atlas build --out {folder}` makes one, "
            "or goes on with one that was begun"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder / INDEX} is not the file of an atlas ({quote(error)}); build it anew"
        ) from error


def checked_table(
    folder: Path, name: str, sha256: str, advice: str = "build the atlas anew"
) -> pa.Table:
    """Return a table of an atlas whose bytes are the ones that were written.

    Raises:
        RunError: it is missing, or its hash is another.
    """
    return parquet_from(checked_bytes(folder, name, sha256, advice))


def checked_bytes(
    folder: Path, name: str, sha256: str, advice: str = "build the atlas anew"
) -> bytes:
    """Return a file of an atlas, as `checked_table`."""
    path = folder / name
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); {advice}") from error
    if hashlib.sha256(contents).hexdigest() != sha256:
        raise RunError(f"{path} is not the file that was written (sha256 differs); {advice}")
    return contents


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metadata_of(table: pa.Table) -> Mapping[str, Any]:
    """Return what was kept beside a table's rows."""
    kept = (table.schema.metadata or {}).get(KIND.encode(), b"{}")
    found: dict[str, Any] = json.loads(kept)
    return found
