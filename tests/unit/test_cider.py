"""CIDEr-D against a slow second implementation, and on captions worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from molyneux.metrics.cider import CiderScorer, words_of

REFERENCES = [
    ["a dog runs on the beach", "A dog, running on a beach.", "the dog"],
    ["a cat sleeps on a bed", "a sleeping cat"],
    ["a man rides a horse on the beach at night"],
    ["two people and a dog in a red boat on the water", "a boat"],
]
CANDIDATES = ["a dog on the beach", "a cat on a bed", "a man on a horse", "a red boat boat boat"]


def slow(candidate: str, photo: int) -> float:
    """The definition, gram by gram, over the union of the n-grams of both captions."""
    clean = [[c.lower().replace(",", "").replace(".", "").split() for c in r] for r in REFERENCES]
    words = candidate.lower().split()
    total = 0.0
    for n in (1, 2, 3, 4):

        def grams(text: list[str], n: int = n) -> list[str]:
            return [" ".join(text[i : i + n]) for i in range(len(text)) if len(text) - i >= n]

        def idf(gram: str, grams: object = grams) -> float:
            photos = sum(any(gram in grams(one) for one in refs) for refs in clean)  # type: ignore
            return math.log(len(REFERENCES) / max(1, photos))

        for reference in clean[photo]:
            every = sorted({*grams(words), *grams(reference)})
            a = np.array([grams(words).count(g) * idf(g) for g in every])
            b = np.array([grams(reference).count(g) * idf(g) for g in every])
            lengths = (len(words) - len(reference)) ** 2
            norm = np.sqrt((a**2).sum()) * np.sqrt((b**2).sum())
            if norm:
                alike = (np.minimum(a, b) * b).sum() / norm
                total += alike * math.exp(-lengths / 72) / len(clean[photo]) / 4
    return 10 * total


def test_it_equals_the_slow_one() -> None:
    scorer = CiderScorer(REFERENCES)
    for photo in range(4):
        found = scorer.score(CANDIDATES, [photo] * 4)
        assert found == pytest.approx([slow(c, photo) for c in CANDIDATES], rel=1e-9)
    assert scorer.score(CANDIDATES).min() > 0.1


def test_the_reference_itself_scores_ten() -> None:
    scorer = CiderScorer([["a small dog runs fast"], ["one cat sleeps well"]])
    found = scorer.score(["a small dog runs fast", "One cat sleeps well."])
    assert found == pytest.approx([10, 10])
    assert scorer.score(["a small dog runs fast"], [1]) == pytest.approx([0])


def test_length_and_repetition_cost() -> None:
    scorer = CiderScorer([["red dog"], ["blue cat"]])
    # Unigrams of "red dog dog": clipped product 2 L^2 against norms sqrt(5) L and sqrt(2) L, with
    # L the idf; its one shared bigram of two against one; no longer n-gram is shared.
    expected = 10 * math.exp(-1 / 72) * (2 / math.sqrt(10) + 1 / math.sqrt(2)) / 4
    assert scorer.score(["red dog dog"], [0]) == pytest.approx([expected])
    order = [scorer.score([text], [0])[0] for text in ("red dog", "red dog dog", "dog dog dog")]
    assert all(better > worse for better, worse in pairwise(order))


def test_words_that_every_photo_has_count_for_nothing() -> None:
    scorer = CiderScorer([["a dog"], ["a cat"]])
    assert scorer.score(["a", ""], [0, 0]).tolist() == [0, 0]


def test_words_are_split_at_punctuation() -> None:
    assert words_of("The man's well-lit café, at 3.") == [
        "the",
        "man's",
        "well-lit",
        "café",
        "at",
        "3",
    ]


def test_a_photo_without_references_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one reference"):
        CiderScorer([["a dog"], []])
    with pytest.raises(ValueError, match="at least one reference"):
        CiderScorer([])
