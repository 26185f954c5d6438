"""Statistics against other people's code, hand computation and brute force."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from scipy import stats

from molyneux.statistics.bootstrap import bootstrap, mean, median
from molyneux.statistics.distributions import kolmogorov_smirnov
from molyneux.statistics.equivalence import paired_tost
from molyneux.statistics.multiple_testing import benjamini_hochberg
from molyneux.statistics.overlap import average_precision, iou, iou_ceiling
from molyneux.statistics.permutations import best_of_k_expectation, derangement


def photos(seed: int, n: int = 12, shift: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(shift, size=rng.integers(2, 6)).round(1) for _ in range(n)]  # with ties


# bootstrap


@pytest.mark.parametrize("n", [1, 2, 37, 130, 1000])
@pytest.mark.parametrize("statistic", [mean, median])
def test_many_draws_at_once_are_the_draws_one_by_one(n: int, statistic: object) -> None:
    values = np.random.default_rng(n).normal(size=n)
    at_once = bootstrap(values, statistic=statistic, draws=1500, seed=5)  # type: ignore[arg-type]
    one_by_one = bootstrap(values, statistic=lambda x: statistic(x), draws=1500, seed=5)  # type: ignore[operator]
    assert at_once == one_by_one


def test_the_draws_are_those_of_version_1() -> None:
    """Intervals that were published stay: the stream of random numbers is part of the result."""
    values = np.random.default_rng(0).normal(size=50)
    rng = np.random.default_rng(3)
    means = [float(np.mean(values[rng.integers(50, size=50)])) for _ in range(400)]
    found = bootstrap(values, draws=400, seed=3)
    assert (found.low, found.high) == tuple(np.quantile(means, [(1 - 0.95) / 2, (1 + 0.95) / 2]))


# Kolmogorov-Smirnov


@pytest.mark.parametrize("shift", [0.0, 0.5, 9.0])
def test_the_distance_is_scipys(shift: float) -> None:
    a, b = photos(0), photos(1, shift=shift)
    found = kolmogorov_smirnov(a, b, draws=50)
    theirs = stats.ks_2samp(np.concatenate(a), np.concatenate(b))
    assert found.d == theirs.statistic
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert found.n == 12
    assert found.n_values == (len(np.concatenate(a)), len(np.concatenate(b)))


def test_many_values_take_the_asymptotic_p() -> None:
    a, b = photos(2, n=400), photos(3, n=400)
    found = kolmogorov_smirnov(a, b, draws=5)
    theirs = stats.ks_2samp(np.concatenate(a), np.concatenate(b), method="asymp")
    assert (found.d, found.p) == (theirs.statistic, theirs.pvalue)


def test_the_bound_resamples_photos_in_pairs() -> None:
    a, b = photos(4), photos(5, shift=0.4)
    found = kolmogorov_smirnov(a, b, draws=300, seed=7)
    rng = np.random.default_rng(7)
    slow = []
    for _ in range(300):
        rows = rng.integers(12, size=12)
        left, right = (np.concatenate([side[row] for row in rows]) for side in (a, b))
        slow.append(stats.ks_2samp(left, right, method="asymp").statistic)
    assert found.high95 == pytest.approx(np.quantile(slow, 0.95))
    assert found.d < found.high95 < 1


def test_equal_sides_have_no_distance_in_any_draw() -> None:
    same = photos(6)
    found = kolmogorov_smirnov(same, same, draws=100)
    assert found.d == 0
    assert found.high95 == pytest.approx(0, abs=1e-12)
    apart = kolmogorov_smirnov(same, [values + 99 for values in same], draws=100)
    assert (apart.d, apart.high95) == (1, pytest.approx(1))


def test_photos_may_lack_values_on_one_side() -> None:
    a, b = photos(8, n=3), photos(9, n=3)
    found = kolmogorov_smirnov([*a, np.empty(0)], [*b, [0.5]], draws=200)
    assert found.d == stats.ks_2samp(np.concatenate(a), np.append(np.concatenate(b), 0.5)).statistic
    assert found.high95 <= 1


@pytest.mark.parametrize(
    ("a", "b"),
    [([[1.0]], [[1.0], [2.0]]), ([], []), ([[]], [[1.0]]), ([[float("nan")]], [[1.0]])],
)
def test_what_cannot_be_compared_is_refused(a: list[list[float]], b: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="kolmogorov_smirnov takes"):
        kolmogorov_smirnov(a, b)


# equivalence


def test_two_one_sided_tests_by_hand() -> None:
    """Mean .1, variance .15625, n = 5: the error is sqrt(.03125) = .176777; t(4, .95) = 2.13185.

    Against -1: t = 1.1 / .176777 = 6.22; against +1: t = -.9 / .176777 = -5.09, the larger p.
    """
    found = paired_tost([0.6, -0.4, 0.1, 0.35, -0.15], margin=1)
    assert found.mean == pytest.approx(0.1)
    half = 2.131847 * 0.176777
    assert (found.low90, found.high90) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-5)
    assert found.p == pytest.approx(0.003513, abs=1e-6)
    assert found.equivalent
    assert found.n == 5
    assert not paired_tost([0.6, -0.4, 0.1, 0.35, -0.15], margin=0.4).equivalent


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("margin", [0.1, 0.3, 0.6])
def test_it_is_two_of_scipys_t_tests(shift: float, margin: float) -> None:
    values = np.random.default_rng(0).normal(shift, 1, size=60)
    found = paired_tost(values, margin)
    below = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    above = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert found.p == pytest.approx(max(below, above))
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.90)
    assert (found.low90, found.high90) == pytest.approx((interval.low, interval.high))
    assert found.equivalent == (-margin < found.low90 and found.high90 < margin)


def test_constant_differences() -> None:
    assert paired_tost([0.2] * 4, 0.3).equivalent
    assert paired_tost([0.2] * 4, 0.3).p == 0
    assert not paired_tost([0.2] * 4, 0.2).equivalent
    assert str(paired_tost([0.25] * 4, 0.3)) == (
        "0.250 [0.250, 0.250], equivalent within ±0.3 (p = 0, n = 4)"
    )


@pytest.mark.parametrize(
    ("values", "margin"), [([1.0], 1), ([1.0, 2.0], 0), ([1.0, float("nan")], 1), ([1.0, 2.0], -1)]
)
def test_a_test_needs_values_and_a_margin(values: list[float], margin: float) -> None:
    with pytest.raises(ValueError, match="paired_tost takes"):
        paired_tost(values, margin)


# false discoveries


def test_benjamini_and_hochbergs_own_example() -> None:
    """The 15 p-values of their 1995 paper, section 3.2: the first four are rejected."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    order = np.random.default_rng(0).permutation(15)
    rejected, adjusted = benjamini_hochberg(np.array(p)[order])
    assert sorted(np.array(p)[order][rejected]) == p[:4]
    assert adjusted == pytest.approx(stats.false_discovery_control(np.array(p)[order]))


