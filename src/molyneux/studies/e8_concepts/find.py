"""What every unit does at the photos of a concept: what it gives the word, and how it is moved."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Target
from molyneux.neurons.change import change_scores
from molyneux.neurons.scorers import Context
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import word_tokens
from molyneux.studies.experiment import Rows
from molyneux.studies.subject import Subject
from molyneux.words.articles import article_of

TABLES = {
    "e8_totals": pa.schema([("concept", pa.string()), ("total", pa.binary())]),
    "e8_moved": pa.schema([("activation", pa.binary()), ("z", pa.binary())]),
}
"""Numbers of every unit, in layers x units, as floats of two bytes.

`total`: what the unit gives the concept's word, in logits, summed over patches. `activation`: its
mean over the patches that are no sinks; `z`: how far that is from reference photos'
(`change_scores`). Of the latter there is one row a photo.
"""


def words_by_text(
    model: LanguageModel, concepts: Collection[str]
) -> Iterator[tuple[list[int], list[tuple[str, int]]]]:
    """Yield the tokens of each article, with the concepts that follow it and their first tokens.

    Concepts whose word begins with a blank token are left out.
    """
    for article, group in groupby(sorted(concepts, key=lambda c: (article_of(c), c)), article_of):
        first = [(concept, word_tokens(model, concept)[:1]) for concept in group]
        asked = [(concept, tokens[0]) for concept, tokens in first if tokens]
        if asked:
            yield word_tokens(model, article), asked


def find(subject: Subject, concepts: Collection[str]) -> Rows:
    """Return a photo's rows: the totals of each concept's word, read after "A picture of a"."""
    model, facts, prompt = subject.model, subject.facts, subject.prompt
    moments = facts.reference.require_activation()
    some = subject.sink_patches
    sinks = some if bool(some.any()) and not bool(some.all()) else None
    totals = []
    for text, asked in words_by_text(model, concepts):
        until = prompt.followed_by(model, text)
        targets = [Target(token, until.n_positions - 1) for _, token in asked]
        scores = facts.scorer.score(
            model, until, targets, context=Context(facts.reference), sinks=sinks
        )
        for (concept, _), total in zip(asked, scores.patches.total, strict=True):
            totals.append({"concept": concept, "total": packed(total)})
    activation = patch_activations(model, prompt)
    kept = activation if sinks is None else activation[:, ~sinks.to(activation.device)]
    z = change_scores(activation, moments.mean, moments.deviation, sinks)
    moved = {"activation": packed(kept.mean(dim=1)), "z": packed(z)}
    return {"e8_totals": totals, "e8_moved": [moved]}


def packed(values: Float[Tensor, "layers d_mlp"]) -> bytes:
    """Return numbers as bytes, two a number."""
    half = values.detach().float().cpu().clamp(*_RANGE).half()
    return half.contiguous().numpy().astype("<f2").tobytes()


def unpacked(value: bytes, shape: tuple[int, int]) -> Float[np.ndarray, "layers d_mlp"]:
    """Return what `packed` made bytes of."""
    return np.frombuffer(value, dtype="<f2").astype(np.float64).reshape(shape)


_LIMITS = torch.finfo(torch.float16)
_RANGE = (_LIMITS.min, _LIMITS.max)
