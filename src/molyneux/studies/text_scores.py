"""How well texts made of tokens agree with a photo's human captions and with the photo itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from molyneux.words.nouns import find_nouns

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.studies.experiment import Scorers


def text_of(tokens: Iterable[str]) -> str:
    """Return tokens as one text: the space around each removed, joined by single spaces."""
    return " ".join(stripped for token in tokens if (stripped := token.strip()))


def nouns_text(captions: Iterable[str]) -> str:
    """Return the distinct nouns of captions, singular, in the order they are first named."""
    return " ".join(
        dict.fromkeys(noun.lemma for caption in captions for noun in find_nouns(caption))
    )


@dataclass(frozen=True)
class TextScores:
    """The scores of a photo's texts, each scored once.

    Attributes:
        bert: BERTScore F1, the mean over the human captions; None where there are none, or no
            backbone.
        clip: 100 x cosine with the photo; None where there are no CLIP weights.
    """

    bert: dict[str, float] | None
    clip: dict[str, float] | None

    def of(self, text: str) -> dict[str, float | None]:
        """Return the columns `bert` and `clip` of one text."""
        return {
            "bert": None if self.bert is None else self.bert[text],
            "clip": None if self.clip is None else self.clip[text],
        }


def score_texts(
    texts: Iterable[str], captions: Sequence[str], photo: Image.Image, scorers: Scorers
) -> TextScores:
    """Return the scores of all distinct texts against one photo and its human captions."""
    distinct = sorted(set(texts))
    bert = clip = None
    if captions and scorers.bert is not None:
        f1 = scorers.bert.f1(distinct, list(captions)).mean(axis=1)
        bert = dict(zip(distinct, map(float, f1), strict=True))
    if scorers.clip is not None:
        cosine = np.asarray(scorers.clip.score(photo, distinct))
        clip = dict(zip(distinct, map(float, cosine), strict=True))
    return TextScores(bert, clip)
