"""What sampled units do exactly: the truth that every scorer is held against.

No scorer has a part in which units these are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from molyneux.data.dataset import Item
from molyneux.neurons.unit import Unit
from molyneux.studies.compare.design import (
    EFFECTS,
    MEAN,
    RESAMPLE,
    SPENT,
    STRONG,
    TARGETS,
    UNIFORM,
    WORDS,
    ZERO,
    effect_rows,
    strong_units,
    uniform_units,
)
from molyneux.studies.compare.photo import ComparedPhoto
from molyneux.studies.parts import Phase

TRUTH = "truth"
EXACT, WORDS_OF, TOOK = "effects", "words", "spent"
"""Tables of a part."""

Opened = Callable[[Item, str], ComparedPhoto]
"""Gives the photo of an item and its SHA-256."""


def truth_phase(opened: Opened) -> Phase:
    """Return the phase that measures a photo's sampled units: to zero all, the uniform ones also
    to the reference mean and to another photo's values."""

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        photo = opened(item, sha256)
        subject = photo.subject
        row: dict[str, Any] = {
            "caption": subject.sentence.caption,
            "noun": subject.word.lemma if subject.word else None,
            "human_nouns": sorted(subject.human_nouns),
            EXACT: [],
            WORDS_OF: [],
            TOOK: [],
        }
        if photo.has_word:
            row[WORDS_OF] = word_rows(photo)
            for name, units, put_to in samples(photo):
                started = time.perf_counter()
                found = photo.effects(units, put_to)
                if found is not None:
                    row[EXACT] += effect_rows(
                        name, units, put_to, found.logit, found.log_probability
                    )
                    spent = time.perf_counter() - started
                    row[TOOK].append({"put_to": put_to, "units": len(units), "seconds": spent})
        return row

    return Phase(TRUTH, {EXACT: EFFECTS, WORDS_OF: WORDS, TOOK: SPENT}, measure)


def samples(photo: ComparedPhoto) -> list[tuple[str, list[Unit], str]]:
    """Return what is measured of a photo: a sample's name, its units, and what they are put to."""
    n_layers, d_mlp = photo.strength.shape
    uniform = uniform_units(n_layers, d_mlp, photo.subject.seed("uniform units"))
    strong = strong_units(photo.strength, photo.subject.seed("strong units"), uniform)
    return [
        (UNIFORM, uniform, ZERO),
        (STRONG, strong, ZERO),
        (UNIFORM, uniform, MEAN),
        (UNIFORM, uniform, RESAMPLE),
    ]


def word_rows(photo: ComparedPhoto) -> list[dict[str, Any]]:
    """Return the photo's two words."""
    word = photo.subject.word
    assert word is not None
    absent = photo.absent
    resampled = photo.partners[0].name if photo.partners else None
    return [
        {
            "target": target,
            "word": lemma,
            "token": token,
            "logit": float(logit),
            "probability": float(probability),
            "resampled": resampled,
        }
        for target, lemma, token, (logit, probability) in zip(
            TARGETS,
            [word.lemma, *([] if absent is None else [absent.word])],
            photo.tokens,
            photo.probabilities().tolist(),
            strict=False,
        )
    ]
