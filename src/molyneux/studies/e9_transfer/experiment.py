"""E9: units frozen on one data set, measured on another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.studies.e8_concepts.chosen import Found, read_found
from molyneux.studies.e8_concepts.photos import Told, photos_of, told_of
from molyneux.studies.e9_transfer import NAME
from molyneux.studies.e9_transfer.claims import CLAIMS
from molyneux.studies.e9_transfer.pairs import Shared, pair_photos, shared_concepts
from molyneux.studies.experiment import Experiment
from molyneux.studies.finished import Finished
from molyneux.studies.parts import Phase, Underway, flatten_rows, part_schema, read_parts
from molyneux.studies.results import Result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import Subject

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.data.selection import Selection

TRANSFER = "transfer"
"""The phase in which the photos are measured."""
CONCEPTS = pa.schema(
    [
        ("concept", pa.string()),
        ("found_on", pa.int32()),
        ("here", pa.int32()),
        ("measured", pa.int32()),
    ]
)
"""A concept that has units or photos a row: how many photos its units were found on, how many the
data set has of it, how many of these are measured; none of those left out."""


@dataclass(frozen=True)
class Taken:
    """What is measured: frozen units, and photos that show their concepts."""

    found: Found
    told: dict[str, Told]
    shared: Shared

    @classmethod
    def of(cls, settings: StudySettings, selection: Selection) -> Taken:
        """Return it, from the run that the settings name.

        Raises:
            RunError: the run has no such units, or others than when this one began.
            UsageError: no run is named, or too few concepts have photos.
        """
        if settings.found is None:
            raise UsageError(
                f"{NAME} measures units that another run found; `molyneux transfer RUN DATA` does"
            )
        folder, sha256 = settings.found
        found = read_found(Path(folder))
        if found.sha256 != sha256:
            raise UsageError(
                f"the units of {folder} are others than when this run was begun; give another --out"
            )
        told = told_of(selection)
        name = getattr(selection.dataset, "name", "the data set")
        return cls(
            found,
            told,
            shared_concepts(dict(found.photos), told, settings.per_class, settings.seed, name),
        )

    def table(self) -> pa.Table:
        """Return the row of each concept."""
        here = photos_of(self.told)
        measured = photos_of({name: self.told[name] for name in self.shared.ids})
        kept = set(self.shared.concepts)
        rows = [
            {
                "concept": concept,
                "found_on": self.found.photos.get(concept, 0),
                "here": here[concept],
                "measured": measured[concept] if concept in kept else 0,
            }
            for concept in sorted({*self.found.photos, *here})
        ]
        return pa.Table.from_pylist(rows, schema=CONCEPTS)


class Transfer(Experiment):
    """E9: whether units keep their concept on photos of a source they were not found on."""

    name = NAME
    title = "Do they keep it? Frozen units on photos of another source"
    claims = CLAIMS
    only_named = True

    def check(
        self, settings: StudySettings, selection: Selection, labelled: Selection | None
    ) -> None:
        """Refuse a run without units, or photos of none of their concepts.

        Raises:
            RunError: the run has no units of concepts.
            UsageError: says what to change.
        """
        Taken.of(settings, selection)

    @property
    def sees_photos(self) -> bool:
        """Whether it asks anything of all photos: its own pass takes those of concepts alone."""
        return False

    def phases(self, study: Underway) -> Iterator[tuple[Phase, Selection]]:
        """Yield the pass over the photos of the concepts.

        Raises:
            UsageError: the units are of another model.
        """
        from molyneux.neurons.targets import word_tokens
        from molyneux.studies.e9_transfer.frozen import freeze
        from molyneux.studies.e9_transfer.measure import TABLES, Measure

        facts, settings, selection = study.facts, study.settings, study.selection
        taken = Taken.of(settings, selection)
        taken.found.require_model(facts.captioner.hashes)
        study.keep("e9_concepts", taken.table())
        model = facts.captioner.language_model
        concepts = [c for c in taken.shared.concepts if word_tokens(model, c)]
        shape = (model.n_layers, model.d_mlp)

        def photo_of(name: str) -> Image.Image:
            ((_, item),) = selection.only([name]).items()
            try:
                return item.read()
            except PhotoError as error:
                raise PhotoError(f"its receiver {name}: {error}") from error

        chosen = Measure(
            facts,
            concepts,
            freeze(taken.found, concepts, shape, settings.seed),
            taken.told,
            pair_photos(taken.shared, taken.told, settings.seed),
            photo_of,
            settings.seed,
        )

        def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
            subject = Subject(facts, settings, item, item.read(), sha256)
            named = ", ".join(sorted(taken.told[item.id].named))
            return {"caption": named, **chosen.of(subject)}

        yield Phase(TRANSFER, TABLES, measure), selection.only(list(taken.shared.ids))

    def summarise(self, study: Finished) -> Result | None:
        """Return the tables over concepts and photos, and keep what was measured."""
        from molyneux.parquet import read_parquet
        from molyneux.studies.e9_transfer.measure import TABLES
        from molyneux.studies.e9_transfer.summary import summarise
        from molyneux.studies.parts import TABLES as FOLDER

        parts = read_parts(study.folder, TRANSFER, part_schema(TABLES))
        good = parts.filter(pc.is_null(parts["error"]))
        if not good.num_rows:
            return None
        tables = {name: flatten_rows(good, name, range(good.num_rows)) for name in TABLES}
        for name, table in tables.items():
            study.keep(name, table.add_column(1, "id", good["id"].take(table["photo"])))
        concepts = read_parquet(study.folder / FOLDER / "e9_concepts.parquet")
        return summarise(self.title, tables, concepts.to_pylist(), study.manifest)

    def seconds(self, settings: StudySettings, photos: int) -> float | None:
        """Return nothing: the first photo will say."""
        return None
