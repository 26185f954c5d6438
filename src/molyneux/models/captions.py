"""Captioning many photos: together, and past those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from molyneux.adapters.language_model import require_finite
from molyneux.errors import PhotoError, UsageError
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.targets import EVERYDAY, Word, ask_for, read_sentence
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, read_photo

AT_ONCE = 16


@dataclass(frozen=True)
class ReadCaption:
    """A greedy caption, and what the model expected where its first noun stands.

    Attributes:
        caption: the text, without that of the prompt.
        noun: its first noun; None if it has none.
        logprobs: of every token there (nats); without a noun, after the article alone.
    """

    caption: str
    noun: Word | None
    logprobs: Float[Tensor, " d_vocab"]

    @property
    def probability(self) -> float | None:
        """Probability of the first token of the first noun; None without one."""
        if self.noun is None:
            return None
        return float(self.logprobs[self.noun.target.token_id].exp())


def caption_photos(
    seeing: SeeingModel, photos: Iterable[Photo], at_once: int = AT_ONCE
) -> Iterator[str | PhotoError]:
    """Yield each photo's greedy caption, or why it cannot be read, in the order of the photos.

    Photos are written about together, which takes less than half of the time of one after another
    and gives the same text.
    """
    left = iter(photos)
    while batch := list(islice(left, at_once)):
        read = [_read(photo) for photo in batch]
        good = [each for each in read if not isinstance(each, PhotoError)]
        captions = iter(seeing.caption_all(good) if good else ())
        for each in read:
            yield each if isinstance(each, PhotoError) else next(captions)


def _read(photo: Photo) -> Image | PhotoError:
    try:
        return read_photo(photo)
    except PhotoError as error:
        return error


def read_captions(
    seeing: SeeingModel, photos: Iterable[Photo], at_once: int = AT_ONCE
) -> Iterator[ReadCaption | PhotoError]:
    """Yield each photo's caption with what was expected of its first noun, or why it has none.

    Captions are written together, and each photo is read once more.
    """
    left = iter(photos)
    while batch := list(islice(left, at_once)):
        read = [_read(photo) for photo in batch]
        good = [each for each in read if not isinstance(each, PhotoError)]
        found = iter(_read_together(seeing, good) if good else ())
        for each in read:
            yield each if isinstance(each, PhotoError) else next(found)


def _read_together(seeing: SeeingModel, photos: Sequence[Image]) -> Iterator[ReadCaption]:
    try:
        together = [seeing.see(photos)]
    except UsageError:  # tiles make prompts of different lengths
        together = [seeing.see([photo]) for photo in photos]
    for prompt in together:
        for row, token_ids in enumerate(seeing.write(prompt)):
            yield _read_one(seeing, prompt.photo(row), token_ids)


@torch.no_grad()
def _read_one(seeing: SeeingModel, prompt: ImagePrompt, token_ids: list[int]) -> ReadCaption:
    model = seeing.language_model
    written = read_sentence(model, prompt, token_ids)
    # Where any word that is asked for is scored: where the first noun is due.
    sentence, asked = ask_for(model, prompt, written, EVERYDAY[0])
    until = sentence.up_to(model, prompt, asked.target.position)
    logits = model.read(until, keep=1).logits[0, -1].float()
    require_finite(model, logits)
    logprobs = logits.log_softmax(dim=-1)[: model.d_vocab]
    return ReadCaption(written.caption, next(iter(written.words), None), logprobs)
