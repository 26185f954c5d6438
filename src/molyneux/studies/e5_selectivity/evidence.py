"""E5's confirmation photos as arrays, and which units the tests call active on which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from molyneux.neurons.unit_sets import UNIT_SETS
from molyneux.statistics.multiple_testing import benjamini_hochberg
from molyneux.statistics.selectivity import class_means, mann_whitney_greater
from molyneux.studies.e5_selectivity.confirmation import READINGS
from molyneux.studies.e5_selectivity.discovery import Direction, SelectedUnit, distinct_directions
from molyneux.studies.finished import Columns

ROLES = ("found", "control")
Q = 0.05
UNIT_STATISTICS = ("selective", "pairs", "highest", "classes", "several")


def reading_of(view: str, ranking: str) -> str:
    """Return what a set is confirmed by: where its view looks, without sinks if it is."""
    if view == "last":
        return "last"
    return "mean_no_sinks" if UNIT_SETS[ranking].without_sinks else "mean"


@dataclass(frozen=True)
class Members:
    """The distinct units of a view, a ranking and a role.

    Attributes:
        columns: of `Evidence.values`, one a unit.
        own: by class, whether the unit is in its set.
    """

    directions: list[Direction]
    columns: Int[np.ndarray, " units"]
    own: Bool[np.ndarray, "classes units"]


@dataclass(frozen=True)
class Evidence:
    """The activations of all units on confirmation photos.

    Attributes:
        classes: names, in alphabetical order: those with two or more confirmation photos.
        of_photo: the number of each photo's class.
        values: by reading, activation x sign of every distinct direction.
        members: by view, ranking and role.
    """

    classes: list[str]
    of_photo: Int[np.ndarray, " photos"]
    values: dict[str, Float[np.ndarray, "photos directions"]]
    members: dict[tuple[str, str, str], Members]

    @classmethod
    def of(
        cls, selected: Sequence[SelectedUnit], confirmation: Columns, labels: Sequence[str]
    ) -> Evidence:
        """Return the evidence: `confirmation["photo"]` is a row of `labels`."""
        label = np.asarray(labels, dtype=object)[confirmation["photo"].astype(int)]
        names, counts = np.unique(label.astype(str), return_counts=True)
        classes = [str(name) for name in names[counts >= 2]]
        rows = np.flatnonzero(np.isin(label.astype(str), classes))
        of_photo = np.searchsorted(classes, label[rows].astype(str))
        directions = distinct_directions(selected)
        values = {
            name: np.array([confirmation[name][row] for row in rows], dtype=float).reshape(
                len(rows), len(directions)
            )
            for name in READINGS
        }
        place = {direction: column for column, direction in enumerate(directions)}
        grouped: dict[tuple[str, str, str], dict[Direction, set[str]]] = {}
        for unit in selected:
            group = grouped.setdefault((unit.view, unit.ranking, unit.role), {})
            group.setdefault(unit.direction, set()).add(unit.label)
        members = {}
        for key, found in grouped.items():
            units = sorted(found)
            members[key] = Members(
                units,
                np.array([place[unit] for unit in units]),
                np.array(
                    [[name in found[unit] for unit in units] for name in classes], dtype=bool
                ).reshape(len(classes), len(units)),
            )
        return cls(classes, of_photo, values, members)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Every view and ranking with a unit, in the order of selection."""
        return list(dict.fromkeys((view, ranking) for view, ranking, _ in self.members))

    @property
    def n_photos(self) -> int:
        """Confirmation photos."""
        return len(self.of_photo)

    def set_values(
        self, members: Members, reading: str, *, scaled: bool = False
    ) -> tuple[Float[np.ndarray, "photos sets"], Int[np.ndarray, " sets"]]:
        """Return the mean over each set's units on every photo, and each set's class.

        Args:
            scaled: each unit first divided by its standard deviation over photos, so that no
                unit outweighs the others.
        """
        values = self.values[reading][:, members.columns]
        if scaled:
            deviation = values.std(axis=0)
            values = np.divide(values, deviation, out=np.zeros_like(values), where=deviation > 0)
        own = np.flatnonzero(members.own.any(axis=1))
        means = [values[:, members.own[c]].mean(axis=1) for c in own]
        return np.array(means).reshape(len(own), len(values)).T, own

    def family(self) -> dict[str, Int[np.ndarray, " tested"]]:
        """Return the columns of all units that are tested, by reading."""
        columns: dict[str, set[int]] = {}
        for (view, ranking, _), found in self.members.items():
            columns.setdefault(reading_of(view, ranking), set()).update(found.columns.tolist())
        return {name: np.array(sorted(columns[name])) for name in sorted(columns)}

    def n_tests(self) -> int:
        """Return how many tests the false-discovery control is over: units x classes."""
        return len(self.classes) * sum(len(columns) for columns in self.family().values())

    def active(
        self, rows: Int[np.ndarray, " kept"] | None = None
    ) -> dict[str, Bool[np.ndarray, "classes directions"]]:
        """Return, by reading, on which classes a unit is significantly more active than on the
        rest: one family of tests over all units, found and control, and all classes.

        Args:
            rows: of the photos that count; all if None.
        """
        rows = np.arange(self.n_photos) if rows is None else rows
        n = len(self.classes)
        family = self.family()
        p = {
            name: mann_whitney_greater(
                self.values[name][np.ix_(rows, columns)], self.of_photo[rows], n
            )
            for name, columns in family.items()
        }
        if not p:
            return {}
        believed, _ = benjamini_hochberg(np.concatenate([p[name].ravel() for name in p]), Q)
        found, start = {}, 0
        for name, columns in family.items():
            table = np.zeros((n, self.values[name].shape[1]), dtype=bool)
            table[:, columns] = believed[start : start + p[name].size].reshape(n, -1)
            start += p[name].size
            found[name] = table
        return found

    def unit_statistics(self, rows: Int[np.ndarray, " kept"]) -> Float[np.ndarray, " several"]:
        """Return `UNIT_STATISTICS` of every group and role on some photos, in one row.

        `selective`: the share of units active on a class they were found on; `pairs`: the share
        of (unit, class found on) confirmed; `highest`: the share of units whose highest class
        mean is a class they were found on; `classes`: on how many classes a unit is active;
        `several`: the share active on two or more. NaN without units.
        """
        active = self.active(rows)
        found = []
        for view, ranking in self.groups:
            reading = reading_of(view, ranking)
            for role in ROLES:
                members = self.members.get((view, ranking, role))
                if members is None:
                    found += [np.nan] * len(UNIT_STATISTICS)
                    continue
                values = self.values[reading][np.ix_(rows, members.columns)]
                means = class_means(values, self.of_photo[rows], len(self.classes))
                found += _unit_statistics(active[reading][:, members.columns], members.own, means)
        return np.array(found)


def _unit_statistics(
    active: Bool[np.ndarray, "classes units"],
    own: Bool[np.ndarray, "classes units"],
    means: Float[np.ndarray, "classes units"],
) -> list[float]:
    confirmed = active & own
    highest = own[means.argmax(axis=0), np.arange(own.shape[1])]
    n_classes = active.sum(axis=0)
    return [
        float(confirmed.any(axis=0).mean()),
        float(confirmed.sum() / own.sum()) if own.any() else float("nan"),
        float(highest.mean()),
        float(n_classes.mean()),
        float((n_classes >= 2).mean()),
    ]


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
