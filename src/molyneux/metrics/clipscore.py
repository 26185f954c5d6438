"""CLIPScore: how well a text fits a photo, as CLIP embeds both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from molyneux.checkpoints.hub import model_name, reading_model
from molyneux.weights.fetch import Note

DEFAULT_MODEL = "openai/clip-vit-large-patch14"
_HESSEL_WEIGHT = 2.5
_TEXTS_PER_BATCH = 64
_IMAGES_PER_BATCH = 8


class ClipScorer:
    """CLIPScore on one CLIP model; make one with `load_clip_scorer`."""

    def __init__(self, name: str, network: Any, tokenizer: Any, processor: Any) -> None:
        self.name = name
        self._network = network
        self._tokenizer = tokenizer
        self._processor = processor
        self._longest: int = self._network.config.text_config.max_position_embeddings

    def image_features(
        self, images: Sequence[Image.Image]
    ) -> Float[np.ndarray, "images dimensions"]:
        """Return CLIP's features of photos, of length 1."""
        found = [
            _features(self._network.get_image_features, pixels) for pixels in self._pixels(images)
        ]
        return self._stacked(found)

    def text_features(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dimensions"]:
        """Return CLIP's features of texts, of length 1; what passes 77 tokens is cut off.

        Each distinct text is embedded once, in batches that depend on the set of texts alone.
        """
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        order = sorted(set(texts), key=lambda text: (len(text), text))
        found = []
        for start in range(0, len(order), _TEXTS_PER_BATCH):
            tokens = self._tokenizer(
                order[start : start + _TEXTS_PER_BATCH],
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            )
            found.append(
                _features(
                    self._network.get_text_features,
                    tokens["input_ids"],
                    attention_mask=tokens["attention_mask"],
                )
            )
        rows = {text: row for row, text in enumerate(order)}
        return self._stacked(found)[[rows[text] for text in texts]]

    def score(self, image: Image.Image, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Return 100 x cosine of the photo with every text, the unit of the paper's tables.

        Negative cosines stay negative.
        """
        scores: np.ndarray = clip_scores(self.image_features([image]), self.text_features(texts))[0]
        return scores

    def _pixels(self, images: Sequence[Image.Image]) -> Iterator[Tensor]:
        for start in range(0, len(images), _IMAGES_PER_BATCH):
            part = [image.convert("RGB") for image in images[start : start + _IMAGES_PER_BATCH]]
            yield self._processor(images=part, return_tensors="pt")["pixel_values"]

    def _stacked(self, features: list[Tensor]) -> Float[np.ndarray, "rows dimensions"]:
        if not features:
            return np.zeros((0, int(self._network.config.projection_dim)), dtype=np.float32)
        return torch.cat(features).numpy()


def clip_scores(
    images: Float[np.ndarray, "images dimensions"], texts: Float[np.ndarray, "texts dimensions"]
) -> Float[np.ndarray, "images texts"]:
    """Return 100 x cosine of features as `ClipScorer` gives them."""
    # Not a matrix product, whose last bit depends on the row: one text, one score.
    cosines: np.ndarray = np.einsum("id,td->it", images.astype(float), texts.astype(float))
    return 100 * cosines


def hessel_scaling(scores: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Return 2.5 x max(cosine, 0) for scores of 100 x cosine (Hessel et al. 2021, equation 1)."""
    positive: np.ndarray = np.maximum(scores, 0)
    return _HESSEL_WEIGHT * positive / 100


def load_clip_scorer(
    model: str | Path = DEFAULT_MODEL, note: Note = lambda line: None
) -> ClipScorer:
    """Return the scorer of a CLIP model, by its name on the Hugging Face hub or a local folder.

    Raises:
        WeightsError: its files cannot be had or read. Its one line is what a table says in
            place of the score; everything else can go on without.
    """
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    name = model_name(model)
    note(f"loading {name} for CLIPScore")
    remedy = "give a folder that holds a CLIP model, its tokenizer and preprocessor_config.json"
    with reading_model(model, "no CLIPScore", remedy) as arguments:
        network = CLIPModel.from_pretrained(
            model, dtype=torch.float32, use_safetensors=True, **arguments
        )
        tokenizer = AutoTokenizer.from_pretrained(model, **arguments)
        processor = AutoImageProcessor.from_pretrained(model, backend="pil", **arguments)
    return ClipScorer(name, network.eval().requires_grad_(False), tokenizer, processor)


def _features(call: Any, inputs: Tensor, **others: Tensor) -> Float[Tensor, "rows dimensions"]:
    """Return what a CLIP model embeds, at length 1; transformers 5 wraps it in an object."""
    with torch.inference_mode():
        found = call(inputs, **others)
        found = found if isinstance(found, Tensor) else found.pooler_output
        return nn.functional.normalize(found, dim=-1)
