"""A photo as the encoder saw it: what lies under its patches, and heat maps over it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.receptive_fields import upsample
from molyneux.vision.photo import Photo, read_photo

if TYPE_CHECKING:
    from molyneux.vision.encoder import Preprocessing

SHOWN_PIXELS = 448
_OPACITY = 0.66


def under_patches(captioner: SeeingModel, photo: Photo) -> Image.Image:
    """Return what lies under the patches of a photo, as a square of up to 448 pixels.

    A photo that the encoder squeezes into its square is squeezed here too, so that heat maps lie
    on it.

    Raises:
        PhotoError: the photo cannot be read.
    """
    seen = read_photo(photo)
    prepare: Preprocessing = captioner.encoder.preprocessing
    region = prepare.region(seen)
    if min(region[:2]) < 0:  # black was added around it
        seen, region = prepare.crop(seen), (0, 0, prepare.under_grid, prepare.under_grid)
    longer = max(region[2] - region[0], region[3] - region[1])
    side = min(SHOWN_PIXELS, max(prepare.under_grid, round(longer)))
    return seen.resize((side, side), Image.Resampling.BICUBIC, box=region)


def as_jpeg(picture: Image.Image) -> bytes:
    """Return a picture as the file that a run folder keeps."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def seen_photo(captioner: SeeingModel, photo: Photo) -> bytes:
    """Return what lies under the patches of a photo, as a JPEG (see `under_patches`)."""
    return as_jpeg(under_patches(captioner, photo))


def over_photo(seen: Image.Image, field: Float[Tensor, "rows columns"]) -> Image.Image:
    """Return a heat map laid over a photo in grey: from black, 0 or less, to its largest value."""
    from matplotlib import colormaps

    size = seen.width
    heat = upsample(field[None].float().cpu(), size)[0].numpy()
    share = np.clip(heat / max(float(heat.max()), 1e-9), 0, 1)
    colours = Image.fromarray((colormaps["inferno"](share)[..., :3] * 255).astype(np.uint8))
    return Image.blend(seen.convert("L").convert("RGB"), colours, _OPACITY)
