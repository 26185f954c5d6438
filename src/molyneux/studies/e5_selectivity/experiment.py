"""E5's two passes over labelled photos: find units on one half, measure them on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molyneux.data.dataset import Item, Streamed
from molyneux.models.seeing_model import SeeingModel
from molyneux.processes import Share
from molyneux.studies.e5_selectivity.classes import ClassSplit, choose_classes
from molyneux.studies.e5_selectivity.confirmation import CONFIRM_TABLES, confirm
from molyneux.studies.e5_selectivity.discovery import (
    DISCOVERY_TABLES,
    SELECTED_TABLES,
    SelectedUnit,
    discover,
    distinct_directions,
    select_units,
    selected_rows,
)
from molyneux.studies.finished import Columns, as_columns, read_model_tables, write_table
from molyneux.studies.parts import Phase, Progress, flatten_rows, part_schema, read_parts, run_phase
from molyneux.studies.results import Result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

if TYPE_CHECKING:
    from molyneux.data.selection import Selection
    from molyneux.store import Run

DISCOVERY = "classes"
CONFIRMATION = "confirmation"


def split_classes(labelled: Selection, settings: StudySettings) -> ClassSplit:
    """Return the classes and halves of a selection of labelled photos; no photo is read.

    Raises:
        UsageError: there are too few classes or photos.
    """
    dataset = labelled.dataset
    chosen = set(labelled.ids)
    entries = dataset.entries() if isinstance(dataset, Streamed) else iter(dataset)
    labels = [(e.id, e.label) for e in entries if e.label is not None and e.id in chosen]
    return choose_classes(labels, settings.classes, settings.per_class, settings.seed)


def run_selectivity(
    captioner: SeeingModel,
    labelled: Selection,
    settings: StudySettings,
    run: Run,
    share: Share,
    on_photo: Callable[[Progress], None],
) -> None:
    """Carry both passes to their end from wherever the folder stands.

    Raises:
        UsageError: the labelled photos are too few.
        RunError: the folder cannot be written, or a part is damaged.
    """
    split = split_classes(labelled, settings)
    facts = ModelFacts.of(captioner)

    def find(index: int, item: Item, sha256: str) -> dict[str, Any]:
        subject = Subject(facts, settings, item, item.read(), sha256)
        noun = subject.word.lemma if subject.word else None
        return {"caption": subject.sentence.caption, "noun": noun, **discover(subject)}

    found = Phase(DISCOVERY, DISCOVERY_TABLES, find)
    run_phase(run.folder, found, labelled.only(split.discover), share, on_photo)
    selected = selected_units(run.folder, settings)
    directions = distinct_directions(selected)
    if share.is_first:
        rows = selected_rows(selected)["e5_selected"]
        schema = SELECTED_TABLES["e5_selected"]
        write_table(run, "e5_selected", pa.Table.from_pylist(rows, schema=schema))

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        return dict(confirm(captioner, item.read(), directions))

    confirmed = Phase(CONFIRMATION, CONFIRM_TABLES, measure)
    run_phase(run.folder, confirmed, labelled.only(split.confirm), share, on_photo)


def selected_units(folder: Path, settings: StudySettings) -> list[SelectedUnit]:
    """Return the sets that the discovery photos give."""
    discovery, labels = _measured(folder, DISCOVERY, DISCOVERY_TABLES)
    interpretable = read_model_tables(folder).interpretable
    return select_units(discovery, labels, interpretable, seed=settings.seed)


def summarise_labelled(folder: Path, settings: StudySettings) -> tuple[Result, pa.Table] | None:
    """Return E5's result and its table of units; None if no labelled photo was measured."""
    from molyneux.studies.e5_selectivity.summary import summarise_selectivity

    discovery, found_on = _measured(folder, DISCOVERY, DISCOVERY_TABLES)
    if not found_on:
        return None
    selected = selected_units(folder, settings)
    confirmation, labels = _measured(folder, CONFIRMATION, CONFIRM_TABLES)
    return summarise_selectivity(
        discovery, selected, confirmation, labels, found_on, seed=settings.seed
    )


def _measured(
    folder: Path, phase: str, tables: dict[str, pa.Schema]
) -> tuple[Columns, Sequence[str]]:
    """Return the one table of a phase, and the label of each photo that could be read."""
    parts = read_parts(folder, phase, part_schema(tables))
    good = parts.filter(pc.is_null(parts["error"]))
    name = next(iter(tables))
    if good.num_rows == 0:
        return as_columns(pa.schema([("photo", pa.int32()), *tables[name]]).empty_table()), []
    rows = flatten_rows(good, name, np.arange(good.num_rows))
    return as_columns(rows), good["label"].to_pylist()
