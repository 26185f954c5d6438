"""E5's two passes over labelled photos: find units on one half, measure them on the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from molyneux.data.dataset import Item, Streamed
from molyneux.studies.e5_selectivity import NAME
from molyneux.studies.e5_selectivity.claims import CLAIMS
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
from molyneux.studies.experiment import Experiment, Needs
from molyneux.studies.finished import Columns, Finished, as_columns, read_model_tables
from molyneux.studies.parts import Phase, Underway, flatten_rows, part_schema, read_parts
from molyneux.studies.results import Result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import Subject

if TYPE_CHECKING:
    from molyneux.data.selection import Selection

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


class Selectivity(Experiment):
    """E5: whether the units of a class are more active on its photos than on others'."""

    name = NAME
    title = "Are they selective? Units of a class on photos of all classes"
    claims = CLAIMS
    needs = Needs(labelled=True)

    def check(
        self, settings: StudySettings, selection: Selection, labelled: Selection | None
    ) -> None:
        """Refuse classes that are not there, or have too few photos.

        Raises:
            UsageError: says which.
        """
        if labelled is not None:
            split_classes(labelled, settings)

    def phases(self, study: Underway) -> Iterator[tuple[Phase, Selection]]:
        """Yield the pass that finds units, then the one that measures them on other photos.

        Raises:
            UsageError: the labelled photos are too few.
            RunError: a part is damaged.
        """
        labelled, facts = study.labelled, study.facts
        assert labelled is not None
        split = split_classes(labelled, study.settings)

        def find(index: int, item: Item, sha256: str) -> dict[str, Any]:
            subject = Subject(facts, study.settings, item, item.read(), sha256)
            noun = subject.word.lemma if subject.word else None
            return {"caption": subject.sentence.caption, "noun": noun, **discover(subject)}

        yield Phase(DISCOVERY, DISCOVERY_TABLES, find), labelled.only(split.discover)
        selected = selected_units(study.run.folder, study.settings)
        directions = distinct_directions(selected)
        for name, rows in selected_rows(selected).items():
            study.keep(name, pa.Table.from_pylist(rows, schema=SELECTED_TABLES[name]))

        def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
            return dict(confirm(facts.captioner, item.read(), directions))

        yield Phase(CONFIRMATION, CONFIRM_TABLES, measure), labelled.only(split.confirm)

    def summarise(self, study: Finished) -> Result | None:
        """Return E5's result, and keep its table of units; None if no photo was measured."""
        from molyneux.studies.e5_selectivity.summary import summarise

        discovery, found_on = _measured(study.folder, DISCOVERY, DISCOVERY_TABLES)
        if not found_on:
            return None
        seed = study.settings.seed
        selected = selected_units(study.folder, study.settings)
        confirmation, labels = _measured(study.folder, CONFIRMATION, CONFIRM_TABLES)
        result, units = summarise(
            self, discovery, selected, confirmation, labels, found_on, seed=seed
        )
        study.keep("e5_units", units)
        return result

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 1.5 s for each photo that finds units, 0.4 s for each that confirms them."""
        given = settings.classes
        classes = given if isinstance(given, int) else len(given)
        return classes * (settings.per_class // 2) * (1.5 + 0.4)


def selected_units(folder: Path, settings: StudySettings) -> list[SelectedUnit]:
    """Return the sets that the discovery photos give."""
    discovery, labels = _measured(folder, DISCOVERY, DISCOVERY_TABLES)
    interpretable = read_model_tables(folder).interpretable
    return select_units(discovery, labels, interpretable, seed=settings.seed)


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
