"""A study's measurements, read back from its run folder: what summaries are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from molyneux.studies.settings import StudySettings

Columns = dict[str, np.ndarray]
"""A table as one array a column; nulls are NaN in numeric columns and None elsewhere."""


@dataclass(frozen=True)
class ModelTables:
    """What is known of every unit before any photo.

    Attributes:
        interpretable: whether the tokens a unit writes are words, for signs -1 and +1.
        sinks: by view, whether a unit is a sink.
    """

    interpretable: Bool[np.ndarray, "2 layers d_mlp"]
    sinks: dict[str, Bool[np.ndarray, "layers d_mlp"]]
    row_norms: Float[np.ndarray, "layers d_mlp"]

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return int(self.row_norms.shape[0])

    @property
    def d_mlp(self) -> int:
        """Units per layer."""
        return int(self.row_norms.shape[1])


@dataclass(frozen=True)
class Finished:
    """The measured photos of a study.

    Attributes:
        manifest: as written when the study began.
        photos: a row per photo that could be read, in the order of the data set: `index`, `id`,
            `sha256`, `split`, `label`, `caption`, `noun`, `captions`, `categories`.
        measured: by table name, rows with the column `photo`: the photo's row in `photos`.
    """

    folder: Path
    settings: StudySettings
    manifest: dict[str, Any]
    model: ModelTables
    photos: pa.Table
    measured: dict[str, pa.Table]

    @property
    def n_photos(self) -> int:
        """Photos that could be read."""
        return int(self.photos.num_rows)

    def table(self, name: str) -> Columns:
        """Return a measured table's columns.

        Raises:
            KeyError: no experiment of this study measured it.
        """
        return as_columns(self.measured[name])


def as_columns(table: pa.Table) -> Columns:
    """Return a table's columns as arrays."""
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def per_photo(
    photo: Int[np.ndarray, " rows"], values: np.ndarray, n_photos: int
) -> Float[np.ndarray, " photos"]:
    """Return the mean of each photo's values; NaN for a photo without any. NaNs are left out."""
    values = np.asarray(values, dtype=float)
    there = ~np.isnan(values)
    total = np.bincount(photo[there], weights=values[there], minlength=n_photos)
    count = np.bincount(photo[there], minlength=n_photos)
    return np.divide(total, count, out=np.full(n_photos, np.nan), where=count > 0)
