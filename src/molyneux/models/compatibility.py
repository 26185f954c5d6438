"""Whether an encoder and a language model are fit for a projection: patches, pixels, positions."""

from __future__ import annotations

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import WeightsError
from molyneux.models.generation import MAX_TOKENS
from molyneux.vision.encoder import ImageEncoder, Preprocessing
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection
from molyneux.weights.limber_checkpoints import Shown

_NEAR = 0.01
"""Of a pixel's value, in the units the encoder takes: a byte is about as much."""


def require_patches(projection: Projection, encoder: ImageEncoder) -> None:
    """Refuse an encoder with another number of patches than its projection was trained on.

    Raises:
        WeightsError: it has.
    """
    expected = projection.provenance.get("patches")
    if isinstance(expected, int) and expected != encoder.grid.n_patches:
        raise WeightsError(
            f"the projection was trained on {expected} patches a photo, and {encoder.name} gives "
            f"{encoder.grid.n_patches}; give the encoder it was trained with"
        )


def require_room(model: LanguageModel, layout: Layout, n_patches: int) -> None:
    """Refuse a language model whose positions do not hold the patches, the text and a caption.

    Raises:
        WeightsError: it has fewer, by its configuration.
    """
    limit = getattr(model.model.config, "max_position_embeddings", None)
    ahead = 0 if layout.begin is None else 1
    needed = ahead + n_patches + len(model.encode(layout.text)) + MAX_TOKENS
    if isinstance(limit, int) and needed > limit:
        raise WeightsError(
            f"the language model has {limit} positions, and {n_patches} patches with their text "
            f"and a caption take {needed}; give a model with more, or an encoder with fewer patches"
        )


def require_shown(shown: Shown, encoder: ImageEncoder) -> None:
    """Refuse an encoder object whose photos come in another size, another grid or other numbers.

    Its captions would only be worse, and nobody would know why.

    Raises:
        WeightsError: says what it should be and what it is.
    """
    grid, prepare = encoder.grid, encoder.preprocessing
    if (grid.rows, grid.columns) != (shown.rows, shown.columns):
        raise WeightsError(
            f"the projection was trained on a grid of {shown.rows} x {shown.columns}, and "
            f"{encoder.name} has {grid.rows} x {grid.columns}; {_advice(shown)}"
        )
    if prepare.size != shown.size:
        raise WeightsError(
            f"the projection was trained on photos of {shown.size} x {shown.size} pixels, and "
            f"{encoder.name} takes {prepare.size} x {prepare.size}; {_advice(shown)}"
        )
    for byte in (0, 255):
        expected = [(byte / 255 - m) / s for m, s in zip(shown.mean, shown.std, strict=True)]
        made = _value(prepare, byte)
        if any(abs(a - b) > _NEAR for a, b in zip(expected, made, strict=True)):
            raise WeightsError(
                f"the projection was trained where a {'white' if byte else 'black'} pixel is "
                f"({_listed(expected)}), and the preprocessing of {encoder.name} makes it "
                f"({_listed(made)}); {_advice(shown)}"
            )


def _value(prepare: Preprocessing, byte: int) -> list[float]:
    scaled = byte * prepare.rescale + prepare.offset
    return [(scaled - m) / s for m, s in zip(prepare.mean, prepare.std, strict=True)]


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _advice(shown: Shown) -> str:
    return (
        f"give it Preprocessing(size={shown.size}, ..., mean={shown.mean}, std={shown.std}), on "
        "which the page on presets says more"
    )
