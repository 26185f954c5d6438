"""Percentile intervals: paired, seeded, of the right width."""

from __future__ import annotations

import numpy as np
import pytest

from molyneux.statistics.bootstrap import Estimate, bootstrap


def test_a_constant_has_no_width() -> None:
    assert bootstrap([2.0] * 7, draws=200) == Estimate(2.0, 2.0, 2.0, 7)


def test_the_means_interval_has_the_normal_width() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=400)
    found = bootstrap(values.tolist(), draws=4000)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    narrower = bootstrap(values.tolist(), draws=4000, level=0.5)
    assert found.low < narrower.low < narrower.high < found.high


def test_a_quarter_of_two_photos() -> None:
    """Two photos, 0 and 1: the mean of a draw is 0, 1/2 or 1, with chances 1/4, 1/2, 1/4."""
    means: list[float] = []

    def statistic(values: np.ndarray) -> float:
        means.append(float(values.mean()))
        return means[-1]

    found = bootstrap([0, 1], statistic=statistic, draws=4000)
    assert (found.value, found.low, found.high) == (0.5, 0, 1)
    draws = means[:-1] if len(means) == 4001 else means
    for value, chance in ((0, 0.25), (0.5, 0.5), (1, 0.25)):
        assert draws.count(value) / 4000 == pytest.approx(chance, abs=0.03)


def test_samples_are_drawn_in_pairs() -> None:
    """Where one sample is the other plus 1, the difference is 1 in every draw."""
    values = np.random.default_rng(1).normal(size=50)
    found = bootstrap(
        values + 1, values, statistic=lambda a, b: float(a.mean() - b.mean()), draws=300
    )
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(1)
    unpaired = bootstrap(
        values + 1, values[::-1], statistic=lambda a, b: float(a.mean() - b.mean()), draws=300
    )
    assert unpaired.high - unpaired.low > 0.1


def test_a_seed_fixes_it() -> None:
    values = np.random.default_rng(2).random(30)
    assert bootstrap(values, draws=100) == bootstrap(values, draws=100)
    assert bootstrap(values, draws=100, seed=1) != bootstrap(values, draws=100)


@pytest.mark.parametrize("samples", [([],), ([1.0], [1.0, 2.0]), ([], [1.0])])
def test_what_cannot_be_paired_is_refused(samples: tuple[list[float], ...]) -> None:
    with pytest.raises(ValueError, match="non-empty samples of one length"):
        bootstrap(*samples)


def test_how_it_prints() -> None:
    assert str(Estimate(0.5, 0.25, 0.75, 12)) == "0.500 [0.250, 0.750] (n = 12)"
