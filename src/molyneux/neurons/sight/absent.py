"""Words that a photo does not show, as likely behind other photos as a word that it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.checks import as_model
from molyneux.neurons.targets import word_tokens
from molyneux.words.everyday import EVERYDAY_NOUNS
from molyneux.words.kinds import unrelated_to

ABSENT = 3


@dataclass(frozen=True)
class AbsentWord:
    """An everyday noun of one token that nobody named in a photo."""

    word: str
    token_id: int


def absent_candidates(
    model: LanguageModel,
    present: Collection[str],
    tokens: Collection[int] = (),
    *,
    nouns: Sequence[str] = EVERYDAY_NOUNS,
) -> list[AbsentWord]:
    """Return the everyday nouns that are one token, and of which nothing says they are there.

    None is what is present, a synonym, or anything wider or narrower (`words.kinds`); and none
    has the first token of what is present.

    Args:
        present: the nouns of the caption, of people's captions, and annotated ones; singular.
        tokens: others not to be taken: those that the caption writes.
    """
    model = as_model(model)
    first = {ids[0] for noun in present if (ids := word_tokens(model, noun))}
    used = {*tokens, *first}
    found = []
    for noun in unrelated_to(present, nouns):
        ids = word_tokens(model, noun)
        if len(ids) == 1 and ids[0] not in used:
            used.add(ids[0])
            found.append(AbsentWord(noun, ids[0]))
    return found


def nearest_absent(
    target: Float[Tensor, " partners"],
    candidates: Float[Tensor, "candidates partners"],
    words: Sequence[str],
    n: int = ABSENT,
) -> list[int]:
    """Return the places of the candidates that are most nearly as likely as the target.

    By the mean log-probability behind partners; ties by the hash of the word. The photo has no
    part in it.

    Args:
        target: its log-probabilities (nats) behind partners; NaN for those left out.
        candidates: likewise of each candidate; one without partners is not taken.
    """
    distance = (candidates.double().nanmean(dim=1) - target.double().nanmean()).abs()
    known = (~torch.isnan(distance)).nonzero().flatten().tolist()
    return sorted(
        known,
        key=lambda place: (
            float(distance[place]),
            hashlib.sha256(words[place].encode()).digest(),
        ),
    )[:n]
