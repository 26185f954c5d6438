"""E1: do image prompts already say what the photo shows, before the language model reads them?

Schwettmann et al. 2023, section 2.1 and Table 1. Each image prompt is read as the five tokens
whose input embeddings are nearest by cosine, joined to one text a patch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from molyneux.adapters.language_model import LanguageModel
    from molyneux.studies.subject import Subject

NEAREST = 5
_TOKENS = 16_384  # embedded at once

PROMPTS = pa.schema(
    [
        ("patch", pa.int32()),
        ("sink", pa.bool_()),
        ("norm", pa.float64()),
        ("tokens", pa.list_(pa.string())),
        ("cosine", pa.list_(pa.float64())),
        ("random_tokens", pa.list_(pa.string())),
        ("random_cosine", pa.list_(pa.float64())),
    ]
)
"""A row per image prompt: its nearest tokens, and those of a random vector of its norm."""

GEOMETRY = pa.schema(
    [
        ("prompt_norm", pa.float64()),
        ("token_norm", pa.float64()),
        ("prompt_nearest", pa.float64()),
        ("random_nearest", pa.float64()),
        ("token_nearest", pa.float64()),
        ("prompt_pair", pa.float64()),
        ("random_pair", pa.float64()),
        ("token_pair", pa.float64()),
    ]
)
"""One row: mean norms, mean cosines with the nearest token (of a token: with the nearest other
one), and mean cosines between two of the same kind; tokens are as many random ones as patches."""

TEXTS = pa.schema(
    [
        ("source", pa.string()),
        ("patch", pa.int32()),
        ("bert", pa.float64()),
        ("clip", pa.float64()),
    ]
)
"""A row per text: of `prompts`, `random` and `other` (another photo's prompts) one a patch; of
`caption`, `caption_nouns` and `human_nouns` one."""


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of at least one value."""
    found = list(values)
    return float(sum(found) / len(found))


@torch.no_grad()
def token_norm(model: LanguageModel) -> float:
    """Return the mean norm of all tokens as they stand beside the prompts.

    Gemma's embedding layer multiplies its rows, so the table alone would not do.
    """
    tokens = torch.arange(model.d_vocab)
    norms = [model.embed(part).float().norm(dim=1) for part in tokens.split(_TOKENS)]
    return float(torch.cat(norms).mean())


def random_tokens(subject: Subject, n: int) -> Float[Tensor, "n d"]:
    """Return the input embeddings of random tokens."""
    embeddings = subject.model.input_embeddings()
    generator = torch.Generator().manual_seed(subject.seed("E1 random tokens"))
    drawn = torch.randperm(len(embeddings), generator=generator)[:n]
    return embeddings[drawn.to(embeddings.device)].float().cpu()


def pair_cosine(vectors: Float[Tensor, "n d"]) -> float:
    """Return the mean cosine of two different vectors of a set; 1 for a single vector."""
    directions = normalize(vectors.double(), dim=1)
    n = len(directions)
    total = float((directions.sum(dim=0) ** 2).sum() - (directions**2).sum())
    return total / (n * (n - 1)) if n > 1 else 1.0
