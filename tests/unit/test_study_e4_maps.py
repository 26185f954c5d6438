"""Many maps against one mask, against slow references; chance by enumeration."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from molyneux.neurons.receptive_fields import field_mask, upsample
from molyneux.statistics.overlap import average_precision, iou, iou_ceiling
from molyneux.studies.e4_fields import maps
from molyneux.studies.e4_fields.maps import (
    MapScores,
    SortedMap,
    centre_heat,
    map_scores,
    random_map,
)


def drawn_fields(n: int) -> torch.Tensor:
    return torch.randn(n, 4, 5, generator=torch.Generator().manual_seed(0))


def scored(heat: np.ndarray, mask: np.ndarray) -> MapScores:
    """Return what each map scores against one mask."""
    found = np.array([SortedMap(one).against(mask) for one in heat])
    return MapScores(found[:, 0], found[:, 1])


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 0.9])
def test_it_is_the_definitions_one_map_at_a_time(share: float) -> None:
    heat = upsample(drawn_fields(12), 40).numpy()
    heat[3] = 0.0  # a dead unit
    heat[4] = np.round(heat[4])  # many equal values
    mask = np.random.default_rng(1).random((40, 40)) < share
    found = scored(heat, mask)
    fields = field_mask(torch.from_numpy(heat)).numpy()
    for row in range(len(heat)):
        assert found.iou[row] == iou(fields[row], mask)
        assert found.auprc[row] == pytest.approx(average_precision(heat[row], mask), abs=1e-12)
    assert found.iou[3] == 0
    assert found.auprc[3] == pytest.approx(mask.mean())


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_many_fields_and_masks_are_each_pair_by_itself(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, generator = drawn_fields(12), np.random.default_rng(1)
    masks = generator.random((3, 40, 40)) < np.array([0.02, 0.2, 0.7])[:, None, None]
    wanted = generator.random((3, 12)) < 0.6
    sorted_, upsampled = [], []

    class Counted(SortedMap):
        def __init__(self, heat: np.ndarray) -> None:
            sorted_.append(1)
            super().__init__(heat)

    def counted(fields: torch.Tensor, size: int) -> torch.Tensor:
        upsampled.append(len(fields) * size**2)
        return upsample(fields, size)

    monkeypatch.setattr(maps, "_PIXELS", at_once * 40 * 40)
    monkeypatch.setattr(maps, "SortedMap", Counted)
    monkeypatch.setattr(maps, "upsample", counted)
    found = map_scores(fields, masks, wanted)
    assert len(sorted_) == len(fields)  # once each, not once a mask
    assert max(upsampled) <= at_once * 40 * 40
    for mask, one, which in zip(masks, found, wanted, strict=True):
        alone = scored(upsample(fields, 40).numpy(), mask)
        # Fields are resized some at a time there, all at once here.
        np.testing.assert_allclose(one.iou[which], alone.iou[which], rtol=1e-6)
        np.testing.assert_allclose(one.auprc[which], alone.auprc[which], rtol=1e-6)
        assert np.isnan(one.iou[~which]).all()


def test_a_field_that_is_the_mask_reaches_the_ceiling() -> None:
    size = 60
    heat = np.arange(size * size, dtype=float).reshape(1, size, size)
    exact = heat[0] >= 0.95 * size * size
    found = scored(heat, exact)
    assert found.iou[0] == 1 == iou_ceiling(float(exact.mean()))
    assert found.auprc[0] == 1
    wide = heat[0] >= 0.75 * size * size
    found = scored(heat, wide)
    assert found.iou[0] == pytest.approx(0.2) == pytest.approx(iou_ceiling(float(wide.mean())))
    assert found.auprc[0] == 1


def test_the_centre_map_finds_a_disc_at_the_centre_and_nothing_at_the_edge() -> None:
    size = 101
    heat = centre_heat(size)
    assert np.unravel_index(heat.argmax(), heat.shape) == (50, 50)
    np.testing.assert_allclose(heat, heat.T, rtol=1e-12)
    np.testing.assert_allclose(heat, heat[::-1, ::-1], rtol=1e-12)
    nearest = np.zeros_like(heat, dtype=bool)
    nearest.ravel()[np.argsort(-heat.ravel(), kind="stable")[: round(0.05 * size**2)]] = True
    found = scored(heat[None], nearest)
    assert found.iou[0] > 0.98
    assert found.auprc[0] > 0.999
    edge = np.zeros_like(nearest)
    edge[:, :5] = True
    assert scored(heat[None], edge).iou[0] == 0


@pytest.mark.parametrize("in_mask", [1, 2, 5, 6])
def test_chance_is_the_mean_over_all_orders(in_mask: int) -> None:
    mask = np.array([[i < in_mask for i in range(6)]])
    orders = np.array(list(permutations(range(6))), dtype=float)[:, None, :]
    found = scored(orders, mask)
    by_chance = random_map(6, in_mask)
    assert by_chance == pytest.approx((found.iou.mean(), found.auprc.mean()), abs=1e-12)


def test_chance_auprc_is_the_area_share_on_a_photo() -> None:
    expected, auprc = random_map(224 * 224, 10_000)
    share = 10_000 / 224**2
    assert auprc == pytest.approx(share, abs=3e-4)
    shared = 0.05 * share
    assert expected == pytest.approx(shared / (0.05 + share - shared), rel=1e-3)
