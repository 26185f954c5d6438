"""Intervals over photos and partners: exact in small tables, and as wide as they claim."""

from __future__ import annotations

import numpy as np
import pytest

from molyneux.statistics.bootstrap import bootstrap
from molyneux.statistics.crossed import crossed_difference, crossed_mean, crossed_ratio

NAN = float("nan")


def test_the_mean_is_over_photos_of_means_over_the_partners_that_are_there() -> None:
    found = crossed_mean([[1.0, 3.0, NAN], [5.0, NAN, NAN], [NAN, NAN, NAN]], draws=50)
    assert (found.value, found.n) == ((2 + 5) / 2, 2)


def test_a_table_without_spread_has_no_width() -> None:
    found = crossed_mean(np.full((4, 3), 2.0), draws=50)
    assert (found.value, found.low, found.high) == (2, 2, 2)


def test_partners_are_drawn_as_well_as_photos() -> None:
    """All photos alike, two partners, 0 and 1: a draw's mean is 0, 1/2 or 1."""
    cells = np.tile([0.0, 1.0], (30, 1))
    found = crossed_mean(cells, draws=2000)
    assert (found.value, found.low, found.high) == (0.5, 0, 1)
    over_photos = bootstrap(cells.mean(axis=1), draws=2000)
    assert (over_photos.low, over_photos.high) == (0.5, 0.5)


def test_a_difference_takes_the_same_photos_and_partners_from_both() -> None:
    cells = np.random.default_rng(0).normal(size=(12, 6))
    found = crossed_difference(cells + 1, cells, draws=200)
    assert (found.low, found.high) == (pytest.approx(1), pytest.approx(1))
    apart = crossed_difference(cells + 1, cells[::-1, ::-1].copy(), draws=200)
    assert apart.high - apart.low > 0.1


def test_a_ratio_is_one_of_means_not_a_mean_of_ratios() -> None:
    effect, gain = np.array([1.0, 3.0]), np.array([[1.0, 3.0], [10.0, 14.0]])
    assert crossed_ratio(effect, gain, draws=50).value == (2 / 7)
    assert crossed_ratio(0.5 * gain, gain, draws=50).low == pytest.approx(0.5)
    with pytest.raises(ValueError, match="positive"):
        crossed_ratio(effect, -gain)


def test_a_ratio_to_what_may_be_nothing_has_no_end() -> None:
    gain = np.random.default_rng(1).normal(0.05, 1.0, size=(8, 4))
    gain += 0.05 - gain.mean()
    found = crossed_ratio(np.ones(8), gain, draws=500)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_what_is_no_table_of_photos_and_partners_is_refused() -> None:
    for tables in ([[NAN, NAN]], [], np.zeros((2, 0))):
        with pytest.raises(ValueError, match="crossed bootstrap"):
            crossed_mean(tables)
    with pytest.raises(ValueError, match="same photos"):
        crossed_difference([[1.0]], [[1.0], [2.0]])
    with pytest.raises(ValueError, match="same partners"):
        crossed_difference([[1.0]], [[1.0, 2.0]])


def test_it_is_seeded() -> None:
    cells = np.random.default_rng(2).random((10, 5))
    assert crossed_mean(cells, draws=100) == crossed_mean(cells, draws=100)
    assert crossed_mean(cells, draws=100) != crossed_mean(cells, draws=100, seed=1)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_its_intervals_hold_the_truth_where_those_over_photos_do_not(missing: float) -> None:
    """x = 3 + photo + partner + rest, each drawn anew: 95 % intervals, 200 times."""
    rng = np.random.default_rng(3)
    held = {"crossed": 0, "photos": 0}
    for _ in range(200):
        photos, partners = rng.normal(size=(40, 1)), rng.normal(0, 1.5, size=(1, 12))
        cells = 3 + photos + partners + rng.normal(0, 0.7, size=(40, 12))
        cells[rng.random(cells.shape) < missing] = np.nan
        crossed = crossed_mean(cells, draws=400)
        plain = bootstrap(np.nanmean(cells, axis=1), draws=400)
        held["crossed"] += crossed.low <= 3 <= crossed.high
        held["photos"] += plain.low <= 3 <= plain.high
    assert 0.88 <= held["crossed"] / 200 <= 0.99
    assert held["photos"] / 200 < 0.7
