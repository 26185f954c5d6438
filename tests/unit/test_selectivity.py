"""E5 on planted units: who is found, what the statistics say, and what the tables hold."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from molyneux.errors import UsageError
from molyneux.statistics.selectivity import (
    dominance,
    jackknife,
    mann_whitney_greater,
    measured_dominance,
    resampled_dominance,
    shuffled_dominance,
    shuffled_p,
)
from molyneux.studies.e5_selectivity.classes import choose_classes
from molyneux.studies.e5_selectivity.confirmation import READINGS
from molyneux.studies.e5_selectivity.discovery import (
    SELECTED_TABLES,
    SelectedUnit,
    distinct_directions,
    select_units,
    selected_rows,
)
from molyneux.studies.e5_selectivity.evidence import Evidence, normalised_means
from molyneux.studies.e5_selectivity.experiment import Selectivity
from molyneux.studies.e5_selectivity.summary import summarise
from molyneux.studies.results import Number, Result, read_result

CLASSES = ("bus", "cat", "dog")


def photos_of(**counts: int) -> list[tuple[str, str]]:
    return [(f"{label}/{i}.jpg", label) for label, n in counts.items() for i in range(n)]


# --- classes


def test_halves_share_no_photo_and_are_as_large_as_asked() -> None:
    photos = photos_of(bus=9, cat=7, dog=6, eel=5)
    split = choose_classes(photos, 3, 6, seed=0)
    assert split.classes == ["bus", "cat", "dog"]  # eel has too few
    assert not set(split.discover) & set(split.confirm)
    label = dict(photos)
    for half in (split.discover, split.confirm):
        assert [label[name] for name in half] == ["bus"] * 3 + ["cat"] * 3 + ["dog"] * 3


def test_a_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    photos = photos_of(**{f"class{i}": 8 for i in range(20)})
    split = choose_classes(photos, 5, 4, seed=3)
    assert choose_classes(photos[::-1], 5, 4, seed=3) == split
    assert choose_classes(photos, 5, 4, seed=4).classes != split.classes
    assert len(split.discover) == len(split.confirm) == 10


def test_named_classes_are_taken_and_unknown_ones_refused() -> None:
    photos = photos_of(goldfish=4, tabby=4, bus=2)
    assert choose_classes(photos, ("tabby", "goldfish"), 4, 0).classes == ["goldfish", "tabby"]
    with pytest.raises(UsageError, match="did you mean goldfish"):
        choose_classes(photos, ("Goldfisch", "tabby"), 4, 0)
    with pytest.raises(UsageError, match="'bus' has 2 photos and 4 are needed"):
        choose_classes(photos, ("bus", "tabby"), 4, 0)
    with pytest.raises(UsageError, match="2 of the 3 classes"):
        choose_classes(photos, 3, 4, 0)
    with pytest.raises(UsageError, match="too few"):
        choose_classes(photos, 2, 3, 0)
    for lonely in (1, ("tabby",)):
        with pytest.raises(UsageError, match="2 or more"):
            choose_classes(photos, lonely, 4, 0)


# --- selection


def discovery(rows: list[tuple[int, str, str, int, int, int, int]]) -> dict[str, np.ndarray]:
    """Columns of photo, view, ranking, rank, layer, unit, sign."""
    names = ("photo", "view", "ranking", "rank", "layer", "unit", "sign")
    kinds = (int, object, object, int, int, int, int)
    return {
        name: np.array([row[i] for row in rows], dtype=kind)
        for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }


def test_a_set_is_what_most_photos_of_the_class_have() -> None:
    top = ("patches", "top")
    found = discovery(
        [
            # cat, photos 0 to 2: unit 5 in three, 7 and 6 in two (7 of better rank), 8 in one.
            (0, *top, 3, 1, 5, -1),
            (1, *top, 9, 1, 5, -1),
            (2, *top, 9, 1, 5, 1),
            (0, *top, 1, 1, 7, 1),
            (1, *top, 2, 1, 7, 1),
            (0, *top, 2, 1, 6, 1),
            (2, *top, 2, 1, 6, -1),
            (1, *top, 1, 0, 8, 1),
            # dog, photo 3, in another view too.
            (3, *top, 1, 0, 8, -1),
            (3, "last", "specific", 4, 2, 9, 1),
        ]
    )
    everything = np.ones((2, 3, 12), dtype=bool)
    labels = ["cat", "cat", "cat", "dog"]
    units = select_units(found, labels, everything, seed=0, per_class=3)
    own = [unit for unit in units if unit.role == "found"]
    assert own == [
        SelectedUnit(*top, "cat", "found", 1, 5, -1, 3, 7.0),
        SelectedUnit(*top, "cat", "found", 1, 7, 1, 2, 1.5),
        SelectedUnit(*top, "cat", "found", 1, 6, 1, 2, 2.0),
        SelectedUnit(*top, "dog", "found", 0, 8, -1, 1, 1.0),
        SelectedUnit("last", "specific", "dog", "found", 2, 9, 1, 1, 4.0),
    ]
    assert distinct_directions(own) == [(0, 8, -1), (1, 5, -1), (1, 6, 1), (1, 7, 1), (2, 9, 1)]


def test_controls_stand_in_for_units_of_their_layer_and_write_words() -> None:
    rows = [(photo, "last", "top", unit + 1, 0, unit, 1) for photo in (0, 1) for unit in range(4)]
    rows += [(0, "last", "top", 9, 1, 0, 1)]
    words = np.zeros((2, 2, 10), dtype=bool)
    words[1, 0, :8] = True  # units 4 to 7 of layer 0 are free, positive
    words[0, 0, 8] = True  # and unit 8 is, negative
    words[:, 1, 0] = True  # layer 1 has none but the one that was found
    units = select_units(discovery(rows), ["cat", "dog"], words, seed=0)
    control = [unit for unit in units if unit.role == "control"]
    assert {unit.layer for unit in control} == {0}
    assert {unit.unit for unit in control} <= {4, 5, 6, 7, 8}
    assert all(unit.sign == (-1 if unit.unit == 8 else 1) for unit in control)
    of = {label: [u.direction for u in control if u.label == label] for label in ("cat", "dog")}
    assert len(set(of["cat"])) == 4
    assert of["cat"] == of["dog"]  # one control for a unit, in every set that it is in
    assert units == select_units(discovery(rows), ["cat", "dog"], words, seed=0)
    drawn = {
        tuple(u.unit for u in select_units(discovery(rows), ["cat", "dog"], words, seed=s))
        for s in range(8)
    }
    assert len(drawn) > 1


def test_selected_units_survive_their_table() -> None:
    import pyarrow as pa

    units = [
        SelectedUnit("last", "top", "cat", "found", 1, 5, -1, 3, 2.5),
        SelectedUnit("last", "top", "cat", "control", 1, 9, 1, 3, 2.5),
    ]
    rows = selected_rows(units)["e5_selected"]
    table = pa.Table.from_pylist(rows, schema=SELECTED_TABLES["e5_selected"])
    assert [SelectedUnit(**row) for row in table.to_pylist()] == units


# --- statistics


def test_dominance_of_a_small_matrix() -> None:
    # classes x sets; the own classes are 0, 1 and 1.
    means = np.array([[4.0, 5.0, 0.0], [1.0, 3.0, 2.0], [1.0, 1.0, 2.0]])
    spread = np.array([1.0, 2.0, 0.5])
    largest, rank, contrast = dominance(means, spread, np.array([0, 1, 1]))
    assert largest == pytest.approx(1 / 3)  # the second has a higher class, the third an equal
    assert rank == pytest.approx((1 + 2 + 1.5) / 3)
    assert contrast == pytest.approx((3 / 1 + 0 / 2 + 1 / 0.5) / 3)


def test_a_constant_set_has_no_contrast_and_no_first_class() -> None:
    values, at = np.full((6, 2), 0.3), np.array([0, 0, 1, 1, 2, 2])
    found = measured_dominance(values, at, np.array([0, 2]), 3)
    assert found.tolist() == [0.0, 2.0, 0.0]


def test_resampling_photos_that_are_alike_changes_nothing() -> None:
    at = np.repeat([0, 1, 2], 4)
    values = np.eye(3)[at] * 5 + 2
    own = np.arange(3)
    exact = measured_dominance(values, at, own, 3)
    draws = resampled_dominance(values, at, own, 3, draws=50)
    assert draws.shape == (50, 3)
    assert np.allclose(draws, exact)
    assert exact[2] == pytest.approx(5 / (5 * np.sqrt(2) / 3))


def test_resampled_spread_is_that_of_the_drawn_photos() -> None:
    rng = np.random.default_rng(0)
    at = np.repeat([0, 1, 2], [3, 5, 4])
    values = rng.normal(size=(12, 2)) + 1000
    own = np.array([0, 2])
    draws = resampled_dominance(values, at, own, 3, draws=5, seed=7)
    # The slow way: the same photos, drawn by the same generator, laid out one by one.
    again = np.random.default_rng(7)
    times = [again.multinomial(n, np.full(n, 1 / n), size=5) for n in (3, 5, 4)]
    for draw in range(5):
        rows = np.repeat(np.arange(12), np.concatenate([t[draw] for t in times]))
        assert np.allclose(draws[draw], measured_dominance(values[rows], at[rows], own, 3))


def test_shuffled_labels_give_chance_and_a_planted_diagonal_beats_them() -> None:
    rng = np.random.default_rng(1)
    at = np.repeat(np.arange(4), 10)
    values = np.eye(4)[at] * 3 + rng.normal(size=(40, 4))
    own = np.arange(4)
    shuffled = shuffled_dominance(values, at, own, 4, shuffles=400)
    assert shuffled.mean(axis=0) == pytest.approx([1 / 4, 2.5, 0], abs=0.06)
    p = shuffled_p(measured_dominance(values, at, own, 4), shuffled)
    assert np.all(p < 0.02)
    noise = shuffled_p(shuffled[0], shuffled)
    assert np.all(noise > 0.01)


def test_p_values_count_the_observed_labels_and_take_low_ranks_as_good() -> None:
    shuffled = np.array([[0.0, 3.0, -1.0], [0.5, 2.0, 0.0], [1.0, 1.0, 1.0]])
    p = shuffled_p(np.array([0.5, 1.5, 2.0]), shuffled)
    assert p.tolist() == [3 / 4, 2 / 4, 1 / 4]


@pytest.mark.parametrize("tied", [False, True])
def test_mann_whitney_equals_scipys(tied: bool) -> None:
    rng = np.random.default_rng(2)
    at = np.repeat([0, 1, 2], [6, 9, 7])
    values = rng.normal(size=(22, 5)) + np.outer(at == 1, [0, 1, 2, 0, -1])
    if tied:
        values = values.round().clip(0)  # as an activation with many zeros
    p = mann_whitney_greater(values, at, 3)
    for c in range(3):
        for unit in range(5):
            own, rest = values[at == c, unit], values[at != c, unit]
            there = mannwhitneyu(own, rest, alternative="greater", method="asymptotic")
            assert p[c, unit] == pytest.approx(there.pvalue, rel=1e-9)


def test_a_dead_unit_is_active_on_nothing() -> None:
    assert mann_whitney_greater(np.zeros((6, 1)), np.array([0, 0, 0, 1, 1, 1]), 2).tolist() == [
        [1.0],
        [1.0],
    ]


def test_jackknife_of_a_mean_is_the_standard_error() -> None:
    values = np.random.default_rng(3).normal(size=20)
    at = np.repeat([0], 20)
    found, error = jackknife(lambda rows: np.array([values[rows].mean()]), at)
    assert found[0] == pytest.approx(values.mean())
    assert error[0] == pytest.approx(values.std(ddof=1) / np.sqrt(20))


# --- the whole


def planted(per_class: int = 40, seed: int = 0) -> tuple[Any, ...]:
    """Return measurements with unit c active on class c, unit 3 on cat and dog, 4 on none.

    Every class found its own unit and unit 4; cat found unit 3 too. Controls are units 10 to 14,
    which are noise. The last view has the found units' signs turned round: nothing there.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, tuple[int, ...]] = {"bus": (0, 4), "cat": (1, 3, 4), "dog": (2, 4)}
    selected = [
        SelectedUnit(view, "top", label, role, 0, unit + shift, 1, 5, 2.0)
        for view in ("patches", "last")
        for role, shift in (("found", 0), ("control", 10))
        for label, units in found.items()
        for unit in units
    ]
    directions = distinct_directions(selected)
    labels = [label for label in CLASSES for _ in range(per_class)]
    order = rng.permutation(len(labels))
    labels = [labels[i] for i in order]
    strength = np.zeros((3, 15))
    strength[[0, 1, 2], [0, 1, 2]] = 6
    strength[[1, 2], 3] = 6
    at = np.array([CLASSES.index(label) for label in labels])
    mean = rng.normal(size=(len(labels), 15)) + strength[at] + 1
    columns = {"photo": np.arange(len(labels), dtype=np.int32)}
    units = [unit for _, unit, _ in directions]
    for name in READINGS:
        signed = mean[:, units] * (-1 if name == "last" else 1)
        column = np.empty(len(labels), dtype=object)
        column[:] = list(signed.astype(np.float32))
        columns[name] = column
    seen = discovery([(0, "patches", "top", 1, 0, 0, 1), (2, "patches", "top", 1, 0, 4, 1)])
    return seen, selected, columns, labels, ["bus"] * 3


