"""Where a unit looks: its activation over the patch grid, upsampled, thresholded.

Schwettmann et al. 2023, section 2.3: bilinear upsampling to the encoder's input size, threshold
at the 95th percentile (as in Network Dissection, Bau et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from molyneux.checks import is_a, shown
from molyneux.errors import UsageError
from molyneux.neurons.checks import signed_units
from molyneux.neurons.unit import Unit
from molyneux.vision.encoder import PatchGrid

PERCENTILE = 0.95
NO_GRID = "the encoder has no patch grid: one vector stands for the whole photo"


def receptive_fields(
    activation: Float[Tensor, "layers patches d_mlp"],
    units: Sequence[Unit | str],
    signs: Sequence[int],
    grid: PatchGrid,
) -> Float[Tensor, "units rows columns"]:
    """Return each unit's activation x sign over the patch grid, in activation units.

    Raises:
        UsageError: the encoder has no patch grid, so that no unit looks anywhere; there is no such
            unit; or there are not as many signs as units.
    """
    example = "attribution.activation, with captioner.encoder.grid"
    activation = is_a("activation", activation, Tensor, example)
    grid = is_a("grid", grid, PatchGrid, "captioner.encoder.grid")
    if not grid.has_patches:
        raise UsageError(
            f"{NO_GRID}, so where a unit looks cannot be mapped; choose an encoder with patches"
        )
    if activation.dim() != 3 or activation.shape[1] != grid.n_patches:
        raise UsageError(
            f"activation takes layers x {grid.n_patches} patches x units, not {shown(activation)}; "
            f"give {example}"
        )
    signed = signed_units(activation.shape[0], activation.shape[2], units, signs)
    layers, numbers = [unit.layer for unit, _ in signed], [unit.unit for unit, _ in signed]
    if not signed:
        return activation.new_zeros(0, grid.rows, grid.columns)
    maps = activation[layers, :, numbers] * activation.new_tensor([[s] for _, s in signed])
    return maps.reshape(len(signed), grid.rows, grid.columns)


def set_field(fields: Float[Tensor, "units rows columns"]) -> Float[Tensor, "rows columns"]:
    """Return the mean of units' fields, each scaled by its own largest magnitude first.

    Without the scaling the mean would be the field of the one unit with the largest activation.
    """
    largest = fields.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return (fields / largest).mean(dim=0)


def upsample(fields: Float[Tensor, "units rows columns"], size: int) -> Float[Tensor, "units h w"]:
    """Return fields bilinearly upsampled to size x size pixels."""
    shape = (size, size)
    return interpolate(fields[:, None], size=shape, mode="bilinear", align_corners=False)[:, 0]


def field_mask(heat: Float[Tensor, "units h w"]) -> Bool[Tensor, "units h w"]:
    """Return the pixels above each map's 95th percentile: always about 5 % of them."""
    threshold = heat.flatten(1).quantile(PERCENTILE, dim=1)
    return heat > threshold[:, None, None]
