"""E5, second pass: how active the units of all sets are on a photo they were not found on."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch
from PIL import Image

from molyneux.hooks import capture
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.studies.e5_selectivity.discovery import Direction
from molyneux.studies.experiment import Rows

READINGS = ("mean", "max", "mean_no_sinks", "max_no_sinks", "last")

# The activations are computed in float32: nothing is lost, and half the room is.
CONFIRM_TABLES = {
    "e5_confirmation": pa.schema([(name, pa.list_(pa.float32())) for name in READINGS])
}
"""One row per photo: activation x sign of every distinct direction, in sorted order: its mean and
maximum over patches, the same without sink patches, and its value at the prompt's last position."""


@torch.no_grad()
def confirm(captioner: SeeingModel, photo: Image.Image, directions: Sequence[Direction]) -> Rows:
    """Return a photo's row: one forward pass of the image prompt and its text, no caption.

    Args:
        directions: as `distinct_directions` returns them.

    Where every patch is a sink at some layer, none is left out.
    """
    model = captioner.language_model
    prompt = captioner.see([photo])
    layers = sorted({layer for layer, _, _ in directions})
    with capture({layer: model.down_projection(layer) for layer in layers}) as written:
        kept = ~sink_patches(patch_norms(model, prompt))[0]
    columns = []
    for layer in layers:
        mine = [(unit, sign) for own, unit, sign in directions if own == layer]
        activation = written[layer].reshape(prompt.n_positions, -1).float().cpu()
        signs = torch.tensor([sign for _, sign in mine], dtype=activation.dtype)
        columns.append(activation[:, [unit for unit, _ in mine]] * signs)
    signed = torch.cat(columns, dim=1) if columns else torch.empty(prompt.n_positions, 0)
    patches = signed[prompt.patches]
    seen = patches[kept] if bool(kept.any()) else patches
    row = {
        "mean": patches.mean(dim=0),
        "max": patches.amax(dim=0),
        "mean_no_sinks": seen.mean(dim=0),
        "max_no_sinks": seen.amax(dim=0),
        "last": signed[-1],
    }
    return {"e5_confirmation": [{name: values.tolist() for name, values in row.items()}]}
