"""Units that are known to carry a word: exact effects find them, and whoever scores them is told
from whoever does not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from benchmark_programs import load_program
from tiny_models import count_hooks

from molyneux.errors import UsageError
from molyneux.fixtures.planted import KINDS, OF_EACH, WORDS, PlantedToy, planted_toy
from molyneux.neurons.ablation import ablated_logits
from molyneux.neurons.scorers import find_scorer, scorer_names
from molyneux.statistics.separation import auroc


@pytest.fixture(scope="module")
def toy() -> PlantedToy:
    return planted_toy()


@pytest.fixture(scope="module")
def exact(toy: PlantedToy) -> dict[str, torch.Tensor]:
    return {word: toy.exact(word) for word in WORDS}


def test_exact_effects_find_the_planted_units(
    toy: PlantedToy, exact: dict[str, torch.Tensor]
) -> None:
    hooks = count_hooks(toy.model.model)
    found = [toy.found(word, exact[word]) for word in WORDS]
    assert min(one.auroc for one in found) >= 0.99
    assert np.mean([one.first for one in found]) >= 0.9
    assert count_hooks(toy.model.model) == hooks


def test_units_do_what_was_written(toy: PlantedToy, exact: dict[str, torch.Tensor]) -> None:
    assert {kind for kind, _ in toy.units} == set(KINDS)
    every = [unit for units in toy.units.values() for unit in units]
    assert len(every) == len(set(every)) == len(KINDS) * len(WORDS) * OF_EACH
    for word in WORDS:
        of = {
            kind: torch.stack([exact[word][unit] for unit in toy.units[kind, word]])
            for kind in KINDS
        }
        # The units of a kind are in the same layers, one by one.
        planted = of["planted"]
        assert bool((planted > 0).all())
        assert bool((of["against"] < -0.7 * planted).all())
        assert bool((of["wavering"] < 0).all())
        for kind in ("dead", "spelling", "other", "silent"):
            assert bool((of[kind].abs() < 0.3 * planted).all()), kind


def test_all_planted_units_together_are_what_makes_the_word_likely(toy: PlantedToy) -> None:
    for word in WORDS[:3]:
        token = toy.target(word).token_id
        sets = [[], toy.units["planted", word], toy.units["dead", word]]
        logits = ablated_logits(toy.model, toy.photos[word], sets, positions="patches")[:, token]
        assert logits[0] - logits[1] > 5 * (logits[0] - logits[2]).abs()


def test_a_toy_is_its_seeds(toy: PlantedToy) -> None:
    again, other = planted_toy(0), planted_toy(1)
    assert again.units == toy.units
    assert torch.equal(again.photos["dog"].embeddings, toy.photos["dog"].embeddings)
    assert other.units != toy.units


@pytest.mark.parametrize("name", [*scorer_names(), "gradient-activation:site=preactivation"])
def test_every_scorer_can_be_tried(toy: PlantedToy, name: str) -> None:
    for each in toy.scored(find_scorer(name)).values():
        assert len(each) == len(WORDS)
        assert all(0 <= value <= 1 for one in each for value in (one.auroc, one.first))


def test_methods_that_presume_what_is_not_so_are_told(toy: PlantedToy) -> None:
    def mean(name: str, ranking: str = "total") -> tuple[float, float]:
        found = toy.scored(find_scorer(name))[ranking]
        return float(np.mean([f.auroc for f in found])), float(np.mean([f.first for f in found]))

    # To first order, and through what later layers carry on, they are found.
    for name in ("gradient-activation", "activation-jacobian-lens"):
        assert mean(name)[0] > 0.99
    # The most of all patches is not their sum; the head does not read what stands at patches; and
    # what is active need not act.
    assert mean("gradient-activation", "score")[1] < mean("gradient-activation")[1] - 0.1
    assert mean("activation-direct-logit")[1] < 0.5
    assert mean("activation")[1] < 0.5
    assert 0.3 < mean("random")[0] < 0.7


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    values, positive = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.3
    above = values[positive][:, None] - values[~positive]
    pairs = np.where(above > 0, 1.0, np.where(above == 0, 0.5, 0.0))
    assert auroc(values, positive) == pytest.approx(pairs.mean())
    assert auroc(np.arange(4.0), np.array([False, False, True, True])) == 1.0
    assert np.isnan(auroc(values, np.zeros(40, dtype=bool)))


def test_the_benchmark_prints_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    program = load_program("planted_truth")
    assert program.main(["--toys", "2", "--scorer", "gradient-activation"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["scorer"] for row in rows].count("gradient-activation") == 2
    assert {row["toys"] for row in rows} == {2}
    with pytest.raises(UsageError, match="no scorer"):
        find_scorer("nonsense")
