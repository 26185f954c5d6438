"""What a scorer is told of a model and a photo beside the prompt: a lens, a blank photo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.models.presets import find_preset
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing
from molyneux.neurons.lens import JacobianLens, load_lens
from molyneux.neurons.scorers import Context, Scorer, needs_of
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, read_photo

GREY = (128, 128, 128)
"""Of a blank photo: in the middle of 8 bits, as of no contrast."""


def scoring_context(
    model: SeeingModel | Sees,
    scorer: Scorer,
    photo: Photo,
    *,
    partners: Sequence[ImagePrompt] = (),
) -> Context:
    """Return what a scorer is told of a photo; what takes time is made where it needs it.

    Args:
        model: that sees, or what `molyneux.load` returns.
        partners: other photos' prompts, laid out like this one's.

    Raises:
        PhotoError: the photo cannot be read.
        WeightsError: the preset's lens is damaged.
        UsageError: it is no model that sees.
    """
    seeing, needs = as_seeing(model), needs_of(scorer)
    return Context(
        reference=seeing.reference,
        partners=partners,
        lens=jacobian_of(seeing) if "lens" in needs else None,
        blank=blank_patches(seeing, photo) if "blank" in needs else None,
    )


def blank_patches(seeing: SeeingModel, photo: Photo) -> Float[Tensor, "patches d_model"]:
    """Return what would stand at a photo's patches, were all of it one grey.

    Raises:
        PhotoError: the photo cannot be read.
    """
    size = read_photo(photo).size  # of which some models make more or fewer patches
    return seeing.image_prompts([Image.new("RGB", size, GREY)])[0]


def jacobian_of(captioner: SeeingModel) -> JacobianLens | None:
    """Return the Jacobian lens that a model was given, or that comes with its preset.

    Raises:
        WeightsError: the preset's file is damaged.
    """
    if isinstance(captioner.lens, JacobianLens):
        return captioner.lens
    shipped = find_preset(captioner.preset).lens if captioner.preset is not None else None
    if shipped is None:
        return None
    found = _shipped(shipped, shipped.stat().st_mtime_ns) if shipped.is_file() else None
    if found is None:
        return None
    # Another projection than the preset's has other image prompts, which it was not measured on.
    own = found.provenance.get("projection") == captioner.projection.hash()
    return found if own else None


@lru_cache(maxsize=1)
def _shipped(path: Path, changed: int) -> JacobianLens:
    """Return a preset's lens, read once for all photos."""
    return load_lens(path)
