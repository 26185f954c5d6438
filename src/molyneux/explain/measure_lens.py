"""Measuring a Jacobian lens: from photos, or from sentences that stand where patches would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.jacobian import LensBuilder, patch_jacobians
from molyneux.neurons.targets import read_sentence
from molyneux.vision.layout import ImagePrompt, Layout, lay_out

READ_AT = "the position that predicts the first noun of the model's own caption"
MIN_CONTEXTS = 40


@dataclass(frozen=True)
class LensContext:
    """Something to measure a lens on.

    Attributes:
        name: what it is called where it is left out.
        digest: the hash of its content; a photo that cannot be read raises PhotoError.
        prompt: what the model is given, without what it says.
    """

    name: str
    digest: Callable[[], str]
    prompt: Callable[[], ImagePrompt]


def photo_contexts(captioner: SeeingModel, photos: Iterable[Item]) -> Iterator[LensContext]:
    """Yield photos as they are seen."""
    for item in photos:
        yield LensContext(item.id, item.sha256, partial(_see, captioner, item))


def _see(captioner: SeeingModel, item: Item) -> ImagePrompt:
    return captioner.see([item.read()])


def sentence_contexts(captioner: SeeingModel, sentences: Sequence[str]) -> Iterator[LensContext]:
    """Yield sentences whose tokens stand where a photo's patches would, the same text behind them.

    So the words that the model then says are about a sentence that it read, and the lens reads
    what its tokens hold.

    Raises:
        UsageError: the model brings its own way of laying out photos (a vision-language model).
    """
    layout, model = captioner.layout, captioner.language_model
    if not isinstance(layout, Layout):
        raise UsageError(
            "a lens of sentences is measured on a language model with a projection; a "
            "vision-language model lays its photos out itself: give photos"
        )
    for sentence in sentences:
        yield LensContext(
            sentence, partial(_digest, sentence), partial(_read, model, layout, sentence)
        )


def _digest(sentence: str) -> str:
    return hashlib.sha256(sentence.encode()).hexdigest()


def _read(model: LanguageModel, layout: Layout, sentence: str) -> ImagePrompt:
    tokens = torch.tensor([model.encode(sentence)])
    return lay_out(model, layout, model.embed(tokens))


def chosen_record(chosen: Sequence[str], *, data: str, of: str = "patches") -> dict[str, Any]:
    """Return what of `lens_provenance` is known without the model, by the same arguments."""
    listed = hashlib.sha256("".join(f"{one}\n" for one in chosen).encode()).hexdigest()
    return {"data": data, "chosen_sha256": listed, "of": of}


def lens_provenance(
    captioner: SeeingModel, chosen: Sequence[str], *, data: str, of: str = "patches"
) -> dict[str, Any]:
    """Return what a lens is measured on, to be held against what it is used with.

    Args:
        chosen: the photos' ids, or the sentences.
        data: what they are, for the record.
        of: whose stream is shifted: `patches`, or `tokens` of sentences.
    """
    model = captioner.language_model
    return {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
        "hashes": dict(captioner.hashes),
        "dtype": str(model.dtype).removeprefix("torch."),
        **chosen_record(chosen, data=data, of=of),
        "read_at": READ_AT,
    }


def measure_lens(
    captioner: SeeingModel,
    contexts: Iterable[LensContext],
    builder: LensBuilder,
    *,
    on_context: Callable[[int, str], None] = lambda number, said: None,
    on_part: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Sum the Jacobians of contexts into a builder, each with its caption's first noun.

    Those that the builder holds, or left out, are passed over: what was put by goes on.

    Args:
        on_context: told after each what became of it; what it raises ends the work there.
        on_part: told how many coordinates of the final state, of all, are done in a context.

    Raises:
        AdapterError: the model overflows in its dtype.
    """
    model = captioner.language_model
    known = {*builder.measured}
    for number, context in enumerate(contexts):
        if context.name in builder.left_out:
            on_context(number, builder.left_out[context.name])
            continue
        try:
            digest = context.digest()
            if digest in known:
                on_context(number, "")
                continue
            prompt = context.prompt()
        except PhotoError as error:
            builder.left_out[context.name] = str(error)
            on_context(number, str(error))
            continue
        sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
        if sentence.words:
            until = sentence.up_to(model, prompt, sentence.words[0].target.position)
            builder.add(digest, patch_jacobians(model, until, on_part=on_part))
            known.add(digest)
        else:
            why = f"{context.name}: the caption has no noun ({sentence.caption!r})"
            builder.left_out[context.name] = why
        on_context(number, sentence.caption)
