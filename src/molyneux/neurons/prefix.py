"""What comes ahead of one position, passed once: rows that differ there alone are one step each."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True, eq=False)
class Prefix:
    """The keys and values of all positions ahead of one.

    Attributes:
        prompt: one photo's, with that position.
        position: which.
        cache: as Hugging Face keeps them.
    """

    prompt: ImagePrompt
    position: int
    cache: Any

    def read(self, model: LanguageModel, n_rows: int) -> Tensor:
        """Return the logits behind the position, of equal rows: edits make them differ."""
        rows, at = self.prompt.repeated(n_rows), slice(self.position, self.position + 1)
        beside = {name: one.values[..., at] for name, one in rows.beside.items()}
        output = model.run(
            inputs_embeds=rows.embeddings[:, at].detach(),
            past_key_values=_repeated(self.cache, n_rows),
            beside=beside,
            use_cache=True,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


@torch.no_grad()
def read_prefix(model: LanguageModel, prompt: ImagePrompt, position: int) -> Prefix | None:
    """Return what comes ahead of a position behind the patches.

    None where a step could not follow it: nothing is ahead, the model keeps no keys and values, or
    it is told what positions are, by which some models have a prompt look ahead (PaliGemma).
    """
    told = any(one.following is not None for one in prompt.beside.values())
    if told or position < max(prompt.patches.stop, 1):
        return None
    beside = {
        name: replace(one, values=one.values[..., :position]) for name, one in prompt.beside.items()
    }
    ahead = ImagePrompt(prompt.embeddings[:, :position], prompt.patches, beside)
    cache = getattr(model.read(ahead, keep=1, use_cache=True), "past_key_values", None)
    return None if cache is None else Prefix(prompt, position, cache)


def _repeated(cache: Any, n_rows: int) -> Any:
    """Return a cache of one row as one of several, which may grow: the one given stays as it is."""
    found = copy.copy(cache)
    found.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in found.layers:
        if layer.is_initialized:
            layer.keys = layer.keys.expand(n_rows, *layer.keys.shape[1:])
            layer.values = layer.values.expand(n_rows, *layer.values.shape[1:])
    return found
