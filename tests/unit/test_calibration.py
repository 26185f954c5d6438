"""The scale of trust's numbers: exact small cases, and sources whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from molyneux.statistics.calibration import (
    STEPS,
    AskedBin,
    Bin,
    asked_bins,
    check_bins,
    equal_bins,
    floor_of,
    half_decade,
    interval,
    place_in,
)


def counts(bins: tuple[Bin, ...]) -> list[tuple[int, int]]:
    return [(each.right, each.photos) for each in bins]


def test_the_interval_is_wilson_s() -> None:
    z, n, p = 1.959963984540054, 10, 0.7
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert interval(7, 10) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
    )
    assert interval(0, 10)[0] == pytest.approx(0, abs=1e-12)


def test_bins_are_of_equal_counts_with_borders_between_photos() -> None:
    probability = [0.9, 0.1, 0.5, 0.2, 0.6, 0.8]
    right = [True, False, True, False, False, True]
    bins = equal_bins(probability, right, least=2)
    assert counts(bins) == [(0, 2), (1, 2), (2, 2)]
    assert [each.least for each in bins] == [0.0, pytest.approx(0.35), pytest.approx(0.7)]
    assert [each.below for each in bins] == [pytest.approx(0.35), pytest.approx(0.7), 1.0]
    assert [place_in(bins, p) for p in (0.0, 0.34, 0.36, 0.7, 1.0)] == [0, 0, 1, 2, 2]


def test_no_bin_has_too_few_photos_and_too_few_photos_have_no_bin() -> None:
    probability = np.linspace(0.01, 0.99, 7)
    assert [each.photos for each in equal_bins(probability, [True] * 7, least=3)] == [7]
    bins = equal_bins(probability, [False] * 3 + [True] * 4, least=3)
    assert [each.photos for each in bins] == [3, 4]
    assert equal_bins(probability, [True] * 7, least=8) == ()


def test_photos_of_one_probability_share_a_bin() -> None:
    bins = equal_bins([0.1, 0.3, 0.3, 0.3, 0.5, 0.6], [False, False, False, False, True, True], 2)
    assert counts(bins) == [(0, 4), (2, 2)]


def test_a_rate_that_falls_is_pooled_with_the_one_before() -> None:
    probability = np.arange(1, 9) / 10
    right = [True, True, True, False, False, False, True, True]  # 2/2, 1/2, 0/2, 2/2
    assert counts(equal_bins(probability, right, least=2)) == [(3, 6), (2, 2)]
    worst = [True, True, True, True, False, False, False, False]
    assert counts(equal_bins(probability, worst, least=2)) == [(4, 8)]


def test_pooled_rates_are_isotonic_regression_s() -> None:
    from scipy.optimize import isotonic_regression

    rng = np.random.default_rng(3)
    probability, right = np.sort(rng.random(400)), rng.random(400) < 0.5
    found = equal_bins(probability, right, least=50)
    rates = right.reshape(8, 50).mean(axis=1)
    wanted = isotonic_regression(rates, weights=np.full(8, 50.0)).x
    ours = [found[place_in(found, p)].rate for p in probability.reshape(8, 50).mean(axis=1)]
    assert ours == pytest.approx(list(wanted))


def simulated(n: int, seed: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.05, 0.95, n)
    return probability, rng.random(n) < probability**power


def test_a_source_that_keeps_its_word_is_verified_and_another_is_not() -> None:
    scale = equal_bins(*simulated(325, 1))
    assert all(each.photos >= 50 for each in scale)
    kept = [check_bins(scale, *simulated(230, seed)) for seed in range(2, 42)]
    broken = [check_bins(scale, *simulated(230, seed, power=4)) for seed in range(2, 42)]
    # Of forty at a level of .05, two are expected to fall by chance.
    assert sum(each is not None and each.fits for each in kept) >= 34
    assert not any(each is not None and each.fits for each in broken)


def test_other_photos_answers_fail_the_scale() -> None:
    scale = equal_bins(*simulated(325, 1))
    probability, right = simulated(230, 5)
    elsewhere = np.random.default_rng(0).random(230) < 0.12  # what any noun finds anywhere
    own, other = (check_bins(scale, probability, each) for each in (right, elsewhere))
    assert own is not None
    assert other is not None
    assert own.fits
    assert not other.fits
    assert own.brier < own.brier_of_one_rate
    assert other.error > 0.2 > own.error


def test_error_and_brier_score_of_a_small_case() -> None:
    scale = equal_bins([0.2, 0.3, 0.7, 0.8], [False, False, True, True], least=2)
    found = check_bins(scale, [0.1, 0.9, 0.9, 0.9], [True, True, True, False])
    assert found is not None
    assert found.error == pytest.approx((1 * 1 + 3 * 1 / 3) / 4)
    assert found.brier == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert found.brier_of_one_rate == pytest.approx(0.25)
    assert check_bins((), [0.5], [True]) is None
    assert check_bins(scale, [], []) is None


def test_half_decades() -> None:
    given = np.array([0.0, 1e-30, 3e-10, 1.1e-3, 0.004, 0.31, 0.32, 1.0])
    assert half_decade(given).tolist() == [0, 0, 0, STEPS - 6, STEPS - 5, STEPS - 2, STEPS - 1, 19]


def asked(rates: dict[int, float], photos: int = 200, pairs: int = 10) -> tuple[AskedBin, ...]:
    """Return bins of nouns that are right at these rates in these half-decades."""
    rng = np.random.default_rng(1)
    given, right = np.zeros((photos, STEPS), int), np.zeros((photos, STEPS), int)
    for step, rate in rates.items():
        given[:, step] = pairs
        right[:, step] = rng.binomial(pairs, rate, photos)
    return asked_bins(given, right)


def test_the_floor_is_below_the_first_half_decade_that_is_right_often_enough() -> None:
    found = asked({2: 0.0, 8: 0.01, 14: 0.05, 16: 0.2, 19: 0.6})
    assert [each.photos for each in found] == [200] * 5
    assert (
        floor_of(found) == pytest.approx(found[3].least) == pytest.approx(10 ** ((15 - STEPS) / 2))
    )
    assert found[0].high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert found[0].low == 0
    assert floor_of(asked({2: 0.3, 8: 0.0})) is None
    # What is likely by its rate and not by its interval has no floor above it.
    assert floor_of(asked({2: 0.09}, photos=60, pairs=1)) is None


def test_the_interval_is_over_photos_not_over_pairs() -> None:
    photos = 100
    pairs, right = np.zeros((photos, STEPS), int), np.zeros((photos, STEPS), int)
    pairs[:, 5] = 20
    right[: photos // 2, 5] = 20  # half of the photos have all of their nouns right
    (found,) = asked_bins(pairs, right)
    assert found.rate == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_half_decades_with_few_photos_are_joined() -> None:
    pairs, right = np.zeros((120, STEPS), int), np.zeros((120, STEPS), int)
    pairs[:30, 3] = pairs[30:60, 4] = pairs[:, 10] = pairs[:7, 19] = 1
    found = asked_bins(pairs, right)
    assert [each.photos for each in found] == [60, 120]
    assert sum(each.pairs for each in found) == int(pairs.sum())
    assert asked_bins(pairs[:40], right[:40]) == ()
