"""A photo with everything that is asked of more than one of its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from molyneux.explain.settings import Settings
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import Attribution
from molyneux.neurons.contrast import Behind
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.targets import Sentence, Word
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True)
class Beside:
    """A word that nobody named: a target beside one that is explained.

    Attributes:
        attribution: of all such words of the photo.
        place: its place among them.
        behind: what units give these words behind partners; None without any.
    """

    word: AbsentWord
    attribution: Attribution
    behind: Behind | None
    place: int


@dataclass(frozen=True)
class Case:
    """A photo with everything that is asked of more than one of its words.

    Attributes:
        sentence: the caption; where it has no noun and words were asked for, the article that
            they follow.
        behind: what units give the words behind partners; None without any.
        sinks: which patches are sinks.
        absent: of the words whose units are switched off, each with one that nobody named.
        others: reference photos that show something else, the control first.
        unrelated: everyday nouns that the caption does not hold, and the first token of each.
    """

    model: SeeingModel
    settings: Settings
    prompt: ImagePrompt
    sentence: Sentence
    attribution: Attribution
    behind: Behind | None
    sinks: Tensor
    others: list[OtherPhoto]
    unrelated: tuple[list[str], list[int]]
    absent: Mapping[int, Beside] = field(default_factory=dict)

    def up_to(self, word: Word) -> ImagePrompt:
        """Return the prompt that ends where a word is predicted."""
        language = self.model.language_model
        return self.sentence.up_to(language, self.prompt, word.target.position)


def is_ablated(asking: Settings, number: int, word: Word) -> bool:
    """Return whether units are switched off for a word: the first, those asked for, or all."""
    first = number == 0 or word.span is None
    return asking.ablate == "all" or (asking.ablate == "first" and first)
