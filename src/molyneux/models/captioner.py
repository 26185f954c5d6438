"""A frozen language model, a frozen encoder and one projection, assembled to caption photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.models.generation import MAX_TOKENS, continue_greedily
from molyneux.models.presets import PRESETS, Preset, find_preset
from molyneux.neurons.reference import Reference, load_reference
from molyneux.vision.encoder import ImageEncoder, prepare_pixels
from molyneux.vision.layout import ImagePrompt, Layout, lay_out
from molyneux.vision.photo import read_photo
from molyneux.vision.projection import Projection, load_projection, require_match

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Photo = str | os.PathLike[str] | Image.Image
Note = Callable[[str], None]


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


@dataclass(frozen=True)
class Parts:
    """The frozen parts of a captioner, before a projection joins them."""

    language_model: LanguageModel
    encoder: ImageEncoder
    names: dict[str, str]
    hashes: dict[str, str]

    @classmethod
    def load(
        cls, preset: Preset, dtype: torch.dtype = torch.float32, note: Note = _silent
    ) -> Parts:
        """Return a preset's language model and encoder, fetched at first use.

        Raises:
            WeightsError: weights are missing and cannot be fetched, or are corrupt.
        """
        from molyneux.models.cache import read_record
        from molyneux.models.efficientnet import load_efficientnet_lite0, prepare_efficientnet_lite0
        from molyneux.models.smollm2 import load_smollm2, prepare_smollm2
        from molyneux.vision.efficientnet import EfficientNetEncoder

        language_folder = prepare_smollm2(note)
        encoder_folder = prepare_efficientnet_lite0(note)
        model, tokenizer = load_smollm2(language_folder, dtype=dtype)
        return cls(
            LanguageModel.adapt(model, tokenizer),
            EfficientNetEncoder(load_efficientnet_lite0(encoder_folder)),
            {"language_model": preset.language_model, "encoder": preset.encoder},
            {
                "language_model": _weights_hash(read_record(language_folder)),
                "encoder": _weights_hash(read_record(encoder_folder)),
            },
        )


def _weights_hash(record: dict[str, Any]) -> str:
    """Return the hash of the published weights: files made from them vary with the libraries."""
    published: dict[str, str] = record["source"]["sha256"]
    return next(sha256 for name, sha256 in published.items() if name != "wheel")


@dataclass(frozen=True)
class Captioner:
    """What sees: photos in, captions out, with everything between them at hand.

    Attributes:
        preset: the preset's name, or None for parts given by hand.
        names: what the parts are called, in documents and provenance.
        hashes: sha256 of each part's weights.
        reference: scores of all units over reference photos, where there is a table.
    """

    language_model: LanguageModel
    encoder: ImageEncoder
    projection: Projection
    names: dict[str, str]
    hashes: dict[str, str]
    preset: str | None = None
    reference: Reference | None = None

    @classmethod
    def load(
        cls,
        preset: str = "smollm2-effnet",
        *,
        projection: Path | None = None,
        reference: Path | None = None,
        note: Note = _silent,
    ) -> Captioner:
        """Return a preset's captioner in float32, fetching its weights at first use.

        Args:
            projection: another projection than the preset's.
            reference: another reference table than the preset's.
            note: told, one line at a time, what takes long.

        Raises:
            UsageError: there is no such preset.
            WeightsError: weights are missing, corrupt, or do not belong together.
        """
        chosen = find_preset(preset)
        joined = load_projection(projection or chosen.projection)
        parts = Parts.load(chosen, note=note)
        require_match(joined, {"layout": Layout(chosen.begin).record()}, None)
        captioner = cls.join(parts, joined, preset=preset)
        table = reference or (chosen.reference if projection is None else None)
        return captioner if table is None else captioner.with_reference(load_reference(table))

    @classmethod
    def join(cls, parts: Parts, projection: Projection, *, preset: str | None = None) -> Captioner:
        """Return parts joined by a projection that was made for them.

        Raises:
            WeightsError: the projection was made for other parts or has another shape.
        """
        shape = (parts.language_model.d_model, parts.encoder.d_features)
        require_match(projection, parts.names, shape)
        hashes = {**parts.hashes, "projection": projection.hash()}
        return cls(parts.language_model, parts.encoder, projection, parts.names, hashes, preset)

    @classmethod
    def from_parts(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        encoder: ImageEncoder,
        projection: Projection,
    ) -> Captioner:
        """Return a captioner of any Hugging Face causal LM, any encoder and a projection.

        Raises:
            AdapterError: the language model's family is not known.
            WeightsError: the projection has another shape.
        """
        language_model = LanguageModel.adapt(model, tokenizer)
        names = {
            "language_model": str(projection.provenance["language_model"]),
            "encoder": encoder.name,
        }
        return cls.join(Parts(language_model, encoder, names, {}), projection)

    def with_reference(self, reference: Reference) -> Captioner:
        """Return the captioner with a reference table that was measured on these parts.

        Raises:
            WeightsError: the table was measured on others.
        """
        reference.require({**self.names, "projection": self.projection.hash()})
        return Captioner(
            self.language_model,
            self.encoder,
            self.projection,
            self.names,
            self.hashes,
            self.preset,
            reference,
        )

    @property
    def layout(self) -> Layout:
        """How patches and text are laid out, as the projection was trained."""
        return self.projection.layout

    def encode(self, photos: Sequence[Photo]) -> Float[Tensor, "photos patches feat"]:
        """Return the encoder's patch features of photos."""
        return self.encoder.encode(prepare_pixels(self.encoder, [read_photo(p) for p in photos]))

    def image_prompts(self, photos: Sequence[Photo]) -> Float[Tensor, "photos patches d_model"]:
        """Return the input embedding that stands for each patch."""
        return self.projection.project(self.encode(photos))

    def see(self, photos: Sequence[Photo]) -> ImagePrompt:
        """Return photos as the language model is given them, with the layout's text."""
        return lay_out(self.language_model, self.layout, self.image_prompts(photos))

    def write(self, prompt: ImagePrompt, max_tokens: int = MAX_TOKENS) -> list[list[int]]:
        """Return the token ids of each photo's greedy caption."""
        return continue_greedily(self.language_model, prompt, max_tokens)

    def caption(self, photo: Photo) -> str:
        """Return the greedy caption of one photo, without the prompt's text.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.caption_all([photo])[0]

    def caption_all(self, photos: Sequence[Photo]) -> list[str]:
        """Return the greedy captions of several photos, in one batch."""
        return [self.language_model.decode(ids).strip() for ids in self.write(self.see(photos))]


__all__ = ["PRESETS", "Captioner", "Parts"]
