"""What an image prompt says by itself: the input embeddings nearest to it.

Schwettmann et al. 2023, section 2.1: the five nearest by cosine; control, random vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from molyneux.adapters.language_model import LanguageModel


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
    return normalize(random, dim=1) * prompts.float().norm(dim=1, keepdim=True).cpu()