def test_a_later_p_can_carry_an_earlier_one() -> None:
    rejected, adjusted = benjamini_hochberg(np.array([[0.04, 0.05], [0.03, 0.045]]))
    assert rejected.tolist() == [[True, True], [True, True]]
    assert adjusted == pytest.approx(0.05)
    assert not benjamini_hochberg([0.04, 0.051, 0.03, 0.045])[0].any()


def test_no_tests_and_no_probabilities() -> None:
    rejected, adjusted = benjamini_hochberg([])
    assert rejected.size == adjusted.size == 0
    for wrong in ([0.1, 1.2], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            benjamini_hochberg(wrong)


# maps and masks


def slow_average_precision(heat: np.ndarray, mask: np.ndarray) -> float:
    """Sum over thresholds, highest first, of precision times the recall gained."""
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(heat.ravel().tolist()), reverse=True):
        kept = heat >= threshold
        recall = float((kept & mask).sum() / mask.sum())
        area += (recall - recall_before) * float((kept & mask).sum() / kept.sum())
        recall_before = recall
    return area


@pytest.mark.parametrize("levels", [2, 7, 1000])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_the_fast_area_is_the_slow_one(levels: int, share: float) -> None:
    rng = np.random.default_rng(levels)
    mask = rng.random((20, 15)) < share
    heat = rng.integers(levels, size=(20, 15)) + mask * rng.integers(levels, size=(20, 15))
    found = average_precision(heat.astype(np.float32), mask)
    assert found == pytest.approx(slow_average_precision(heat, mask))


