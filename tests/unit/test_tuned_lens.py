"""The tuned lens finds the map that made its states, and says how much it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from benchmark_programs import load_program


@pytest.fixture(scope="module")
def tuned() -> Any:
    return load_program("tuned_lens")


def states(noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    true = torch.randn(2, 6, 4, dtype=torch.float64)
    streams = torch.randn(2, 400, 6, dtype=torch.float64)
    # Both layers' streams give the same states, each by a map of its own.
    streams[1] = (streams[0] @ true[0]) @ torch.linalg.pinv(true[1])
    made = streams[0] @ true[0] + 3 + noise * torch.randn(400, 4, dtype=torch.float64)
    return true, streams, made


def test_the_map_and_the_bias_are_found_again(tuned: Any) -> None:
    true, streams, made = states(0.0)
    sums = tuned.Sums.empty(2, 6, 4)
    for part in range(4):
        rows = slice(100 * part, 100 * part + 100)
        sums.add(streams[:, rows], made[rows])
    found = tuned.fit(sums, 0, 1e-9)
    assert torch.allclose(found[:-1], true[0], atol=1e-6)
    assert torch.allclose(found[-1], torch.full((4,), 3.0, dtype=torch.float64), atol=1e-6)
    assert sums.error(0, found) < 1e-6 * sums.spread()


@pytest.mark.parametrize("ridge", [1e-6, 1.0])
def test_the_error_is_that_of_the_rows_themselves(tuned: Any, ridge: float) -> None:
    _, streams, made = states(0.5)
    sums = tuned.Sums.empty(2, 6, 4)
    sums.add(streams, made)
    for layer in range(2):
        weights = tuned.fit(sums, layer, ridge)
        left = made - streams[layer] @ weights[:-1] - weights[-1]
        assert sums.error(layer, weights) == pytest.approx(float((left**2).sum()), rel=1e-9)
    spread = ((made - made.mean(dim=0)) ** 2).sum()
    assert sums.spread() == pytest.approx(float(spread), rel=1e-9)


def test_a_strong_ridge_explains_less(tuned: Any) -> None:
    _, streams, made = states(0.5)
    sums = tuned.Sums.empty(2, 6, 4)
    sums.add(streams, made)
    weak, strong = (sums.error(0, tuned.fit(sums, 0, ridge)) for ridge in (1e-6, 100.0))
    assert weak < strong < sums.spread()
