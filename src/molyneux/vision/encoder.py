"""What an image encoder is to Molyneux: pixels in, a grid of patch features out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
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

    def place(self, patch: int) -> tuple[int, int]:
        """Return (row, column) of a patch."""
        return divmod(patch, self.columns)


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the encoder's input.

    The short side is resized to `resize`, the centre `size` x `size` is kept, and pixel values
    in 0..1 are normalised to `(value - mean) / std`.
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resampling: Image.Resampling = Image.Resampling.BILINEAR

    def region(self, photo: Image.Image) -> tuple[float, float, float, float]:
        """Return the part of the photo that the encoder sees, in the photo's own pixels."""
        width, height = photo.size
        side = min(width, height) * self.size / self.resize
        left, top = (width - side) / 2, (height - side) / 2
        return left, top, left + side, top + side

    def crop(self, photo: Image.Image) -> Image.Image:
        """Return the part of the photo that the encoder sees, `size` x `size` pixels."""
        photo = _centre(photo)
        width, height = photo.size
        scale = self.resize / min(width, height)
        width, height = (max(self.size, round(side * scale)) for side in (width, height))
        resized = photo.resize((width, height), self.resampling)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return resized.crop((left, top, left + self.size, top + self.size))

    def normalise(self, crop: Image.Image) -> Float[Tensor, "3 size size"]:
        """Return a crop's pixels as the encoder takes them."""
        raw = torch.frombuffer(bytearray(crop.tobytes()), dtype=torch.uint8)
        pixels = raw.reshape(crop.height, crop.width, 3).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]


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
