"""E5's figures: the matrix of classes and sets, and on how many classes a unit is active."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from molyneux.statistics.selectivity import class_means
from molyneux.studies.e5_evidence import ROLES, Evidence, Members, reading_of
from molyneux.studies.tables import Figure, Series


def normalised_means(
    evidence: Evidence, members: Members, reading: str
) -> tuple[Float[np.ndarray, "classes sets"], list[int]]:
    """Return each set's mean on each class over its largest one, and each set's class.

    A set whose means are all negative or 0 is divided by the largest magnitude instead, so that
    its order stays.
    """
    values, own = evidence.set_values(members, reading)
    means = class_means(values, evidence.of_photo, len(evidence.classes))
    highest, largest = means.max(axis=0), np.abs(means).max(axis=0)
    scale = np.where(highest > 0, highest, np.where(largest > 0, largest, 1))
    return means / scale, own.tolist()


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
