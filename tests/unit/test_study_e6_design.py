"""How many rows E6 takes for a photo, and what it reads off a row of logits: exact answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molyneux.neurons.unit import Unit
from molyneux.studies.e6_causality.design import _plan, few_steps, headline_steps
from molyneux.studies.e6_causality.measure import Measured, effects
from molyneux.studies.e6_causality.singles import in_turn


def test_steps_taken_where_the_whole_grid_is_not() -> None:
    grid = [0, 5, 10, 20, 40, 50, 80, 100, 161, 321, 643]
    assert few_steps(grid) == [10, 50, 100, 321, 643]
    assert headline_steps(grid) == [100, 643]
    assert headline_steps(grid, 10, 7) == [10, 100, 643]


def test_a_photo_of_the_default_model_takes_at_most_280_rows() -> None:
    """Forward passes of the full grid and five seeds: sets, single units, blank, captions."""
    grid = [5, 10, 20, 40, 50, 80, 100, 161, 321, 643]
    rows = 0
    for view in ("patches", "last"):
        for _, name, steps in _plan(view, grid):
            rows += len(steps) * (5 if name == "random" else 1)
    intact, singles, replaced, blank, captions = 2, 30, 8, 1, 15
    assert rows == 216
    assert rows + intact + singles + replaced + blank + captions == 272


def test_effects_of_known_logits() -> None:
    intact = torch.tensor([2.0, 1.0, 0.0, -1.0])
    off = torch.tensor([0.0, 1.0, 0.0, -1.0])
    found = effects(off, intact, Measured(target=0, rival=1, unrelated=(2, 3), d_vocab=4))
    gain = float(intact.exp().sum().log() - off.exp().sum().log())
    assert found["margin_change"] == -2
    assert found["rank"] == 2
    assert found["logprob_change"] == pytest.approx(-2 + gain, abs=1e-6)
    assert found["unrelated_change"] == pytest.approx(gain, abs=1e-6)
    assert found["ratio"] == pytest.approx(float(np.exp(-2 + gain)), rel=1e-6)
    bare = effects(off, intact, Measured(target=0, rival=None, unrelated=(), d_vocab=4))
    assert bare["margin_change"] is None
    assert bare["unrelated_change"] is None


def test_single_controls_are_shared_out_among_other_photos() -> None:
    lists = [[Unit(layer, unit) for unit in range(6)] for layer in range(3)]
    found = in_turn(lists, 5)
    assert found == [Unit(0, 0), Unit(1, 1), Unit(2, 2), Unit(0, 3), Unit(1, 4)]
    alike = [[Unit(0, unit) for unit in (3, 4, 5)], [Unit(0, unit) for unit in (9, 3, 7)]]
    assert in_turn(alike, 2) == [Unit(0, 3), Unit(0, 7)]  # the second's own second is taken
    assert in_turn([[Unit(0, 1)]], 3) == [Unit(0, 1)]
