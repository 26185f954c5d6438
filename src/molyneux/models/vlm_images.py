"""What a vision-language model's own image processor shows of a photo, and in which grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from molyneux.adapters.vlm_families import VisionFamily, one_side
from molyneux.errors import AdapterError, UsageError
from molyneux.vision.encoder import PatchGrid, Preprocessing
from molyneux.vision.preprocessor_config import preprocessing_of, three

_TOO_DIFFERENT = 0.25
"""Of the spread of a photo's pixels: what another order of resizing may change on average."""


@dataclass(frozen=True)
class OwnEye:
    """Where a vision-language model's patches lie on a photo.

    Attributes:
        name: what provenance records.
        family: the row that says which part of a photo the patches show.
        image_processor: the checkpoint's own, on the Pillow backend.
        grid: rows and columns of patches.
        preprocessing: the part of a photo that lies under them.
    """

    name: str
    family: VisionFamily
    image_processor: Any
    grid: PatchGrid
    preprocessing: Preprocessing

    @classmethod
    def of(
        cls,
        family: VisionFamily,
        config: Any,
        image_processor: Any,
        centre: int | None,
        name: str,
    ) -> OwnEye:
        """Return what an image processor shows, by its settings and by what it makes of a blank.

        Args:
            config: the model's.
            centre: sides in pixels of the square that is cut out, where the family has it so.
            name: of the model.

        Raises:
            AdapterError: its photos are not square.
            UsageError: `centre` is no multiple of a patch, or not what the processor leaves.
        """

        def eye(side: int, preparing: Preprocessing) -> OwnEye:
            grid = PatchGrid(side, side)
            return cls(f"{name} (its vision network)", family, image_processor, grid, preparing)

        settings: dict[str, Any] = image_processor.to_dict()
        mean, std = three(settings["image_mean"]), three(settings["image_std"])
        if family.view == "centre":
            assert family.cell is not None
            size, cell = centre or family.centre, family.cell(config)
            made = _processed(image_processor, family, Image.new("RGB", (size, size)))
            shape = made["image_grid_thw"][0].tolist()
            across = [shape[i] * int(settings["patch_size"]) for i in (1, 2)]
            if size < 1 or size % cell or across != [size, size]:
                raise UsageError(
                    f"{family.name} takes squares of {size} pixels as {across[0]} x {across[1]}; "
                    f"choose a size (--centre) that is a multiple of {cell}, within what its image "
                    "processor leaves as it is"
                )
            preparing = Preprocessing(size, size, mean, std, Image.Resampling.BICUBIC)
            return eye(size // cell, preparing)
        assert family.side is not None
        side = family.side(config)
        patch = one_side(config.vision_config.patch_size)
        if family.view == "crop":
            cut = preprocessing_of(settings, "CLIP", "the image processor's configuration")
            return eye(side, cut.over_patches(patch))
        blank = _processed(image_processor, family, Image.new("RGB", (48, 32)))
        pixels = _first_view(blank["pixel_values"])
        if pixels.shape[1] != pixels.shape[2]:
            raise AdapterError(
                f"the image processor makes photos {pixels.shape[1]} high and {pixels.shape[2]} "
                "wide; only squares are known here; give the checkpoint's own "
                "preprocessor_config.json"
            )
        size = int(pixels.shape[1])
        resampling = Image.Resampling(int(settings["resample"]))
        squeezed = Preprocessing(size, size, mean, std, resampling, keep_aspect=False)
        return eye(side, squeezed.over_patches(patch))

    def pixels(self, photo: Image.Image) -> dict[str, Tensor]:
        """Return what the image processor makes of a photo: pixels, and their shape."""
        shown = self.preprocessing.crop(photo) if self.family.view == "centre" else photo
        return _processed(self.image_processor, self.family, shown)

    def require_region(self) -> None:
        """Check that the image processor shows the part of a photo that the row says.

        Raises:
            AdapterError: it does not.
        """
        if self.family.view == "centre":
            return  # cut out here
        photo = _asymmetric_photo(self.preprocessing.size)
        seen = self.pixels(photo)["pixel_values"]
        claimed = self.preprocessing.crop(photo)
        again = _processed(self.image_processor, self.family, claimed)["pixel_values"]
        first, second = (_first_view(pixels) for pixels in (seen, again))
        off = float((first - second).abs().mean() / first.std())
        if first.shape != second.shape or off > _TOO_DIFFERENT:
            raise AdapterError(
                f"the image processor ({type(self.image_processor).__name__}) does not show "
                f"{self.family.name} the part of a photo that its row says (off by {off:.2f}); "
                "give the checkpoint's own preprocessor_config.json, or mend the row's `view`"
            )


def _processed(image_processor: Any, family: VisionFamily, photo: Image.Image) -> dict[str, Tensor]:
    made = image_processor(images=photo, return_tensors="pt", **family.image_settings)
    return {key: value for key, value in made.items() if isinstance(value, Tensor)}


def _first_view(pixels: Tensor) -> Tensor:
    """Return the photo's own view out of what may hold tiles too: 3 height width."""
    while pixels.dim() > 3:
        pixels = pixels[0]
    return pixels


def _asymmetric_photo(size: int) -> Image.Image:
    """Return a photo in which no part looks like another: half as wide again as it is high."""
    photo = Image.new("RGB", (3, 2))
    upper = [(250, 20, 20), (20, 250, 20), (20, 20, 250)]
    photo.putdata([*upper, (240, 240, 0), (0, 0, 0), (250, 250, 250)])
    return photo.resize((3 * size, 2 * size), Image.Resampling.BICUBIC)
