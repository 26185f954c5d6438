"""Tiny models that see, made ready for `claims`: one photo's prompt, and Hugging Face's own model.

The package's view of a model (its adapter) stands beside the bare model, in the form in which
`reference/slow.py` takes it: places written out by hand, input embeddings in, logits out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from tiny_models import BEGIN, D_MODEL, tiny_captioner, tiny_model, tiny_photos, tiny_tokenizer
from tiny_vlms import hugging_face_inputs, tiny_vlm
from torch import Tensor, nn

from molyneux.adapters.families import Family
from molyneux.adapters.language_model import LanguageModel
from molyneux.models.captioner import Captioner
from molyneux.models.seeing_model import Photo
from molyneux.vision.encoder import ImageEncoder
from molyneux.vision.layout import ImagePrompt, Layout
from molyneux.vision.projection import random_projection


@dataclass(frozen=True)
class Subject:
    """One model and one photo, of which claims are measured.

    Attributes:
        kind: what `reference/slow.py` calls the architecture.
        model: the language model with the places its adapter names.
        prompt: the photo, laid out.
        network: the same model as `reference/slow.py` takes it.
        inputs: what Hugging Face's own `generate` is given for the photo.
    """

    kind: str
    model: LanguageModel
    prompt: ImagePrompt
    network: nn.Module
    inputs: Mapping[str, Tensor]

    def followed_by(self, token_ids: list[int]) -> Subject:
        """Return the subject with a caption behind the prompt, for all but `generate`."""
        prompt, network = self.prompt.followed_by(self.model, token_ids), self.network
        if isinstance(network, Behind):
            network = Behind(network.whole, prompt.given())
        return replace(self, prompt=prompt, network=network)

    def with_row(self, family: Family) -> Subject:
        """Return the subject with another row for the same model, unchecked."""
        model = LanguageModel(self.model.model, self.model.tokenizer, family)
        return replace(self, model=model)


class Behind(nn.Module):
    """A vision-language model as a language model: fed embeddings, its layers at `model.layers`."""

    def __init__(self, whole: Any, beside: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.whole, self.beside = whole, beside
        idefics = whole.config.model_type in ("idefics3", "smolvlm")
        self.model = whole.model.text_model if idefics else whole.model.language_model

    def forward(self, inputs_embeds: Tensor, use_cache: bool = False) -> Any:
        return self.whole(inputs_embeds=inputs_embeds, use_cache=use_cache, **self.beside)

    def generate(self, **inputs: Any) -> Tensor:
        ids: Tensor = self.whole.generate(**inputs)
        return ids


def of_captioner(kind: str, captioner: Captioner, photo: Photo) -> Subject:
    """Return a captioner of a tiny language model of a kind, and a photo."""
    prompt = captioner.see([photo])
    mask = torch.ones(prompt.embeddings.shape[:2], dtype=torch.long)
    inputs = {"inputs_embeds": prompt.embeddings, "attention_mask": mask}
    network: Any = captioner.language_model.model
    return Subject(kind, captioner.language_model, prompt, network, inputs)


@functools.cache
def of_language_model(kind: str, dtype: torch.dtype = torch.float32) -> Subject:
    """Return a tiny language model that sees through the toy encoder."""
    return of_captioner(kind, tiny_captioner(kind, dtype=dtype), tiny_photos(1)[0])


@functools.cache
def of_vlm(kind: str, dtype: torch.dtype = torch.float32) -> Subject:
    """Return a tiny vision-language model, generating from what its own processor makes."""
    seeing, photo = tiny_vlm(kind, dtype=dtype), tiny_photos(1)[0]
    prompt = seeing.see([photo])
    inputs = hugging_face_inputs(kind, seeing, photo)
    whole = seeing.language_model.model
    # Inside every one of them lies a model whose layers and MLPs are called as Llama's.
    return Subject("llama", seeing.language_model, prompt, Behind(whole, prompt.given()), inputs)


def captioner_of(encoder: ImageEncoder, dtype: torch.dtype = torch.float32) -> Captioner:
    """Return a captioner of a tiny Llama, an encoder and a random projection."""
    provenance = {
        "language_model": "tiny-llama",
        "encoder": encoder.name,
        "layout": Layout(BEGIN).record(),
    }
    projection = random_projection(encoder.d_features, D_MODEL, 6.0, provenance)
    model = tiny_model("llama", dtype=dtype)
    return Captioner.from_parts(model, tiny_tokenizer(), encoder, projection)


def of_encoder(encoder: ImageEncoder, photo: Photo, dtype: torch.dtype = torch.float32) -> Subject:
    """Return a tiny Llama that sees a photo through an encoder."""
    return of_captioner("llama", captioner_of(encoder, dtype), photo)
