"""E8: the units of concepts, found on one data set, to be frozen and taken to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.studies.e8_concepts import NAME
from molyneux.studies.e8_concepts.chosen import SCHEMA, SETS, UNITS, Sums, choose_units
from molyneux.studies.e8_concepts.photos import LEAST, choose_photos, photos_of, told_of
from molyneux.studies.experiment import Experiment
from molyneux.studies.finished import Finished, read_model_tables
from molyneux.studies.parts import Phase, Underway, finished_parts, read_part
from molyneux.studies.results import Cell, Number, Result, ResultTable
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import Subject

if TYPE_CHECKING:
    from molyneux.data.selection import Selection

CONCEPTS = "concepts"
"""The phase in which the photos of concepts are measured."""
SHOWN = 5


class ConceptUnits(Experiment):
    """E8: which units are most, and most alike, at the photos of a concept."""

    name = NAME
    title = "Which units carry a concept? Units of everyday nouns, over photos that show them"
    only_named = True

    def check(
        self, settings: StudySettings, selection: Selection, labelled: Selection | None
    ) -> None:
        """Refuse photos of too few concepts.

        Raises:
            UsageError: fewer than two concepts have 5 photos.
        """
        count = photos_of(told_of(selection))
        enough = [concept for concept, n in count.items() if n >= LEAST]
        if len(enough) < 2:
            most = ", ".join(f"{concept} {n}" for concept, n in count.most_common(3))
            raise UsageError(
                f"{NAME} takes {LEAST} photos or more of each of two concepts, told by captions, "
                f"categories or classes; here are {most or 'none'}; name a data set that has them"
            )

    @property
    def sees_photos(self) -> bool:
        """Whether it asks anything of all photos: its own pass takes those of concepts alone."""
        return False

    def phases(self, study: Underway) -> Iterator[tuple[Phase, Selection]]:
        """Yield the pass over the photos of concepts, at most `per_class` of each."""
        # Imported where a model is: names of experiments are asked for without torch.
        from molyneux.studies.e8_concepts.find import TABLES, find

        facts, settings = study.facts, study.settings
        told = told_of(study.selection)
        ids = choose_photos(told, settings.per_class, settings.seed)
        enough = {concept for concept, n in photos_of(told).items() if n >= LEAST}

        def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
            subject = Subject(facts, settings, item, item.read(), sha256)
            named = sorted(told[item.id].named & enough)
            return {"caption": ", ".join(named), **find(subject, named)}

        yield Phase(CONCEPTS, TABLES, measure), study.selection.only(ids)

    def summarise(self, study: Finished) -> Result | None:
        """Return each concept's first units, and keep the table of all; None of no photo."""
        model = read_model_tables(study.folder)
        shape = (model.n_layers, model.d_mlp)
        sums = sums_of(study.folder, shape)
        enough = {name: one for name, one in sorted(sums.items()) if one.photos >= LEAST}
        if not enough:
            return None
        rows = [
            row for name, one in enough.items() for row in choose_units(name, one, model.row_norms)
        ]
        study.keep(UNITS, pa.Table.from_pylist(rows, schema=SCHEMA))
        rows = [row for row in rows if row["role"] == "found"]
        return Result(NAME, self.title, (_concept_table(rows), _overlap_table(rows)))

    def seconds(self, settings: StudySettings, photos: int) -> float | None:
        """Return nothing: the first photo will say."""
        return None


def sums_of(folder: Path, shape: tuple[int, int]) -> dict[str, Sums]:
    """Return what was seen of every concept's units.

    Raises:
        RunError: a part is damaged.
    """
    from molyneux.studies.e8_concepts.find import unpacked

    found: dict[str, Sums] = {}
    for index in finished_parts(folder, CONCEPTS):
        part = read_part(folder, CONCEPTS, index)
        if part["error"] is not None:
            continue
        (moved,) = part["e8_moved"]
        activation, z = (unpacked(moved[name], shape) for name in ("activation", "z"))
        for row in part["e8_totals"]:
            one = found.setdefault(row["concept"], Sums())
            one.add(unpacked(row["total"], shape), activation, z)
    return found


def _units_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in rows:
        found.setdefault((row["concept"], row["set"]), []).append((row["layer"], row["unit"]))
    return found


def _concept_table(rows: list[dict[str, Any]]) -> ResultTable:
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        one = first.setdefault(
            (row["concept"], row["set"]),
            {
                "concept": row["concept"],
                "set": row["set"],
                "photos": row["photos"],
                "units": 0,
                "first units": "",
            },
        )
        one["units"] += 1
        if row["rank"] <= SHOWN:
            unit = f"L{row['layer']}.u{row['unit']}{'-' if row['sign'] < 0 else ''}"
            one["first units"] = f"{one['first units']} {unit}".strip()
    return ResultTable(
        f"{NAME}.concepts",
        "Each concept's units",
        ("concept", "set", "photos", "units", "first units"),
        tuple(first.values()),
        (
            "total: units of the largest mean over the concept's photos of what they give its word "
            'after "A picture of a", in logits, summed over patches. change: of the largest mean '
            "of |z|, z being how far a photo moves a unit's mean activation at the patches from "
            "other photos', in deviations; shift: of the largest |mean of z|. No word enters the "
            "last two. - is the negative direction.",
            f"{SETS['total']:.0%} of the units for total, {SETS['change']:.0%} for the others; "
            "none of the last layer, which no later position reads.",
        ),
    )


def _overlap_table(rows: list[dict[str, Any]]) -> ResultTable:
    units = _units_of(rows)
    table: list[dict[str, Cell]] = []
    for name in SETS:
        own = [set(found) for (_, which), found in units.items() if which == name]
        shares = [len(a & b) / len(a) for a in own for b in own if a is not b]
        table.append(
            {
                "set": name,
                "concepts": len(own),
                "units shared with another concept": Number(
                    float(np.mean(shares)) if shares else None,
                    why=None if shares else "there is one concept",
                ),
            }
        )
    return ResultTable(
        f"{NAME}.overlap",
        "How much two concepts' sets have in common",
        ("set", "concepts", "units shared with another concept"),
        tuple(table),
        ("The mean share of a concept's units that are among another one's, over all pairs.",),
    )
