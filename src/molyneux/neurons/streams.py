"""Reading a position before the head does: as an input embedding, or as the head would.

Schwettmann et al. 2023, section 2.1: the five input embeddings nearest to an image prompt by
cosine; control, random vectors. The logit lens (nostalgebraist 2020) reads the residual stream
after any layer through the model's own final norm and head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import whole_number
from molyneux.hooks import capture
from molyneux.neurons.decoding import extreme_tokens
from molyneux.neurons.lens import Lens
from molyneux.vision.layout import ImagePrompt

_ROWS = 512  # positions whose logits over the whole vocabulary are held at once: 100 MB


@dataclass(frozen=True)
class NearestTokens:
    """The nearest tokens of one vector and their cosines, nearest first."""

    tokens: list[str]
    cosine: list[float]


@torch.no_grad()
def nearest_tokens(
    model: LanguageModel, prompts: Float[Tensor, "patches d_model"], top: int = 5
) -> list[NearestTokens]:
    """Return, for every prompt, the tokens whose input embeddings are nearest by cosine."""
    table = normalize(model.input_embeddings().float(), dim=1)
    cosine = normalize(prompts.float().to(table.device), dim=1) @ table.T
    found = cosine.topk(min(top, cosine.shape[1]), dim=1)
    return [
        NearestTokens([model.token_text(token) for token in tokens], values)
        for tokens, values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def random_prompts(
    prompts: Float[Tensor, "patches d_model"], seed: int
) -> Float[Tensor, "patches d_model"]:
    """Return Gaussian vectors with the norms of the prompts: the paper's control."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(prompts.shape, generator=generator)
    drawn: Tensor = normalize(random, dim=1) * prompts.float().norm(dim=1, keepdim=True).cpu()
    return drawn


@torch.no_grad()
def patch_streams(
    model: LanguageModel, prompt: ImagePrompt
) -> list[Float[Tensor, "patches width"]]:
    """Return one photo's input embeddings at the patches, then the stream after every layer."""
    layers = {layer: model.layer(layer) for layer in range(model.n_layers)}
    with capture(layers, at="output") as seen:
        model.read(prompt, keep=1)
    streams = [prompt.embeddings, *(seen[layer] for layer in range(model.n_layers))]
    place = model.unembedding().device
    return [stream[0, prompt.patches].float().to(place) for stream in streams]


@torch.no_grad()
def through_lens(
    model: LanguageModel, stream: Float[Tensor, "rows width"]
) -> Float[Tensor, "rows d_model"]:
    """Return what the head would be given, were the stream the last layer's: normed by the
    model's own final norm, where it has one."""
    norm = _final_norm(model)
    if norm is not None and stream.shape[1] == model.d_stream:
        # The norm may lie on another device than the head, which is beside tied embeddings.
        stream = norm(stream.to(model.dtype)).float().to(stream.device)
    return at_head_width(model, stream)


@torch.no_grad()
def patch_tokens(
    model: LanguageModel, prompt: ImagePrompt, lens: Lens, layer: int, top: int = 5
) -> list[list[str]]:
    """Return, for every patch of one photo, the tokens that its stream after a layer raises most.

    Through the head the stream passes the final norm itself, not its scale alone. A Jacobian lens
    is taken of the whole stream, what all photos have in common included.

    Raises:
        UsageError: there is no such layer, or the lens does not read it.
    """
    layer = whole_number("a layer", layer, least=0, below=model.n_layers)
    stream = patch_streams(model, prompt)[layer + 1]
    read = through_lens(model, stream) if lens.name == "norm" else lens(layer, stream)
    return [raised for raised, _ in extreme_tokens(model, read, top)]


def _final_norm(model: LanguageModel) -> nn.Module | None:
    if model.family.final_norm is None:
        return None
    norms = model.norms_of_stream(model.n_layers - 1)
    return norms[-1] if norms else None


def at_head_width(model: LanguageModel, stream: Tensor) -> Tensor:
    """Return directions of the stream, or input embeddings, at the width of the head.

    Where the stream is of another width (OPT-350m), only input embeddings have the head's.
    """
    return stream if stream.shape[1] == model.d_model else model.to_head(stream)


@torch.no_grad()
def token_places(
    rows: Float[Tensor, "rows d_model"],
    table: Float[Tensor, "d_vocab d_model"],
    tokens: Sequence[int],
    bias: Float[Tensor, " d_vocab"] | None = None,
) -> Int[np.ndarray, "rows tokens"]:
    """Return the place of each token among all by product with each row; 0 is the first."""
    found = np.zeros((len(rows), len(tokens)), dtype=np.int64)
    for start in range(0, len(rows), _ROWS):
        logits = rows[start : start + _ROWS] @ table.T
        if bias is not None:
            logits += bias
        if logits.device.type != "cpu":  # counted where they are: they are hundreds of megabytes
            above_each = [(logits > logits[:, token, None]).sum(dim=1) for token in tokens]
            found[start : start + _ROWS] = torch.stack(above_each, dim=1).cpu().numpy()
            continue
        values = logits.numpy()
        above = np.empty(values.shape[1], dtype=bool)
        # One row at a time stays in a core's cache, and counts three times as fast as `axis=1`.
        for place, row in enumerate(values, start):
            for column, token in enumerate(tokens):
                np.greater(row, row[token], out=above)
                found[place, column] = np.count_nonzero(above)
    return found
