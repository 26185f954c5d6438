"""A photo that was captioned once, and what is written behind it when units are changed.

What the model made of the photo is kept, so that changes can be tried one after another, each in
one pass over the photo.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import several
from molyneux.hooks import capture
from molyneux.models.generation import continue_greedily
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.sight.passes import at_patches
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.sinks import sink_patches
from molyneux.neurons.targets import Sentence, ask_for, read_sentence, require_tokens
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo

NEXT = 10
"""How many of the likeliest tokens an answer has."""
_ROOM = 2**26
"""Bytes of activations up to which they are kept with a photo; of the default preset's, 9 MB."""


@dataclass(frozen=True, eq=False)
class Captioned:
    """A photo as the model was given it, and what it made of it.

    Attributes:
        prompt: the photo with the layout's text.
        sentence: the caption, with its nouns.
        probabilities: of every token where the caption has its first noun; behind " a" where it
            has none.
        sinks: which patches are sinks.
        activation: of every unit at every patch; None where that takes too much memory.
    """

    prompt: ImagePrompt
    sentence: Sentence
    probabilities: Float[Tensor, " d_vocab"]
    sinks: Bool[Tensor, " patches"]
    activation: Float[Tensor, "layers patches d_mlp"] | None

    def __repr__(self) -> str:
        return f"Captioned({self.caption!r})"

    @property
    def caption(self) -> str:
        """What the model wrote, without the text it went on from."""
        return self.sentence.caption

    def activations(self, model: LanguageModel) -> Float[Tensor, "layers patches d_mlp"]:
        """Return the activation of every unit at every patch: kept, or read again."""
        if self.activation is not None:
            return self.activation
        return patch_activations(model, self.prompt)

    def answer(self, model: LanguageModel, ask: Sequence[str] = ()) -> Answer:
        """Return the caption, and how likely words are, with nothing changed.

        Raises:
            UsageError: a word is empty, or begins with a blank token.
        """
        return _answer(model, self.caption, self.probabilities, _first_tokens(model, ask))


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


@torch.no_grad()
def caption_photo(seeing: SeeingModel, photo: Photo) -> Captioned:
    """Return a photo with the caption that the model writes of it.

    Raises:
        PhotoError: it cannot be read.
        AdapterError: the model overflows in its dtype.
    """
    model, prompt = seeing.language_model, seeing.see([photo])
    patches = prompt.patches.stop - prompt.patches.start
    keeps = model.n_layers * patches * model.d_mlp * 4 <= _ROOM
    every = range(model.n_layers)
    downs = {layer: model.down_projection(layer) for layer in every if keeps}
    layers = {layer: model.layer(layer) for layer in every}
    with capture(downs) as seen, capture(layers, at="output") as after:
        output = model.read(prompt.to(model.dtype), keep=1, use_cache=True)
    norms = [after[at][:, prompt.patches].float().norm(dim=-1).cpu() for at in layers]
    activation = torch.stack([at_patches(seen[at], prompt, 0) for at in downs]) if downs else None
    before = _copied(output)
    written = continue_greedily(model, prompt, begun=output)[0]
    sentence = read_sentence(model, prompt, written)
    probabilities = _read_on(model, prompt, before, _ahead(model, prompt, sentence))[0]
    sinks = sink_patches(torch.stack(norms, dim=1))[0]
    return Captioned(prompt, sentence, probabilities, sinks, activation)


@torch.no_grad()
def answer(
    seeing: SeeingModel,
    captioned: Captioned,
    changes: Sequence[Intervention],
    ask: Sequence[str] = (),
) -> list[Answer]:
    """Return what is written with each of some changes, and how likely words are then.

    All of them are tried in one batch, and one pass over the photo serves caption and words.

    Args:
        ask: words.

    Raises:
        UsageError: there is no change, a unit that the model does not have, or a word that begins
            with a blank token.
        AdapterError: the model overflows in its dtype.
    """
    model, tried = seeing.language_model, several("changes", changes, "[Intervention([])]", least=1)
    tokens = _first_tokens(model, ask)
    prompt = captioned.prompt.repeated(len(tried))
    with intervened(model, tried, prompt.patches):
        output = model.read(prompt.to(model.dtype), keep=1, use_cache=True)
        before = _copied(output)
        written = continue_greedily(model, prompt, begun=output)
        ahead = _ahead(model, captioned.prompt, captioned.sentence)
        probabilities = _read_on(model, prompt, before, ahead)
    return [
        _answer(model, model.decode(ids).strip(), each, tokens)
        for ids, each in zip(written, probabilities, strict=True)
    ]


def _first_tokens(model: LanguageModel, words: Sequence[str]) -> list[int]:
    return [require_tokens(model, word)[0] for word in several("ask", words, "['dog']")]


def _ahead(model: LanguageModel, prompt: ImagePrompt, sentence: Sentence) -> list[int]:
    """Return the caption's tokens ahead of its first noun; those of " a" where it has none."""
    read, asked = ask_for(model, prompt, sentence, "a")
    return read.token_ids[: asked.target.position + 1 - prompt.n_positions]


def _copied(output: Any) -> Any:
    """Return an output whose cache may grow apart from the other's."""
    found = copy.copy(output)
    found.past_key_values = copy.deepcopy(output.past_key_values)
    return found


def _read_on(
    model: LanguageModel, prompt: ImagePrompt, output: Any, token_ids: Sequence[int]
) -> Float[Tensor, "rows d_vocab"]:
    """Return the probability of every token behind some tokens that follow a prompt's pass.

    One after another, as in generation: an edit at the patches is told by its length from a pass
    over the prompt.
    """
    for step, token in enumerate(token_ids):
        output = model.run(
            input_ids=torch.full((len(prompt.embeddings), 1), token, device=model.device),
            past_key_values=output.past_key_values,
            beside=prompt.given_at(step),
            use_cache=True,
        )
    logits = output.logits[:, -1].float()
    require_finite(model, logits[:, : model.d_vocab])
    probabilities: Tensor = logits.softmax(dim=-1)[:, : model.d_vocab].cpu()
    return probabilities


def _answer(
    model: LanguageModel, caption: str, probabilities: Tensor, tokens: Sequence[int]
) -> Answer:
    values, likeliest = probabilities.topk(min(NEXT, len(probabilities)))
    return Answer(
        caption,
        tuple(float(probabilities[token]) for token in tokens),
        tuple(
            (model.token_text(token), value)
            for token, value in zip(likeliest.tolist(), values.tolist(), strict=True)
        ),
    )
