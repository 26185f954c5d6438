"""Fair controls: same layers, nothing twice, nothing forbidden, none made up."""

from __future__ import annotations

from collections import Counter

import torch
from tiny_models import KINDS, tiny_language_model

from molyneux.neurons.rankings import complete_prefix, matched_units, random_units, row_norms
from molyneux.neurons.unit import Unit

UNITS = [Unit(1, 4), Unit(0, 2), Unit(1, 0), Unit(2, 7), Unit(1, 9)]


def test_random_units_keep_the_layers_in_order_and_avoid_the_excluded() -> None:
    excluded = {*UNITS, Unit(1, 1), Unit(2, 3)}
    for seed in range(20):
        drawn = random_units(UNITS, 10, excluded, seed)
        found = [unit for unit in drawn if unit is not None]
        assert [unit.layer for unit in found] == [unit.layer for unit in UNITS]
        assert len(set(found)) == len(UNITS)
        assert not set(found) & excluded
        assert all(0 <= unit.unit < 10 for unit in found)
        assert drawn == random_units(UNITS, 10, excluded, seed)


def test_seeds_differ_and_every_free_unit_is_drawn_alike() -> None:
    excluded = {Unit(0, 0), Unit(0, 1)}
    drawn = [random_units([Unit(0, 0)], 6, excluded, seed)[0] for seed in range(600)]
    counts = Counter(unit.unit for unit in drawn if unit is not None)
    assert set(counts) == {2, 3, 4, 5}
    # 600 draws of 4: 150 each, standard deviation 10.6.
    assert all(100 < n < 200 for n in counts.values())


def test_a_layer_that_runs_out_gives_none_for_the_rest() -> None:
    units = [Unit(0, 0), Unit(0, 1), Unit(1, 0), Unit(0, 2)]
    drawn = random_units(units, 4, set(units), 0)
    assert drawn[0] == Unit(0, 3)
    assert drawn[1] is drawn[3] is None
    assert drawn[2] is not None
    matched = matched_units(units, torch.rand(2, 4), set(units))
    assert matched[0] == Unit(0, 3)
    assert matched[1] is matched[3] is None
    assert random_units([], 4, set(), 0) == matched_units([], torch.rand(2, 4), set()) == []


def test_matched_units_are_the_nearest_left_in_the_layer() -> None:
    strength = torch.tensor([[10.0, 1.0, 9.0, 9.5, 30.0, 0.9], [10.0, 10.0, 0.0, 0.0, 0.0, 0.0]])
    units = [Unit(0, 0), Unit(0, 1), Unit(0, 4)]
    found = matched_units(units, strength, set(units))
    assert found == [Unit(0, 3), Unit(0, 5), Unit(0, 2)]
    assert matched_units(units[::-1], strength, set(units))[0] == Unit(0, 3)
    assert matched_units([Unit(1, 0)], strength, {Unit(1, 0)}) == [Unit(1, 1)]
    # Equally near: the lower unit, so that a rerun gives the same control.
    assert matched_units([Unit(1, 0)], strength, {Unit(1, 0), Unit(1, 1)}) == [Unit(1, 2)]


def test_matched_units_are_taken_greedily_in_the_order_given() -> None:
    generator = torch.Generator().manual_seed(0)
    for case in range(20):
        # Few distinct values, so that many are equally near; and one that overflowed.
        strength = torch.randint(0, 6, (2, 30), generator=generator).float()
        strength[0, 7] = torch.inf
        order = torch.randperm(60, generator=generator).tolist()
        units = [Unit(*divmod(i, 30)) for i in order[:25]]
        excluded = {Unit(*divmod(i, 30)) for i in order[15:35]}
        free = [Unit(layer, k) for layer in range(2) for k in range(30)]
        free = [unit for unit in free if unit not in excluded]
        expected: list[Unit | None] = []
        for unit in units:
            own = float(strength[unit.layer, unit.unit])
            own = min(own, 1e300)
            near = [
                (abs(min(float(strength[other.layer, other.unit]), 1e300) - own), other)
                for other in free
                if other.layer == unit.layer
            ]
            expected.append(min(near)[1] if near else None)
            if near:
                free.remove(min(near)[1])
        assert matched_units(units, strength, excluded) == expected, case


def test_matched_units_match_better_than_random_ones() -> None:
    strength = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)) ** 4
    units = [Unit(layer, int(k)) for layer in range(3) for k in strength[layer].topk(20).indices]
    excluded = set(units)

    def distance(others: list[Unit | None]) -> float:
        return sum(
            abs(float(strength[a.layer, a.unit] - strength[b.layer, b.unit]))
            for a, b in zip(units, others, strict=True)
            if b is not None
        )

    matched = matched_units(units, strength, excluded)
    assert len({*matched} - excluded) == len(units)
    assert distance(matched) < 0.7 * distance(random_units(units, 200, excluded, 0))


def test_what_is_matched_is_the_norm_of_what_a_unit_writes() -> None:
    """Gemma 2 and 3 write through the scale of a norm after the MLP."""
    for kind in KINDS:
        model = tiny_language_model(kind)
        found = row_norms(model)
        for layer in range(model.n_layers):
            (norm,) = model.norms_of_write(layer) or [None]
            scale = 1 if norm is None else 1 + norm.weight
            expected = (model.output_rows(layer) * scale).norm(dim=1)
            torch.testing.assert_close(found[layer], expected)
            bare = model.output_rows(layer).norm(dim=1)
            assert (norm is None) == torch.allclose(found[layer], bare, rtol=1e-3)


def test_a_prefix_is_whole_or_nothing() -> None:
    units = [Unit(0, 1), None, Unit(0, 2)]
    assert complete_prefix(units, 0) == []
    assert complete_prefix(units, 1) == [Unit(0, 1)]
    assert complete_prefix(units, 2) is None
    assert complete_prefix(UNITS, 5) == UNITS
    assert complete_prefix(UNITS, 6) is None