@functools.cache
def summary() -> tuple[Result, Any]:
    """Return the result and the units of `planted`."""
    return summarise(Selectivity(), *planted())


def rows_of(result: Result, table: str, **where: str) -> list[dict[str, Any]]:
    rows = next(t for t in result.tables if t.name == table).rows
    return [row for row in rows if all(row[k] == v for k, v in where.items())]


def number(row: dict[str, Any], column: str) -> Number:
    found = row[column]
    assert isinstance(found, Number)
    return found


def test_planted_units_are_selective_and_controls_are_not() -> None:
    result, units = summary()
    json.dumps(result.document(), allow_nan=False)
    assert read_result(json.loads(json.dumps(result.document()))) == result
    verdict = {
        (row["role"], row["unit"]): row for row in units.to_pylist() if row["view"] == "patches"
    }
    assert len(verdict) == 10
    assert verdict["found", 0]["found_in"] == verdict["found", 0]["confirmed"] == ["bus"]
    assert verdict["found", 3]["confirmed"] == ["cat"]
    assert verdict["found", 3]["active_in"] == ["cat", "dog"]
    assert verdict["found", 3]["n_classes"] == 2
    assert verdict["found", 4]["found_in"] == ["bus", "cat", "dog"]
    assert verdict["control", 14]["found_in"] == ["bus", "cat", "dog"]
    assert [verdict["found", u]["selective"] for u in range(5)] == [True] * 4 + [False]
    assert not any(verdict["control", u]["selective"] for u in range(10, 15))

    shares = {r["statistic"]: r for r in rows_of(result, "E5.units", view="patches")}
    assert shares["distinct units"]["found"] == 5
    selective = shares["share of units active on a class they were found on"]
    assert number(selective, "found").value == pytest.approx(4 / 5)
    assert number(selective, "control").value == 0
    assert number(selective, "found - control").value == pytest.approx(4 / 5)
    pairs = shares["share of (unit, class found on) confirmed"]
    assert number(pairs, "found").value == pytest.approx(4 / 7)
    several = shares["share of units active on two or more classes"]
    assert number(several, "found").value == pytest.approx(1 / 5)
    assert number(shares["classes a unit is active on, mean"], "found").value == pytest.approx(1)
    assert all(number(row, "found").n == 120 for row in (selective, pairs, several))
    turned = rows_of(result, "E5.units", view="last", statistic=selective["statistic"])[0]
    assert number(turned, "found") == Number(0.0, n=120)  # never one: no interval of width 0


