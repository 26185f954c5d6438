"""A study's measurements, read back from its run folder: what summaries are computed from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from molyneux.errors import RunError
from molyneux.studies.experiment import load_experiments
from molyneux.studies.manifest import read_manifest
from molyneux.studies.parts import (
    MEASURED,
    PHOTO,
    SCORED,
    SCORERS,
    flatten_rows,
    part_schema,
    read_parts,
    write_table,
)
from molyneux.studies.settings import StudySettings

if TYPE_CHECKING:
    from molyneux.models.seeing_model import SeeingModel
    from molyneux.store import Run

MODEL = "model.safetensors"
_OUTCOME = pa.schema([PHOTO.field(name) for name in ("index", "id", "error")])
_WRITTEN = pa.schema([PHOTO.field(name) for name in ("id", "error", "caption", "captions")])


Columns = dict[str, np.ndarray]
"""A table as one array a column; nulls are NaN in numeric columns and None elsewhere."""


@dataclass(frozen=True)
class ModelTables:
    """What is known of every unit before any photo.

    Attributes:
        interpretable: whether the tokens a unit writes are words, for signs -1 and +1.
        sinks: by view, whether a unit is a sink.
        words_by_chance: how often ten random tokens of the vocabulary pass as `interpretable`;
            None in studies begun before it was kept.
    """

    interpretable: Bool[np.ndarray, "2 layers d_mlp"]
    sinks: dict[str, Bool[np.ndarray, "layers d_mlp"]]
    row_norms: Float[np.ndarray, "layers d_mlp"]
    words_by_chance: float | None = None

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
        kept: tables that experiments made of them, which belong to the study and not to a photo.
    """

    folder: Path
    settings: StudySettings
    manifest: dict[str, Any]
    model: ModelTables
    photos: pa.Table
    measured: dict[str, pa.Table]
    kept: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def n_photos(self) -> int:
        """Photos that could be read."""
        return int(self.photos.num_rows)

    def table(self, name: str) -> Columns:
        """Return a table's columns, measured or kept.

        Raises:
            KeyError: no experiment of this study measured or kept it.
        """
        return as_columns(self.measured[name] if name in self.measured else self.kept[name])

    def has(self, name: str) -> bool:
        """Whether an experiment of this study measured or kept a table."""
        return name in self.measured or name in self.kept

    def keep(self, name: str, table: pa.Table) -> None:
        """Have a table written to `tables/<name>.parquet`; experiments that follow find it."""
        self.kept[name] = table


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
    means: np.ndarray = np.full(n_photos, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def settings_of(manifest: Mapping[str, Any]) -> StudySettings:
    """Return the settings a study was begun with."""
    stored = manifest["settings"]
    values: dict[str, Any] = {}
    for name in (each.name for each in fields(StudySettings) if each.name in stored):
        value = stored[name]
        values[name] = tuple(value) if isinstance(value, list) else value
    return StudySettings(**values)


def write_model_tables(run: Run, captioner: SeeingModel) -> None:
    """Keep what the summaries need of the model: interpretable units, sinks, row norms."""
    import torch

    from molyneux.neurons.decoding import words_by_chance
    from molyneux.neurons.rankings import row_norms

    reference = captioner.reference
    assert reference is not None
    run.write_tensors(
        MODEL,
        {
            "interpretable": reference.interpretable,
            "row_norms": row_norms(captioner.language_model),
            "words_by_chance": torch.tensor(
                [words_by_chance(captioner.language_model)], dtype=torch.float64
            ),
            **{f"sinks.{view}": reference.sinks(view) for view in ("patches", "last")},
        },
    )


def read_model_tables(folder: Path) -> ModelTables:
    """Return what `write_model_tables` kept.

    Raises:
        RunError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / MODEL
    try:
        found = load_file(path)
        sinks = {view: found[f"sinks.{view}"].astype(bool) for view in ("patches", "last")}
        chance = found.get("words_by_chance")
        return ModelTables(
            found["interpretable"].astype(bool),
            sinks,
            found["row_norms"],
            None if chance is None else float(chance[0]),
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(
            f"{path} is missing or damaged ({error}); run the same `molyneux study` again"
        ) from error


def read_study(folder: Path) -> Finished:
    """Return the measured photos of a run folder, from its parts.

    Raises:
        RunError: the folder is no study, or a part of it is damaged.
    """
    manifest = read_manifest(folder)
    settings = settings_of(manifest)
    experiments = load_experiments(settings.experiments)
    measured_tables = {n: s for e in experiments for n, s in e.tables().items()}
    parts = read_parts(folder, MEASURED, part_schema(measured_tables))
    good = parts.filter(pc.is_null(parts["error"]))
    tables = _flatten(good, measured_tables)
    text_tables = {n: s for e in experiments for n, s in e.text_tables().items()}
    scored = read_parts(folder, SCORED, part_schema(text_tables))
    scored = scored.filter(pc.is_null(scored["error"]))
    place = {index: row for row, index in enumerate(good["index"].to_pylist())}
    numbers = [place[index] for index in scored["index"].to_pylist()]
    for name, schema in text_tables.items():
        tables[name] = _table(scored, name, schema, numbers)
    photos = good.select(PHOTO.names)
    manifest |= _scorers(folder)
    return Finished(folder, settings, manifest, read_model_tables(folder), photos, tables)


def _scorers(folder: Path) -> dict[str, Any]:
    """Return what the texts were compared with, once they were."""
    path = folder / SCORERS
    if not path.is_file():
        missing = "no texts were scored"
        return {"bertscore": None, "bert_missing": missing, "clip_missing": missing}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        "bertscore": found["bert"],
        "bert_missing": found.get("no_bert"),
        "clip_missing": found["no_clip"],
    }


def _flatten(parts: pa.Table, tables: Mapping[str, pa.Schema]) -> dict[str, pa.Table]:
    numbers = list(range(parts.num_rows))
    return {name: _table(parts, name, schema, numbers) for name, schema in tables.items()}


def _table(parts: pa.Table, name: str, schema: pa.Schema, numbers: list[int]) -> pa.Table:
    if parts.num_rows == 0:
        return pa.schema([("photo", pa.int32()), *schema]).empty_table()
    return flatten_rows(parts, name, np.array(numbers, dtype=np.int32))


def good_photos(folder: Path, phase: str = MEASURED) -> list[int]:
    """Return the numbers of the photos that could be measured, ascending."""
    rows = read_parts(folder, phase, _OUTCOME).to_pylist()
    return [row["index"] for row in rows if row["error"] is None]


def written_captions(folder: Path, n: int) -> list[dict[str, Any]]:
    """Return `id`, `caption` and people's `captions` of the first photos that were measured."""
    rows = read_parts(folder, MEASURED, _WRITTEN).to_pylist()
    return [row for row in rows if row["error"] is None][:n]


def bad_photos(folder: Path, phase: str = MEASURED) -> list[tuple[str, str]]:
    """Return the photos that could not be read, and why, in the order of the data set."""
    rows = read_parts(folder, phase, _OUTCOME).to_pylist()
    return [(row["id"], row["error"]) for row in rows if row["error"] is not None]


def write_tables(run: Run, study: Finished) -> None:
    """Write every measured table to `tables/<name>.parquet`, ordered by photo.

    The bytes depend on the measurements alone: not on processes, kills or the order of work.
    """
    write_table(run, "photos", study.photos)
    ids = study.photos["id"]
    for name, table in study.measured.items():
        named = table.add_column(1, "id", ids.take(table["photo"]))
        write_table(run, name, named)


def write_kept(run: Run, study: Finished) -> None:
    """Write every table that an experiment kept."""
    for name, table in study.kept.items():
        write_table(run, name, table)
