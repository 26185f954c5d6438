"""E5, *Are they selective?*: units found on photos of a class, measured on photos of all classes.

Schwettmann et al. 2023, section 4.2: for ten ImageNet classes, the mean activation of each class's
units on photos of every class. Here the photos that units are found on and those that they are
measured on are disjoint; the paper's matrix gets a statistic, intervals and controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from molyneux.neurons.unit_sets import QUOTED
from molyneux.studies.e5_selectivity.discovery import SelectedUnit
from molyneux.studies.e5_selectivity.evidence import ROLES, Evidence, normalised_means, reading_of
from molyneux.studies.e5_selectivity.tables import class_table, diagonal_table, unit_table
from molyneux.studies.finished import Columns
from molyneux.studies.results import Figure, Result, Series

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment

SHOWN = QUOTED
PAPER = (
    "The paper shows ten ImageNet classes, units found on 200 training images of each and "
    "averaged over validation images of every class, as a matrix whose diagonal dominates; it "
    "prints no number."
)

UNITS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("role", pa.string()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("found_in", pa.list_(pa.string())),
        ("confirmed", pa.list_(pa.string())),
        ("active_in", pa.list_(pa.string())),
        ("n_classes", pa.int32()),
        ("selective", pa.bool_()),
    ]
)
"""One row per distinct unit of a view and ranking: the classes it was found on, those of them it
is significantly more active on (`confirmed`; `selective` if there is one), and all classes it is
significantly more active on (`active_in`, `n_classes`). A control's classes are those of the unit
it stands in for."""


def summarise(
    experiment: Experiment,
    discovery: Columns,
    selected: Sequence[SelectedUnit],
    confirmation: Columns,
    labels: Sequence[str],
    found_on: Sequence[str] = (),
    *,
    seed: int = 0,
) -> tuple[Result, pa.Table]:
    """Return E5's tables and figures, and the table of units `e5_units`.

    Args:
        discovery: the table `e5_discovery`.
        selected: as `select_units` returned them.
        confirmation: the table `e5_confirmation`, its column `photo` being a row of `labels`.
        labels: the class of every confirmation photo.
        found_on: the class of every discovery photo; notes leave it out where it is not given.
        seed: of resampling and shuffling.
    """
    evidence = Evidence.of(selected, confirmation, labels)
    if len(evidence.classes) < 2 or not evidence.members:
        why = (
            "no unit was found on the discovery photos"
            if not evidence.members
            else "fewer than two classes have two confirmation photos that could be read"
        )
        note = f"There is nothing to compare: {why}."
        return Result(experiment.name, experiment.title, (), (), (PAPER, note)), UNITS.empty_table()
    figures: list[Figure] = []
    for view, ranking in evidence.groups:
        if ranking in SHOWN:
            figures.append(matrix(evidence, view, ranking))
    for view in dict.fromkeys(view for view, _ in evidence.groups):
        figures.append(histogram(evidence, view, SHOWN))
    tables = (
        diagonal_table(evidence, seed=seed),
        diagonal_table(evidence, variants=True, seed=seed),
        unit_table(evidence),
        class_table(evidence, selected, SHOWN, seed=seed),
    )
    notes = (PAPER, *_notes(discovery, evidence, found_on))
    result = Result(experiment.name, experiment.title, tables, tuple(figures), notes)
    return result, selective_units(evidence)


def selective_units(evidence: Evidence) -> pa.Table:
    """Return the verdict on every unit (see `UNITS`)."""
    active = evidence.active()
    rows = []
    for view, ranking in evidence.groups:
        for role in ROLES:
            members = evidence.members.get((view, ranking, role))
            for place, direction in enumerate(members.directions if members else ()):
                assert members is not None
                verdict = active[reading_of(view, ranking)][:, members.columns[place]]
                own = members.own[:, place]
                layer, unit, sign = direction
                rows.append(
                    {
                        "view": view,
                        "ranking": ranking,
                        "role": role,
                        "layer": layer,
                        "unit": unit,
                        "sign": sign,
                        "found_in": _names(evidence, own),
                        "confirmed": _names(evidence, own & verdict),
                        "active_in": _names(evidence, verdict),
                        "n_classes": int(verdict.sum()),
                        "selective": bool((own & verdict).any()),
                    }
                )
    return pa.Table.from_pylist(rows, schema=UNITS)


def _names(evidence: Evidence, which: np.ndarray) -> list[str]:
    return [name for name, there in zip(evidence.classes, which, strict=True) if there]


def _notes(discovery: Columns, evidence: Evidence, found_on: Sequence[str]) -> list[str]:
    with_units = len(np.unique(discovery["photo"]))
    of = f" of {len(found_on)}" if found_on else ""
    return [
        f"{len(evidence.classes)} classes: {', '.join(evidence.classes)}. Units were found on "
        f"{with_units}{of} photos (those whose caption has a noun and whose rankings have a "
        f"unit with 7 of 10 words) and measured on {evidence.n_photos} others.",
        "A set: the units with 7 of 10 words in the ranking of most discovery photos of the class, "
        "20 at most, each x the sign it wrote with on most of them. 7 of 10 words: at least 7 of "
        "the 10 tokens it writes are dictionary words.",
        "Control sets: each distinct unit is replaced by a random such unit of its "
        "layer, found by none of these sets, in every set that it is in.",
        "Patch views are confirmed by the mean activation over patches (no_sinks: over those that "
        "are not sinks), the last view by the activation at the last position of the prompt; no "
        "caption is written on confirmation photos, so that is not the position that the units "
        "were scored at.",
    ]


def matrix(evidence: Evidence, view: str, ranking: str) -> Figure:
    """Return the matrix of classes and unit sets of a view and ranking."""
    reading = reading_of(view, ranking)
    means, own = normalised_means(evidence, evidence.members[view, ranking, "found"], reading)
    series = tuple(
        Series(evidence.classes[c], tuple(evidence.classes), tuple(means[:, s].tolist()))
        for s, c in enumerate(own)
    )
    return Figure(
        f"E5.matrix.{view}.{ranking}",
        f"Mean activation of each class's units ({view}, {ranking}) on photos of every class",
        "matrix",
        "class of the photos",
        "class whose units they are",
        series,
        (
            "Each row over its own maximum, as in the paper; a row without a positive mean over "
            "its largest magnitude.",
            f"{evidence.n_photos} confirmation photos; reading: {reading}.",
        ),
    )


def histogram(evidence: Evidence, view: str, rankings: Sequence[str]) -> Figure:
    """Return how many classes the units of a view are significantly more active on."""
    active = evidence.active()
    bins = np.arange(len(evidence.classes) + 1)
    series = []
    for ranking in rankings:
        for role in ROLES:
            members = evidence.members.get((view, ranking, role))
            if members is None:
                continue
            counts = active[reading_of(view, ranking)][:, members.columns].sum(axis=0)
            share = np.bincount(counts, minlength=len(bins)) / len(counts)
            series.append(
                Series(
                    f"{ranking}, {role} ({len(counts)} units)",
                    tuple(int(n) for n in bins),
                    tuple(share.tolist()),
                )
            )
    return Figure(
        f"E5.classes_per_unit.{view}",
        f"On how many classes a unit is active ({view})",
        "bars",
        "classes on which the unit is significantly more active than on the rest",
        "share of units",
        tuple(series),
        ("A unit of several sets counts once.",),
    )
