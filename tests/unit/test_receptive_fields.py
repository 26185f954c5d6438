"""Where a unit looks: sign, bilinear upsampling, and the five per cent mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molyneux.neurons.receptive_fields import field_mask, receptive_fields, set_field, upsample
from molyneux.neurons.unit import Unit
from molyneux.vision.encoder import PatchGrid


def test_fields_lie_on_the_grid_in_raster_order_with_their_sign() -> None:
    activation = torch.arange(2 * 6 * 4).reshape(2, 6, 4).float()
    units = [Unit(0, 0), Unit(1, 3), Unit(1, 3), Unit(1, 3)]
    found = receptive_fields(activation, units, [1, -1, 1, 0], PatchGrid(2, 3))
    assert found[0].tolist() == [[0, 4, 8], [12, 16, 20]]
    assert found[1].tolist() == [[-27, -31, -35], [-39, -43, -47]]
    assert torch.equal(found[2], -found[1])
    assert torch.equal(found[3], found[2])  # no sign is positive


def bilinear(field: np.ndarray, size: int) -> np.ndarray:
    """Interpolate pixel by pixel, pixel centres at half integers, edges held."""
    rows, columns = field.shape
    result = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            r = min(max((y + 0.5) * rows / size - 0.5, 0), rows - 1)
            c = min(max((x + 0.5) * columns / size - 0.5, 0), columns - 1)
            r0, c0 = int(r), int(c)
            r1, c1 = min(r0 + 1, rows - 1), min(c0 + 1, columns - 1)
            above = field[r0, c0] * (1 - c + c0) + field[r0, c1] * (c - c0)
            below = field[r1, c0] * (1 - c + c0) + field[r1, c1] * (c - c0)
            result[y, x] = above * (1 - r + r0) + below * (r - r0)
    return result


@pytest.mark.parametrize("shape", [(2, 2), (3, 4), (1, 5)])
def test_upsampling_is_bilinear(shape: tuple[int, int]) -> None:
    fields = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = upsample(fields, 17)
    assert found.shape == (3, 17, 17)
    for field, heat in zip(fields, found, strict=True):
        np.testing.assert_allclose(heat, bilinear(field.double().numpy(), 17), atol=1e-5)


def test_the_mask_covers_five_per_cent_whatever_the_field() -> None:
    generator = torch.Generator().manual_seed(1)
    fields = (
        torch.randn(30, 7, 7, generator=generator) * 10 ** torch.linspace(-6, 6, 30)[:, None, None]
    )
    heat = upsample(fields, 224)
    mask = field_mask(heat)
    shares = mask.float().mean(dim=(1, 2))
    # Edges are held, so that a plateau at a corner may tie at the threshold: hence not exactly.
    assert ((shares > 0.04) & (shares <= 0.0501)).all()
    for one, covered in zip(heat, mask, strict=True):
        assert one[covered].min() > one[~covered].max()


def test_the_mask_follows_the_sign() -> None:
    field = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [0, 0, 9]]])
    field[0, 0, 0] = -9
    positive, negative = field_mask(upsample(field, 60))[0], field_mask(upsample(-field, 60))[0]
    assert positive[50:, 50:].any()
    assert not positive[:30].any()
    # Its mirror image, but for pixels whose rounding ties with the threshold.
    assert (negative != positive.flip(0, 1)).float().mean() < 0.01
    assert negative[:10, :10].any()
    assert not (negative & positive).any()


def test_a_sets_field_weighs_its_units_alike() -> None:
    loud = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    quiet = torch.tensor([[0.0, 0.0], [0.0, 0.01]])
    negative = torch.tensor([[0.0, -5.0], [0.0, 0.0]])
    found = set_field(torch.stack([loud, quiet, negative]))
    torch.testing.assert_close(found, torch.tensor([[1.0, -1.0], [0.0, 1.0]]) / 3)
    assert not set_field(torch.zeros(2, 2, 2)).any()
