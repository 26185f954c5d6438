"""Other ways to take a unit's information away than setting it to zero.

A unit that is never near zero leaves what the network knows when it is zeroed (Zhang and Nanda
2023, arXiv 2309.16042). Here it is set, at the patches, to values that it does take: its own mean
over the photo's patches (`patch_mean`: how strongly it fires stays, where it fires is lost), or
what it has at each patch while an even picture of the photo's mean colour is shown (`blank`: all
that it had from what the photo shows is lost).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture, edit
from molyneux.neurons.ablation import batches
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.studies.subject import Subject
from molyneux.vision.layout import ImagePrompt

INTERVENTIONS = ("zero", "patch_mean", "blank")


def blank_photo(photo: Image.Image) -> Image.Image:
    """Return a picture of the same size in the photo's mean colour."""
    mean = np.asarray(photo.convert("RGB"), dtype=float).reshape(-1, 3).mean(axis=0)
    red, green, blue = (round(float(part)) for part in mean)
    return Image.new("RGB", photo.size, (red, green, blue))


@torch.no_grad()
def blank_activation(subject: Subject) -> Float[Tensor, "layers patches d_mlp"]:
    """Return every unit's activation at every patch while the blank photo is shown."""
    model = subject.model
    prompt = subject.captioner.see([blank_photo(subject.photo)])
    modules = {layer: model.down_projection(layer) for layer in range(model.n_layers)}
    with capture(modules, at="input") as seen:
        model.run(inputs_embeds=prompt.embeddings, beside=prompt.given(), keep=1)
    shape = (prompt.n_positions, -1)
    return torch.stack([seen[k].float().reshape(shape)[prompt.patches].cpu() for k in modules])


@torch.no_grad()
def replaced_logits(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[tuple[Sequence[Unit], Float[Tensor, "layers patches d_mlp"]]],
) -> Float[Tensor, "sets vocab"]:
    """Return the next token's logits with each set's units given other activations at the patches.

    The prompt holds one photo. As `ablated_logits` with `positions="patches"`, where all the
    activations given are zero.
    """
    rows: list[Tensor] = []
    for part in batches(sets, prompt.n_positions):
        masks = torch.stack([unit_mask(list(s), model.n_layers, model.d_mlp) for s, _ in part])
        given = [values for _, values in part]

        def change(
            layer: int,
            activation: Tensor,
            masks: Tensor = masks,
            given: list[Tensor] = given,
        ) -> Tensor:
            shape = activation.shape
            values = activation.reshape(len(given), -1, shape[-1]).clone()
            at_patches = values[:, prompt.patches]
            new = torch.stack([v[layer] for v in given]).to(values.device, values.dtype)
            chosen = masks[:, layer, None, :].to(values.device)
            values[:, prompt.patches] = torch.where(chosen, new, at_patches)
            return values.reshape(shape)

        touched = masks.any(dim=2).any(dim=0)
        modules = {k: model.down_projection(k) for k in range(model.n_layers) if touched[k]}
        with edit(modules, change):
            batch = prompt.repeated(len(part))
            output = model.run(inputs_embeds=batch.embeddings, beside=batch.given(), keep=1)
        rows.append(output.logits[:, -1].float().cpu())
    return torch.cat(rows)
