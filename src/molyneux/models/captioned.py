"""A photo that was captioned once, and what is written behind it when units are changed.

The prompt and the caption as it is are kept, so that changes can be tried one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import several
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Intervention, intervened, intervened_logits
from molyneux.neurons.targets import Sentence, ask_for, read_sentence, require_tokens
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo

NEXT = 10
"""How many of the likeliest tokens an answer has."""


@dataclass(frozen=True, eq=False)
class Captioned:
    """A photo as the model was given it, and the caption that it wrote.

    Attributes:
        prompt: the photo with the layout's text.
        sentence: the caption, with its nouns.
    """

    prompt: ImagePrompt
    sentence: Sentence

    def __repr__(self) -> str:
        return f"Captioned({self.sentence.caption!r})"

    @property
    def caption(self) -> str:
        """What the model wrote, without the text it went on from."""
        return self.sentence.caption

    def asked_at(self, model: LanguageModel, word: str = "a") -> ImagePrompt:
        """Return the prompt that ends where words are asked for: before the caption's first noun.

        Behind a caption without a noun, after " a" instead of it.

        Raises:
            UsageError: the word is empty, or begins with a blank token.
        """
        sentence, asked = ask_for(model, self.prompt, self.sentence, word)
        return sentence.up_to(model, self.prompt, asked.target.position)


@dataclass(frozen=True)
class Answer:
    """What a model writes behind a photo, and how likely words are there.

    Attributes:
        caption: without the text it went on from.
        probabilities: of the words asked for, of each the first token, after the same text: where
            the caption, as it is without any change, has its first noun.
        next: the likeliest tokens there, each with its probability.
    """

    caption: str
    probabilities: tuple[float, ...]
    next: tuple[tuple[str, float], ...]

    def __repr__(self) -> str:
        return f"<{self.caption!r}>"


def caption_photo(seeing: SeeingModel, photo: Photo) -> Captioned:
    """Return a photo with the caption that the model writes of it.

    Raises:
        PhotoError: it cannot be read.
    """
    prompt = seeing.see([photo])
    written = seeing.write(prompt)[0]
    return Captioned(prompt, read_sentence(seeing.language_model, prompt, written))


def answer(
    seeing: SeeingModel,
    captioned: Captioned,
    changes: Sequence[Intervention],
    ask: Sequence[str] = (),
) -> list[Answer]:
    """Return what is written with each of some changes, and how likely words are then.

    All of them are tried in one batch.

    Args:
        changes: one of no units, `Intervention([])`, gives what is written as it is.
        ask: words.

    Raises:
        UsageError: there is no change, a unit that the model does not have, or a word that begins
            with a blank token.
        AdapterError: the model overflows in its dtype.
    """
    model, tried = seeing.language_model, several("changes", changes, "[Intervention([])]", least=1)
    tokens = [require_tokens(model, word)[0] for word in ask]
    logits = intervened_logits(model, captioned.asked_at(model), tried)
    probabilities = logits.softmax(dim=-1)[:, : model.d_vocab]
    with intervened(model, tried, captioned.prompt.patches):
        written = seeing.write(captioned.prompt.repeated(len(tried)))
    return [
        Answer(
            model.decode(ids).strip(),
            tuple(float(each[token]) for token in tokens),
            _likeliest(model, each),
        )
        for ids, each in zip(written, probabilities, strict=True)
    ]


def _likeliest(model: LanguageModel, probabilities: torch.Tensor) -> tuple[tuple[str, float], ...]:
    values, tokens = probabilities.topk(min(NEXT, len(probabilities)))
    return tuple(
        (model.token_text(token), value)
        for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
    )
