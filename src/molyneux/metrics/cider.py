"""CIDEr-D: how far a caption uses the word sequences that people's captions agree on."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

LONGEST = 4
SIGMA = 6.0
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

Grams = Counter[tuple[str, ...]]


def words_of(caption: str) -> list[str]:
    """Return the words of a caption in lower case, without punctuation."""
    return _TOKEN.findall(caption.lower())


class CiderScorer:
    """CIDEr-D (Vedantam, Zitnick and Parikh 2015, arXiv 1411.5726, sections 4 and 6).

    A caption's score against a photo is the mean over its references, and over n = 1..4, of

        10 exp(-(l(c) - l(s))^2 / (2 * 6^2)) * sum_w min(g_w(c), g_w(s)) g_w(s) / (|g(c)| |g(s)|)

    where l counts words and g_w is how often the n-gram w occurs, times its idf,
    log(photos / max(1, photos with w in a reference)), over the photos given here.

    As in the authors' program counts are not divided by the caption's length. Two departures
    from it: words are split by a rule of our own and not by the Penn Treebank's, and nothing is
    stemmed.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Count the n-grams of each photo's reference captions.

        Raises:
            ValueError: there is no photo, or one without references.
        """
        if not references or not all(references):
            raise ValueError("CIDEr takes at least one reference caption for every photo")
        words = [[words_of(caption) for caption in captions] for captions in references]
        self._lengths = [[len(one) for one in captions] for captions in words]
        grams = [[_grams(one) for one in captions] for captions in words]
        seen: Grams = Counter()
        for captions in grams:
            seen.update({gram for counts in captions for by_n in counts for gram in by_n})
        self._seen = seen
        self._all = math.log(len(references))
        self._vectors = [[self._weigh(counts) for counts in captions] for captions in grams]

    def score(
        self, captions: Sequence[str], photos: Sequence[int] | None = None
    ) -> Float[np.ndarray, " captions"]:
        """Return each caption's CIDEr-D (0 to 10) against a photo's references.

        Args:
            photos: which photo each caption is scored against; the first against the first, and
                so on, if not given.
        """
        against = range(len(captions)) if photos is None else photos
        return np.array(
            [self._one(caption, photo) for caption, photo in zip(captions, against, strict=True)]
        )

    def _weigh(self, counts: list[Grams]) -> list[dict[tuple[str, ...], float]]:
        return [
            {g: n * (self._all - math.log(max(1, self._seen[g]))) for g, n in by_n.items()}
            for by_n in counts
        ]

    def _one(self, caption: str, photo: int) -> float:
        words = words_of(caption)
        own = self._weigh(_grams(words))
        total = 0.0
        for reference, length in zip(self._vectors[photo], self._lengths[photo], strict=True):
            alike = sum(_similarity(a, b) for a, b in zip(own, reference, strict=True)) / LONGEST
            total += alike * math.exp(-((len(words) - length) ** 2) / (2 * SIGMA**2))
        return 10 * total / len(self._vectors[photo])


def _grams(words: list[str]) -> list[Grams]:
    return [
        Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        for n in range(1, LONGEST + 1)
    ]


def _similarity(own: dict[tuple[str, ...], float], other: dict[tuple[str, ...], float]) -> float:
    norm = math.hypot(*own.values()) * math.hypot(*other.values())
    if norm == 0:
        return 0.0
    return sum(min(weight, other[g]) * other[g] for g, weight in own.items() if g in other) / norm