def test_planted_diagonal_dominates_in_its_view_alone() -> None:
    result, _ = summary()
    first, rank, contrast = rows_of(result, "E5.diagonal", view="patches")
    assert number(first, "found").value == 1
    assert (number(rank, "found").low, number(rank, "found").high) == (1, 1)
    assert number(contrast, "found").low > 0.5
    assert number(contrast, "found - control").low > 0
    assert number(contrast, "p").value == pytest.approx(1 / 1000)
    assert number(first, "labels shuffled").value == pytest.approx(1 / 3, abs=0.05)
    assert number(first, "chance").value == pytest.approx(1 / 3)
    assert "diagonal" in first["paper"]
    turned, _, negative = rows_of(result, "E5.diagonal", view="last")
    assert number(turned, "found").value == 0
    assert number(negative, "found").high < 0
    assert number(negative, "p").value > 0.9


def test_matrix_rows_are_over_their_own_maximum() -> None:
    _, selected, columns, labels, _ = planted()
    result, _ = summary()
    figure = next(f for f in result.figures if f.name == "E5.matrix.patches.top")
    assert [s.label for s in figure.series] == list(CLASSES)
    for own, series in enumerate(figure.series):
        assert series.x == CLASSES
        assert max(series.y) == series.y[own] == 1
    # The cat set's cell for dogs, by hand.
    place = {d: i for i, d in enumerate(distinct_directions(selected))}
    cats = [place[0, unit, 1] for unit in (1, 3, 4)]
    value = {
        label: np.mean(
            [columns["mean"][i][cats] for i, photo in enumerate(labels) if photo == label]
        )
        for label in ("cat", "dog")
    }
    assert figure.series[1].y[2] == pytest.approx(value["dog"] / value["cat"], rel=1e-5)


