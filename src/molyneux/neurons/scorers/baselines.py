"""Another photo's place as where a line to this one begins."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture
from molyneux.neurons.checks import as_model, as_prompt
from molyneux.neurons.scorers.scorer import Context, blank_in
from molyneux.vision.layout import ImagePrompt


def with_patches(prompt: ImagePrompt, there: Float[Tensor, "1 patches d_model"]) -> ImagePrompt:
    """Return a photo's prompt with something else at its patches, and the same text."""
    embeddings = prompt.embeddings.detach().clone()
    embeddings[:, prompt.patches] = there.to(embeddings)
    return replace(prompt, embeddings=embeddings)


@torch.no_grad()
def blank_activations(
    model: LanguageModel, prompt: ImagePrompt, context: Context, scorer: str
) -> list[Float[Tensor, "positions d_mlp"]]:
    """Return every layer's units where the photo is one grey and the text the same.

    Raises:
        UsageError: the context has no blank photo, or one of another size.
    """
    prompt = as_prompt(as_model(model), prompt)
    blank = with_patches(prompt, blank_in(context, prompt, scorer))
    downs = {layer: model.down_projection(layer) for layer in range(model.n_layers)}
    with capture(downs) as seen:
        model.read(blank, keep=1)
    return [seen[n].reshape(prompt.n_positions, -1) for n in range(model.n_layers)]
