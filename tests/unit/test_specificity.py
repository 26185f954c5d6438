"""Specific scores: (score - mean) / (deviation + median deviation), and who never ranks."""

from __future__ import annotations

import torch

from molyneux.neurons.reference import specific_scores
from molyneux.neurons.unit import Unit, top_units

NEVER = -torch.inf


def test_small_integers() -> None:
    score = torch.tensor([[5.0, 9.0, 7.0]])
    mean = torch.tensor([[1.0, 1.0, 3.0]])
    deviation = torch.tensor([[0.0, 2.0, 6.0]])  # d0 = 2
    assert specific_scores(score, mean, deviation).tolist() == [[2, 2, 0.5]]


def test_d0_keeps_a_nearly_dead_unit_from_winning() -> None:
    score = torch.tensor([[0.011, 3.0, 1.0]])
    mean = torch.tensor([[0.001, 1.0, 1.0]])
    deviation = torch.tensor([[0.0001, 1.0, 1.0]])
    plain = (score - mean) / deviation
    assert plain.argmax() == 0
    assert specific_scores(score, mean, deviation).argmax() == 1


def test_d0_is_each_layers_own() -> None:
    score, mean = torch.full((2, 3), 4.0), torch.zeros(2, 3)
    deviation = torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]])
    expected = torch.tensor([[2.0] * 3, [4 / 6] * 3])
    torch.testing.assert_close(specific_scores(score, mean, deviation), expected)


def test_scores_that_are_not_positive_never_rank() -> None:
    """However far above their mean: less harm than usual is no contribution."""
    score = torch.tensor([[-1.0, 0.0, 1e-6, 2.0]])
    mean = torch.tensor([[-90.0, -90.0, -90.0, 5.0]])
    found = specific_scores(score, mean, torch.ones(1, 4))
    assert found[0, :2].tolist() == [NEVER, NEVER]
    assert found[0, 2] > 40
    assert found[0, 3] == -1.5  # below its mean, yet in the ranking: it is positive
    assert top_units(found, 4) == [Unit(0, 2), Unit(0, 3)]


def test_a_layer_without_spread_is_left_out() -> None:
    score = torch.ones(2, 3)
    deviation = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    found = specific_scores(score, torch.zeros(2, 3), deviation)
    assert found[1].tolist() == [NEVER] * 3
    assert torch.isfinite(found[0]).all()
    assert [unit.layer for unit in top_units(found, 6)] == [0, 0, 0]


def test_permuting_units_permutes_results() -> None:
    generator = torch.Generator().manual_seed(0)
    score, mean = torch.randn(2, 3, 11, generator=generator)
    deviation = torch.rand(3, 11, generator=generator)
    order = torch.randperm(11, generator=generator)
    found = specific_scores(score, mean, deviation)
    permuted = specific_scores(score[:, order], mean[:, order], deviation[:, order])
    assert torch.equal(permuted, found[:, order])
    assert torch.isfinite(found).any()
    assert torch.isinf(found).any()


def test_scale_plays_no_part() -> None:
    generator = torch.Generator().manual_seed(1)
    score, mean = torch.rand(2, 2, 5, generator=generator)
    deviation = torch.rand(2, 5, generator=generator)
    torch.testing.assert_close(
        specific_scores(score, mean, deviation),
        specific_scores(7 * score, 7 * mean, 7 * deviation),
    )