def test_a_set_without_a_positive_mean_keeps_its_order() -> None:
    _, selected, columns, labels, _ = planted()
    evidence = Evidence.of(selected, columns, labels)
    for name in READINGS:
        evidence.values[name][:] = -1.0 - evidence.of_photo[:, None]
    means, own = normalised_means(evidence, evidence.members["patches", "top", "found"], "mean")
    assert own == [0, 1, 2]
    assert np.allclose(means, np.array([-1 / 3, -2 / 3, -1])[:, None])


def test_histograms_add_up_and_count_a_unit_once() -> None:
    result, _ = summary()
    figure = next(f for f in result.figures if f.name == "E5.classes_per_unit.patches")
    found, control = figure.series
    assert found.label == "top, found (5 units)"
    assert found.x == (0, 1, 2, 3)
    assert found.y == pytest.approx((0.2, 0.6, 0.2, 0.0))
    assert control.y == pytest.approx((1.0, 0.0, 0.0, 0.0))


def test_classes_say_what_was_found_and_where_it_is_highest() -> None:
    result, _ = summary()
    rows = rows_of(result, "E5.classes", view="patches")
    assert [row["class"] for row in rows] == list(CLASSES)
    assert [row["most active on"] for row in rows] == list(CLASSES)
    assert [row["units"] for row in rows] == [2, 3, 2]
    assert [row["units confirmed"] for row in rows] == [1, 2, 1]
    assert rows[1]["first units"] == "L0.u1 L0.u3 L0.u4"
    assert number(rows[0], "rank of the own class").value == 1


