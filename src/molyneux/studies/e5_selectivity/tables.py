"""E5's tables: does the diagonal dominate, are units selective, and what each class found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from molyneux.neurons.unit import Unit
from molyneux.statistics.selectivity import (
    DRAWS,
    SHUFFLES,
    jackknife,
    measured_dominance,
    resampled_dominance,
    shuffled_dominance,
    shuffled_p,
)
from molyneux.studies.e5_selectivity.discovery import SelectedUnit
from molyneux.studies.e5_selectivity.evidence import (
    ROLES,
    UNIT_STATISTICS,
    Evidence,
    Members,
    Q,
    normalised_means,
    reading_of,
)
from molyneux.studies.results import Cell, Number, ResultTable

NO_UNITS = "no unit was found"
NO_CONTROL = "no layer has a control unit left"
DIAGONAL = "diagonal dominates (a figure, no number)"
_DOMINANCE = (
    "share of sets most active on their own class",
    "mean rank of the own class (1 = most active)",
    "own - other classes (standard deviations)",
)
_UNITS = {
    "selective": "share of units active on a class they were found on",
    "pairs": "share of (unit, class found on) confirmed",
    "highest": "share of units with the highest mean on a class they were found on",
    "classes": "classes a unit is active on, mean",
    "several": "share of units active on two or more classes",
}


def diagonal_table(evidence: Evidence, *, variants: bool = False, seed: int = 0) -> ResultTable:
    """Return how far sets are most active on their own class; `variants`: other activations."""
    rows: list[dict[str, Cell]] = []
    for view, ranking in evidence.groups:
        reading = reading_of(view, ranking)
        ways = [(reading, False)]
        if variants:
            ways = [(reading, True)]
            if view == "patches":
                largest = reading.replace("mean", "max")
                ways += [(largest, False), (largest, True)]
        for name, scaled in ways:
            found = evidence.members.get((view, ranking, "found"))
            control = evidence.members.get((view, ranking, "control"))
            said = f"{name}, units scaled" if scaled else name
            start: dict[str, Cell] = {"view": view, "ranking": ranking, "activation": said}
            rows += [
                start | row | {"paper": DIAGONAL if not variants else None}
                for row in _dominance_rows(evidence, found, control, name, scaled, seed)
            ]
    columns = ("statistic", "found", "control", "found - control", "labels shuffled", "p", "chance")
    return ResultTable(
        "E5.diagonal_variants" if variants else "E5.diagonal",
        "Unit sets on their own class"
        + (": maximum over patches, and units weighted alike" if variants else ""),
        ("view", "ranking", "activation", *columns, "paper"),
        tuple(rows),
        (
            "A set's activation on a photo is the mean over its units; its standard deviation is "
            "over all confirmation photos.",
            *(
                ["units scaled: each unit is divided by its standard deviation over photos first."]
                if variants
                else []
            ),
            f"Intervals: {DRAWS} draws of confirmation photos within their class, the sets given; "
            "found - control uses the same draws.",
            f"labels shuffled: the mean and 95 % of {SHUFFLES} shuffles of the labels over "
            "photos; p is one-sided against them.",
        ),
    )


def _dominance_rows(
    evidence: Evidence,
    found: Members | None,
    control: Members | None,
    reading: str,
    scaled: bool,
    seed: int,
) -> list[dict[str, Cell]]:
    n = len(evidence.classes)
    photos, at = evidence.n_photos, evidence.of_photo
    if found is None or not found.own.any():
        return [{"statistic": what, "found": Number.missing(NO_UNITS)} for what in _DOMINANCE]
    values, own = evidence.set_values(found, reading, scaled=scaled)
    observed = measured_dominance(values, at, own, n)
    draws = resampled_dominance(values, at, own, n, seed=seed)
    shuffled = shuffled_dominance(values, at, own, n, seed=seed)
    p = shuffled_p(observed, shuffled)
    chance = (1 / n, (n + 1) / 2, 0.0)
    other = None
    if control is not None and control.own.any():
        values, own = evidence.set_values(control, reading, scaled=scaled)
        other = (
            measured_dominance(values, at, own, n),
            resampled_dominance(values, at, own, n, seed=seed),
        )
    rows: list[dict[str, Cell]] = []
    for i, what in enumerate(_DOMINANCE):
        row: dict[str, Cell] = {
            "statistic": what,
            "found": _number(observed[i], draws[:, i], photos),
            "control": Number.missing(NO_CONTROL),
            "found - control": Number.missing(NO_CONTROL),
            "labels shuffled": _number(float(shuffled[:, i].mean()), shuffled[:, i], photos),
            "p": Number(float(p[i]), n=photos),
            "chance": Number(chance[i]),
        }
        if other is not None:
            row["control"] = _number(other[0][i], other[1][:, i], photos)
            difference = draws[:, i] - other[1][:, i]
            row["found - control"] = _number(observed[i] - other[0][i], difference, photos)
        rows.append(row)
    return rows


def _number(value: float, draws: Float[np.ndarray, " draws"], n: int) -> Number:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Number(float(value), float(low), float(high), n)


def unit_table(evidence: Evidence) -> ResultTable:
    """Return which shares of units are selective, and on how many classes they are active."""
    groups, n = evidence.groups, evidence.n_photos

    def with_difference(photos: np.ndarray) -> np.ndarray:
        shape = (len(groups), len(ROLES), len(UNIT_STATISTICS))
        found = evidence.unit_statistics(photos).reshape(shape)
        return np.concatenate([found, found[:, :1] - found[:, 1:]], axis=1).ravel()

    shape = (len(groups), 3, len(UNIT_STATISTICS))
    value, error = (found.reshape(shape) for found in jackknife(with_difference, evidence.of_photo))
    rows: list[dict[str, Cell]] = []
    for g, (view, ranking) in enumerate(groups):
        start: dict[str, Cell] = {"view": view, "ranking": ranking}
        sizes = [evidence.members.get((view, ranking, role)) for role in ROLES]
        counts = [0 if size is None else len(size.directions) for size in sizes]
        rows.append(
            start | {"statistic": "distinct units", "found": counts[0], "control": counts[1]}
        )
        for i, name in enumerate(UNIT_STATISTICS):
            row = start | {"statistic": _UNITS[name]}
            top = float(len(evidence.classes)) if name == "classes" else 1.0
            for k, column in enumerate(("found", "control", "found - control")):
                bottom = -top if k == 2 else 0.0
                row[column] = _with_error(value[g, k, i], error[g, k, i], bottom, top, n)
            rows.append(row)
    return ResultTable(
        "E5.units",
        "Selectivity and polysemanticity of single units",
        ("view", "ranking", "statistic", "found", "control", "found - control", "paper"),
        tuple({**row, "paper": None} for row in rows),
        (
            "active on a class: the activation is higher on its confirmation photos than on those "
            "of all other classes, one-sided Mann-Whitney test, Benjamini-Hochberg at q = "
            f"{Q:g} over all {evidence.n_tests()} tests: every distinct unit of all views and "
            "rankings, found and control, x every class.",
            "A unit of several sets counts once; with both signs it counts as two. A control is "
            "asked about the classes of the unit it stands in for.",
            "Intervals: value ± 1.96 standard errors of a jackknife that leaves out groups of "
            "photos, cut to the possible range; none where leaving photos out changes nothing. A "
            "bootstrap would draw photos twice and so find more than there is.",
        ),
    )


def _with_error(value: float, error: float, bottom: float, top: float, n: int) -> Number:
    if np.isnan(value):
        return Number.missing(NO_UNITS)
    if error == 0:  # the same whichever photos are left out: that is no certainty
        return Number(float(value), n=n)
    low, high = max(bottom, value - 1.96 * error), min(top, value + 1.96 * error)
    return Number(float(value), float(low), float(high), n)


def class_table(
    evidence: Evidence, selected: Sequence[SelectedUnit], rankings: Sequence[str], *, seed: int = 0
) -> ResultTable:
    """Return what each class's set is, and where its own class stands among all."""
    active = evidence.active()
    rows: list[dict[str, Cell]] = []
    for (view, ranking, role), members in evidence.members.items():
        if role != "found" or ranking not in rankings or not members.own.any():
            continue
        reading = reading_of(view, ranking)
        means, own = normalised_means(evidence, members, reading)
        values, _ = evidence.set_values(members, reading)
        ranks = _own_ranks(evidence, values, own, seed)
        verdict = active[reading][:, members.columns]
        for s, c in enumerate(own):
            name = evidence.classes[c]
            units = [
                unit
                for unit in selected
                if (unit.view, unit.ranking, unit.role, unit.label) == (view, ranking, role, name)
            ]
            rows.append(
                {
                    "view": view,
                    "ranking": ranking,
                    "class": name,
                    "units": len(units),
                    "photos a unit was found on, median": Number(
                        float(np.median([unit.count for unit in units]))
                    ),
                    "rank of the own class": ranks[s],
                    "activation over the maximum": Number(float(means[c, s]), n=evidence.n_photos),
                    "most active on": evidence.classes[int(means[:, s].argmax())],
                    "units confirmed": int((verdict & members.own)[c].sum()),
                    "first units": " ".join(
                        f"{Unit(unit.layer, unit.unit)}{'-' if unit.sign < 0 else ''}"
                        for unit in units[:5]
                    ),
                }
            )
    return ResultTable(
        "E5.classes",
        "Each class's units",
        tuple(rows[0]) if rows else ("view", "ranking", "class"),
        tuple(rows),
        (
            "rank of the own class: 1 is the class on whose confirmation photos the set is most "
            f"active, of {len(evidence.classes)}; interval over photos, the set given.",
            "units confirmed: significantly more active on this class than on the rest (as in "
            "E5.units). first units: those found on most photos; - is the negative direction.",
        ),
    )


def _own_ranks(
    evidence: Evidence, values: Float[np.ndarray, "photos sets"], own: list[int], seed: int
) -> list[Number]:
    n, at = len(evidence.classes), evidence.of_photo
    ranks = []
    for s, c in enumerate(own):
        alone, its = values[:, s : s + 1], np.array([c])
        drawn = resampled_dominance(alone, at, its, n, seed=seed)[:, 1]
        exact = measured_dominance(alone, at, its, n)[1]
        ranks.append(_number(exact, drawn, evidence.n_photos))
    return ranks
