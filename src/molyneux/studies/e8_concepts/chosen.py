"""The units of a concept, over its photos: chosen, kept in a table, and read from it again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from molyneux.errors import RunError, UsageError
from molyneux.parquet import read_parquet
from molyneux.studies.manifest import read_manifest
from molyneux.studies.parts import TABLES

UNITS = "e8_units"
SETS = {"total": 0.01, "change": 0.05, "shift": 0.05}
"""What units are chosen by, and which fraction of those whose layer has a path to the output.

`total`: what a unit gives the concept's word, by the run's scorer. No word enters the others:
`change` is the mean over photos of |z|, `shift` the magnitude of the mean of z, which is large
only where all photos of the concept move the unit in one direction.
"""
SCHEMA = pa.schema(
    [
        ("concept", pa.string()),
        ("set", pa.string()),
        ("role", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int8()),
        ("score", pa.float64()),
        ("photos", pa.int32()),
    ]
)
"""A unit of a concept's set a row, `rank` from 1. `sign`: of `total`, in which direction it is
active on the concept's photos; of the others, in which these move it. `role`: `found`, or
`matched`: the unit of the same layer, of none of the set's, that is nearest in strength to the
found one of this rank; its sign is found in the same way."""


Signed = tuple[int, int, int]
"""Layer, unit and the sign in which it is read."""


@dataclass
class Sums:
    """What was seen of a concept's units, photo by photo."""

    photos: int = 0
    total: Any = 0.0
    activation: Any = 0.0
    z: Any = 0.0
    change: Any = 0.0
    strength: Any = 0.0

    def add(self, total: np.ndarray, activation: np.ndarray, z: np.ndarray) -> None:
        """Take one more photo."""
        self.photos += 1
        self.total = self.total + total
        self.activation = self.activation + activation
        self.z = self.z + z
        self.change = self.change + np.abs(z)
        self.strength = self.strength + np.abs(activation)


def choose_units(
    concept: str, sums: Sums, row_norms: Float[np.ndarray, "layers d_mlp"]
) -> Iterable[dict[str, Any]]:
    """Yield the rows of a concept's sets; ties keep the order of layer, then unit.

    Strength is the mean over the concept's photos of |mean activation at the patches|, times the
    norm of what the unit writes.
    """
    import torch

    from molyneux.neurons.rankings import matched_units
    from molyneux.neurons.unit import Unit

    strength = torch.from_numpy(np.asarray(sums.strength) * row_norms)
    scores = {
        "total": (sums.total, np.sign(sums.activation)),
        "change": (sums.change, np.sign(sums.z)),
        "shift": (np.abs(sums.z), np.sign(sums.z)),
    }
    for name, fraction in SETS.items():
        score, sign = (np.asarray(each) for each in scores[name])
        own = [Unit(*place) for place in _first(score, fraction)]
        for role, units in (("found", own), ("matched", matched_units(own, strength, set(own)))):
            for rank, one in enumerate(units, start=1):
                if one is not None:
                    yield {
                        "concept": concept,
                        "set": name,
                        "role": role,
                        "rank": rank,
                        "layer": one.layer,
                        "unit": one.unit,
                        "sign": -1 if sign[one] < 0 else 1,
                        "score": float(score[one]) / sums.photos,
                        "photos": sums.photos,
                    }


def _first(score: Float[np.ndarray, "layers d_mlp"], fraction: float) -> list[tuple[int, int]]:
    # A unit of the last layer that writes at a patch is read by no later position.
    open_ = score[:-1].ravel()
    order = np.argsort(-open_, kind="stable")[: max(1, round(fraction * len(open_)))]
    return [divmod(int(place), score.shape[1]) for place in order]


@dataclass(frozen=True, eq=False)
class Found:
    """The units that a run found, frozen.

    Attributes:
        folder: of the run.
        sha256: of the table.
        hashes: of the model's parts whose units they are.
        units: by concept, set and role, each unit and its sign, by its rank from 1.
        photos: that each concept's units were found on.
        data: what the run's manifest says of these photos.
    """

    folder: Path
    sha256: str
    hashes: Mapping[str, str]
    units: Mapping[tuple[str, str, str], Mapping[int, Signed]]
    photos: Mapping[str, int]
    data: Mapping[str, Any]

    def require_model(self, hashes: Mapping[str, str]) -> None:
        """Refuse another model than the one whose units these are.

        Raises:
            UsageError: a part of it differs.
        """
        for part, value in self.hashes.items():
            if hashes.get(part) != value:
                raise UsageError(
                    f"the units of {self.folder} are those of another model: its {part} is not "
                    "this one's; choose the model of that run"
                )


def read_found(folder: Path) -> Found:
    """Return the units that a finished study found for concepts.

    Raises:
        RunError: the folder is no study, or has no such units, or the table is damaged.
    """
    manifest = read_manifest(folder)
    path = folder / TABLES / f"{UNITS}.parquet"
    if not path.is_file():
        asked = manifest["settings"].get("experiments", [])
        why = "is not finished" if "E8" in asked else "found no units of concepts"
        raise RunError(
            f"{folder} {why}: run `molyneux study DATA --experiments E8 --out RUN` to its end over "
            "photos with captions or labels, and give that RUN"
        )
    try:
        table = read_parquet(path)
        rows = table.select(SCHEMA.names).to_pylist()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise RunError(f"{path} is damaged; run the same `molyneux study` again") from error
    units: dict[tuple[str, str, str], dict[int, Signed]] = {}
    photos: dict[str, int] = {}
    for row in rows:
        photos[row["concept"]] = row["photos"]
        key = (row["concept"], row["set"], row["role"])
        units.setdefault(key, {})[row["rank"]] = (row["layer"], row["unit"], row["sign"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    hashes = manifest.get("hashes") or {}
    return Found(folder, digest, hashes, units, photos, manifest.get("data") or {})