def test_photos_in_another_order_give_the_same_units() -> None:
    seen, selected, columns, labels, found_on = planted()
    _, units = summary()
    turned = {name: column[::-1].copy() for name, column in columns.items()}
    _, again = summarise(Selectivity(), seen, selected, turned, labels, found_on)
    assert units.equals(again)


def test_the_family_is_all_units_times_all_classes() -> None:
    _, selected, columns, labels, _ = planted()
    evidence = Evidence.of(selected, columns, labels)
    assert evidence.n_tests() == 2 * 10 * 3  # two readings, ten directions, three classes
    result, _ = summary()
    table = next(t for t in result.tables if t.name == "E5.units")
    assert "all 60 tests" in table.notes[0]


def test_a_unit_scaled_alike_no_longer_drowns_the_others() -> None:
    seen, selected, columns, labels, found_on = planted()
    place = distinct_directions(selected).index((0, 4, 1))
    for row in columns["mean"]:
        row[place] *= 1000  # the unit that is about no class
    result, _ = summarise(Selectivity(), seen, selected, columns, labels, found_on)
    plain = rows_of(result, "E5.diagonal", view="patches")[2]
    scaled = rows_of(
        result, "E5.diagonal_variants", view="patches", activation="mean, units scaled"
    )[2]
    assert number(plain, "found").high < number(scaled, "found").low


def test_too_few_photos_are_said_and_not_summarised() -> None:
    seen, selected, columns, labels, found_on = planted()
    one = {name: column[:1] for name, column in columns.items()}
    result, units = summarise(Selectivity(), seen, selected, one, labels, found_on)
    assert not result.tables
    assert units.num_rows == 0
    assert "fewer than two classes" in result.notes[-1]
    for name in READINGS:
        columns[name][:] = [np.empty(0)] * len(labels)
    nothing, _ = summarise(Selectivity(), seen, [], columns, labels, found_on)
    assert "no unit was found" in nothing.notes[-1]


def test_a_class_without_confirmation_photos_is_left_out() -> None:
    seen, selected, columns, labels, found_on = planted()
    kept = np.flatnonzero(np.array(labels) != "bus")
    rest = {name: column[kept] for name, column in columns.items()}
    result, units = summarise(Selectivity(), seen, selected, rest, labels, found_on)
    assert result.notes[1].startswith("2 classes: cat, dog.")
    bus = next(r for r in units.to_pylist() if r["unit"] == 0 and r["view"] == "patches")
    assert bus["found_in"] == []
    assert not bus["selective"]
