"""Patches the model uses as attention sinks, which carry huge activations about nothing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture
from molyneux.neurons.checks import as_model, as_prompt
from molyneux.vision.layout import ImagePrompt

FACTOR = 10.0


@torch.no_grad()
def patch_norms(
    model: LanguageModel, prompt: ImagePrompt
) -> Float[Tensor, "photos layers patches"]:
    """Return the norm of the residual stream after every layer at every patch."""
    model = as_model(model)
    prompt = as_prompt(model, prompt, one_photo=False)
    layers = {layer: model.layer(layer) for layer in range(model.n_layers)}
    with capture(layers, at="output") as seen:
        model.read(prompt, keep=1)
    return torch.stack(
        [seen[layer][:, prompt.patches].float().norm(dim=-1).cpu() for layer in layers], dim=1
    )


def sink_patches(norms: Float[Tensor, "photos layers patches"]) -> Bool[Tensor, "photos patches"]:
    """Return which patches exceed ten times the photo's median patch norm at some layer."""
    median = norms.median(dim=2, keepdim=True).values
    return (norms > FACTOR * median).any(dim=1)


def mean_activation(
    activation: Float[Tensor, "layers patches d_mlp"], sinks: Bool[Tensor, " patches"] | None
) -> Float[Tensor, "layers d_mlp"]:
    """Return every unit's mean activation over the patches that are no sinks.

    Over all patches, where every one of them is a sink.
    """
    if sinks is None or bool(sinks.all()):
        return activation.mean(dim=1)
    return activation[:, ~sinks.to(activation.device)].mean(dim=1)