def test_areas_known_beforehand() -> None:
    mask = np.array([True, False, True, False])
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), mask) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([4.0, 1.0, 3.0, 2.0]), mask) == 1
    assert average_precision(np.ones(4), mask) == 0.5  # a flat map knows the share alone
    assert np.isnan(average_precision(np.ones(4), np.zeros(4, dtype=bool)))


def test_overlap_and_its_ceiling() -> None:
    a = np.array([True, True, True, False])
    b = np.array([False, True, True, True])
    assert iou(a, b) == 0.5
    assert iou(a, ~a) == 0
    assert np.isnan(iou(a & ~a, b & ~b))
    assert iou_ceiling(0.2) == 0.25
    assert iou_ceiling(0.01) == pytest.approx(0.2)
    assert iou_ceiling(0.05) == 1
    assert iou_ceiling(0) == 0
    assert iou_ceiling(0.5, covered=0.25) == 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        iou_ceiling(1.2)
    with pytest.raises(ValueError, match="not both 0"):
        iou_ceiling(0, covered=0)


@pytest.mark.parametrize("area", [1, 5, 20, 60])
def test_no_map_passes_the_ceiling(area: int) -> None:
    mask = np.arange(100) < area
    best = max(iou(np.roll(np.arange(100) < 5, shift), mask) for shift in range(100))
    assert best == pytest.approx(iou_ceiling(area / 100))


# chance


def test_nothing_stays_in_its_place() -> None:
    for n in (2, 3, 10, 501):
        for seed in range(20):
            order = derangement(n, seed)
            assert sorted(order) == list(range(n))
            assert all(order[i] != i for i in range(n))
    assert derangement(9, 1) == derangement(9, 1)
    with pytest.raises(ValueError, match="two or more"):
        derangement(1, 0)


def test_every_cycle_is_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(3000):
        order = tuple(derangement(4, seed))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6  # 3! cycles through four
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_the_best_of_k_by_brute_force(k: int) -> None:
    values = [0.3, -1.0, 0.3, 4.0, 2.5, -7.0, 0.0]
    every = [max(chosen) for chosen in combinations(values, k)]
    assert best_of_k_expectation(values, k) == pytest.approx(sum(every) / len(every))


def test_the_best_of_many() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    assert best_of_k_expectation(values, 1) == pytest.approx(values.mean())
    assert best_of_k_expectation(values, 5000) == values.max()
    rng = np.random.default_rng(1)
    drawn = [values[rng.permutation(5000)[:50]].max() for _ in range(2000)]
    error = float(np.std(drawn)) / 2000**0.5
    assert best_of_k_expectation(values, 50) == pytest.approx(np.mean(drawn), abs=4 * error)
    for wrong in (0, 5001):
        with pytest.raises(ValueError, match="k from 1 to the 5000"):
            best_of_k_expectation(values, wrong)


def test_brute_force_agrees_on_what_a_derangement_is() -> None:
    """Sattolo's orders are the derangements of four that are one cycle: 6 of the 9."""
    all_nine = [p for p in permutations(range(4)) if all(p[i] != i for i in range(4))]
    assert len(all_nine) == 9
    found = {tuple(derangement(4, seed)) for seed in range(300)}
    assert found < set(all_nine)
    assert len(found) == 6
