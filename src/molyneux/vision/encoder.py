"""What an image encoder is to Molyneux: pixels in, a grid of patch features out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class PatchGrid:
    """Rows and columns of patches, numbered in raster order."""

    rows: int
    columns: int

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return self.rows * self.columns

    @property
    def has_patches(self) -> bool:
        """Whether there is a grid at all: one cell is a vector pooled over the whole photo."""
        return self.n_patches > 1

    def place(self, patch: int) -> tuple[int, int]:
        """Return (row, column) of a patch."""
        return divmod(patch, self.columns)


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the encoder's input, `size` x `size` pixels.

    The photo is resized, its centre `size` x `size` is kept (with black around it where it is
    smaller), and its bytes become `(byte * rescale + offset - mean) / std`.

    Attributes:
        size: sides of what is kept, in pixels.
        resize: the short side is resized to this; None where photos are not resized.
        resampling: Pillow's filter for resizing.
        keep_aspect: False where the whole photo is squeezed into `resize` x `resize`, whatever
            its shape.
        rounding: how the resized long side becomes whole: to the nearest, or `down`, as the image
            processors of transformers do.
        rescale: what a byte of 0..255 is multiplied with.
        offset: what is added then.
        covered: sides of the part of what is kept that lies under the patch grid, from its upper
            left corner; all of it if None. 384 pixels in patches of 14 leave 6 to no patch.
    """

    size: int
    resize: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resampling: Image.Resampling = Image.Resampling.BILINEAR
    keep_aspect: bool = True
    rounding: Literal["nearest", "down"] = "nearest"
    rescale: float = 1 / 255
    offset: float = 0.0
    covered: int | None = field(default=None, repr=False)  # no pixel hangs on it

    @property
    def under_grid(self) -> int:
        """Sides of the part of what is kept that lies under the patch grid, in pixels."""
        return self.size if self.covered is None else self.covered

    def over_patches(self, patch: int) -> Preprocessing:
        """Return the same for patches of this many pixels a side, of which whole ones count."""
        over = self.size % patch
        return replace(self, covered=self.size - over) if over else self

    def region(self, photo: Image.Image) -> tuple[float, float, float, float]:
        """Return the part of the photo that lies under the patches, in the photo's own pixels.

        A square where the aspect is kept, else a part of the photo's own shape. It reaches beyond
        the photo where black is added around it. The resized photo's whole pixels may put it up
        to one of them aside.
        """
        width, height = photo.size
        if self.resize is None:
            shown = (float(self.size), float(self.size))
        elif self.keep_aspect:
            side = min(width, height) * self.size / self.resize
            shown = (side, side)
        else:
            shown = (width * self.size / self.resize, height * self.size / self.resize)
        left, top = (width - shown[0]) / 2, (height - shown[1]) / 2
        under = self.under_grid / self.size
        return left, top, left + shown[0] * under, top + shown[1] * under

    def crop(self, photo: Image.Image) -> Image.Image:
        """Return the part of the photo that the encoder sees, `size` x `size` pixels."""
        return self._fit(photo, self.resampling)

    def crop_mask(self, mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "size size"]:
        """Return a mask over the photo's pixels as one over those under the patches.

        Every pixel takes the nearest one's value; what is added around a small photo is False.
        """
        image = Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255)
        fitted = self._fit(image, Image.Resampling.NEAREST)
        under = self.under_grid
        return torch.from_numpy(np.array(fitted)[:under, :under] > 0)

    def _fit(self, photo: Image.Image, resampling: Image.Resampling) -> Image.Image:
        if self.keep_aspect and self.rounding == "nearest":
            photo = _centre(photo)
        width, height = self._resized(photo.size)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        kept = (left, top, left + self.size, top + self.size)
        if self.resize is not None and width * height > _MOST_PIXELS:
            # 1 x 100,000 pixels resized as a whole would fill the memory: only what is kept is.
            x, y = photo.width / width, photo.height / height
            right, bottom = min(kept[2] * x, photo.width), min(kept[3] * y, photo.height)
            box = (max(left * x, 0), max(top * y, 0), right, bottom)
            return photo.resize((self.size, self.size), resampling, box=box)
        if photo.size != (width, height):
            photo = photo.resize((width, height), resampling)
        return photo.crop(kept)

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height after resizing."""
        width, height = size
        if self.resize is None:
            return size
        if not self.keep_aspect:
            return self.resize, self.resize
        short = min(width, height)
        if self.rounding == "down":
            return self.resize * width // short, self.resize * height // short
        scale = self.resize / short
        return max(self.size, round(width * scale)), max(self.size, round(height * scale))

    def normalise(self, crop: Image.Image) -> Float[Tensor, "3 size size"]:
        """Return a crop's pixels as the encoder takes them."""
        raw = torch.frombuffer(bytearray(crop.tobytes()), dtype=torch.uint8)
        scaled = (raw.double() * self.rescale).float() + self.offset
        pixels = scaled.reshape(crop.height, crop.width, 3).permute(2, 0, 1)
        mean, std = (torch.tensor(of, dtype=torch.float32) for of in (self.mean, self.std))
        return (pixels - mean[:, None, None]) / std[:, None, None]


_MOST_PIXELS = 25_000_000  # of a resized photo: at 224 pixels, one 500 times as long as high


def _centre(photo: Image.Image, most: int = 8) -> Image.Image:
    """Return a very long photo's central part: resizing 1 x 100,000 pixels would fill the memory.

    What is cut off is far from the square that is kept, so that ordinary photos keep every pixel.
    """
    width, height = photo.size
    short = min(width, height)
    if max(width, height) <= most * short:
        return photo
    w, h = min(width, most * short), min(height, most * short)
    left, top = (width - w) // 2, (height - h) // 2
    return photo.crop((left, top, left + w, top + h))


@runtime_checkable
class ImageEncoder(Protocol):
    """Anything that turns normalised pixels into patch features in raster order."""

    name: str
    grid: PatchGrid
    d_features: int
    preprocessing: Preprocessing

    def encode(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n patches feat"]:
        """Return the features of every patch, without gradients."""
        ...


def prepare_pixels(
    encoder: ImageEncoder, photos: list[Image.Image]
) -> Float[Tensor, "n 3 height width"]:
    """Return photos cropped, resized and normalised for an encoder."""
    prepare = encoder.preprocessing
    return torch.stack([prepare.normalise(prepare.crop(photo)) for photo in photos])
