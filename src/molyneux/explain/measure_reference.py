"""Measuring a reference table: every unit's score on photos in general."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.explain.words import read_sentence
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.decoding import CHUNK, unit_logits
from molyneux.neurons.reference import MIN_PHOTOS, Reference, ReferenceBuilder
from molyneux.neurons.unit import Unit
from molyneux.words.dictionary import NEEDED, TOP, is_word

_AT_LEAST = 2  # for a standard deviation
_SHOWN = 3  # of the photos left out, where too few remain


@torch.no_grad()
def interpretable_table(
    model: LanguageModel,
    on_layer: Callable[[int], None] = lambda layer: None,
    *,
    final_norm: bool = True,
    bias: bool = False,
    written: bool = True,
) -> Bool[Tensor, "2 layers d_mlp"]:
    """Return whether each unit's ten tokens are words, written negatively and positively.

    Args:
        written: whether units are decoded in the direction written; else both are the positive.
    """
    table = torch.zeros(2, model.n_layers, model.d_mlp, dtype=torch.bool)
    unembedding = model.unembedding().float()
    offset = model.unembedding_bias() if bias else None
    texts = (model.token_text(token) for token in range(model.d_vocab))
    words = torch.tensor([is_word(text) for text in texts], device=unembedding.device)
    for layer in range(model.n_layers):
        for start in range(0, model.d_mlp, CHUNK):
            units = [Unit(layer, k) for k in range(start, min(start + CHUNK, model.d_mlp))]
            positive = unit_logits(model, units, [1] * len(units), final_norm, False, unembedding)
            for row, sign in ((1, 1), (0, -1)) if written else ((1, 1),):
                # What is written negatively is the negative, exactly: one product serves both.
                logits = positive if sign > 0 else -positive
                if offset is not None:
                    logits = logits + offset.float().to(logits.device)
                found = words[logits.topk(TOP, dim=1).indices].sum(dim=1) >= NEEDED
                table[row, layer, start : start + len(units)] = found.cpu()
        on_layer(layer)
    if not written:
        table[0] = table[1]
    return table


def measure_reference(
    captioner: SeeingModel,
    photos: Iterable[Path | Item],
    *,
    data: str,
    n_listed: int,
    on_photo: Callable[[int, str], None] = lambda number, said: None,
    on_layer: Callable[[int], None] = lambda layer: None,
) -> tuple[Reference, list[str]]:
    """Return the table over photos, each with its caption's first noun, and those left out.

    Args:
        data: what the photos are, for the record.
        n_listed: how many units of each ranking are kept for photos that serve as controls.
        on_photo: told after each photo what became of it.

    Raises:
        UsageError: fewer than two photos gave a noun; the first ones left out are named, each with
            its reason.
    """
    builder = ReferenceBuilder(n_listed)
    model, left_out = captioner.language_model, []
    for number, photo in enumerate(photos):
        name = photo.id if isinstance(photo, Item) else photo
        try:
            prompt = captioner.see([photo.read() if isinstance(photo, Item) else photo])
        except PhotoError as error:
            left_out.append(str(error))
            on_photo(number, str(error))
            continue
        sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
        if not sentence.words:
            left_out.append(f"{name}: the caption has no noun ({sentence.caption!r})")
            on_photo(number, sentence.caption)
            continue
        word = sentence.words[0]
        until = sentence.up_to(model, prompt, word.target.position)
        builder.add(word.lemma, attribute_units(model, until, [word.target]))
        on_photo(number, sentence.caption)
    found = builder.moments["patches"].count
    if found < _AT_LEAST:
        more = len(left_out) - _SHOWN
        reasons = [*left_out[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise UsageError(
            f"only {found} of {found + len(left_out)} photos gave a noun; a reference table takes "
            f"{_AT_LEAST} or more, and {MIN_PHOTOS} to be steady: name other photos"
            + (f". Left out: {'; '.join(reasons)}" if reasons else "")
        )
    provenance: dict[str, Any] = {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
        "decoding": asdict(captioner.decoding),
        "dtype": str(model.dtype).removeprefix("torch."),
        "data": data,
        "of": "logit",
        "site": "activation",
    }
    table = interpretable_table(model, on_layer, **asdict(captioner.decoding))
    return builder.build(table, provenance), left_out
