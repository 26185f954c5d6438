"""A word that nobody named in a photo, chosen before the photo is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.attribution import Target
from molyneux.neurons.sight.absent import AbsentWord, absent_candidates, nearest_absent
from molyneux.neurons.sight.reading import Asked, Text, read_behind
from molyneux.vision.layout import ImagePrompt


def choose_absent(
    model: LanguageModel,
    target: Target,
    present: Collection[str],
    tokens: Collection[int],
    partners: Sequence[ImagePrompt],
    seed: str,
) -> AbsentWord | None:
    """Return the everyday noun that is most nearly as likely behind partners as a target.

    Without partners, one by a hash of the seed. The photo has no part in it.

    Args:
        present: the nouns that may not be named so, singular.
        tokens: first tokens that may not be taken.
        partners: other photos, with the text up to where the target is predicted.

    Returns:
        None: the vocabulary has no such noun.
    """
    candidates = absent_candidates(model, present, {*tokens, target.token_id})
    if not candidates:
        return None
    words = [one.word for one in candidates]
    if not partners:
        return min(
            candidates, key=lambda one: hashlib.sha256(f"{seed} {one.word}".encode()).digest()
        )
    asked = [Asked(token, 0) for token in (target.token_id, *(c.token_id for c in candidates))]
    log_p = read_behind(model, list(partners), Text((), tuple(asked))).T
    return candidates[nearest_absent(log_p[0], log_p[1:], words, 1)[0]]
