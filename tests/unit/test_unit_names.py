"""`L12.u905`: how units are named, looked up, masked and ranked."""

from __future__ import annotations

import pytest
import torch

from molyneux.errors import UsageError
from molyneux.neurons.unit import Unit, parse_unit, top_units, unit_mask


@pytest.mark.parametrize(
    ("name", "unit", "sign"),
    [
        ("L12.u905", Unit(12, 905), 1),
        ("L12.u905-", Unit(12, 905), -1),
        ("l0.U0", Unit(0, 0), 1),
        (" L29.u1535 ", Unit(29, 1535), 1),
    ],
)
def test_names_are_read(name: str, unit: Unit, sign: int) -> None:
    assert parse_unit(name, 30, 1536) == (unit, sign)


def test_every_name_reads_back() -> None:
    for unit in (Unit(0, 0), Unit(12, 905), Unit(29, 1535)):
        assert parse_unit(str(unit), 30, 1536) == (unit, 1)
    assert str(Unit(12, 905)) == f"{Unit(12, 905)}" == "L12.u905"


@pytest.mark.parametrize(
    "name", ["", "L12", "12.905", "L12.905", "L-1.u3", "L1.u2+", "xL1.u2", "L1.u2 L3.u4", "L1.u2--"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"is not a unit; write .* as in L12\.u905"):
        parse_unit(name, 30, 1536)


@pytest.mark.parametrize("name", ["L30.u0", "L0.u1536", "L99999999999999.u0"])
def test_a_unit_the_model_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no unit L.*L0 to L29 and units u0 to u1535") as caught:
        parse_unit(name, 30, 1536)
    assert "\n" not in str(caught.value)


def test_units_sort_by_layer_then_unit() -> None:
    assert sorted([Unit(1, 0), Unit(0, 9), Unit(0, 2)]) == [Unit(0, 2), Unit(0, 9), Unit(1, 0)]


def test_a_mask_is_true_where_the_units_are() -> None:
    mask = unit_mask([Unit(0, 2), Unit(1, 0), Unit(0, 2)], 2, 3)
    assert mask.tolist() == [[False, False, True], [True, False, False]]
    assert not unit_mask([], 2, 3).any()


def test_the_highest_units_come_first() -> None:
    score = torch.tensor([[1.0, 5.0, -2.0], [5.0, 0.0, 9.0]])
    assert top_units(score, 4) == [Unit(1, 2), Unit(0, 1), Unit(1, 0), Unit(0, 0)]
    assert len(top_units(score, 100)) == 6
    assert top_units(score, 0) == []


def test_equal_scores_keep_the_order_of_layer_and_unit() -> None:
    assert top_units(torch.zeros(2, 40), 80) == [Unit(la, u) for la in range(2) for u in range(40)]


def test_what_is_scored_minus_infinity_never_ranks() -> None:
    score = torch.tensor([[-torch.inf, -3.0], [2.0, -torch.inf]])
    assert top_units(score, 4) == [Unit(1, 0), Unit(0, 1)]


def test_equal_scores_keep_the_order_of_layer_then_unit() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(-3, 4, (5, 40), generator=generator).float()
    score[score == -3] = -torch.inf
    ranked = sorted(
        (Unit(layer, k) for layer in range(5) for k in range(40)),
        key=lambda unit: (-float(score[unit.layer, unit.unit]), unit),
    )
    ranked = [unit for unit in ranked if score[unit.layer, unit.unit] != -torch.inf]
    for n in (1, 7, 60, len(ranked), 200):
        assert top_units(score, n) == ranked[:n]
