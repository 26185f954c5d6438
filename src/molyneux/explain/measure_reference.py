"""Measuring a reference table: every unit's score on photos in general."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.decoding import interpretable_table
from molyneux.neurons.reference import MIN_PHOTOS, Reference, ReferenceBuilder
from molyneux.neurons.scorers import DEFAULT_SCORER, NO_CONTEXT, Scorer
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import read_sentence

_AT_LEAST = 2  # for a standard deviation
_SHOWN = 3  # of the photos left out, where too few remain


def measure_reference(
    captioner: SeeingModel,
    photos: Iterable[Path | Item],
    *,
    data: str,
    n_listed: int,
    scorer: Scorer = DEFAULT_SCORER,
    on_photo: Callable[[int, str], None] = lambda number, said: None,
    on_layer: Callable[[int], None] = lambda layer: None,
) -> tuple[Reference, list[str]]:
    """Return the table over photos, each with its caption's first noun, and those left out.

    Args:
        data: what the photos are, for the record.
        n_listed: how many units of each ranking are kept for photos that serve as controls.
        scorer: whose scores these are: only its own can be compared with them.
        on_photo: told after each photo what became of it.

    Raises:
        PhotoError: fewer than two photos gave a noun; the first ones left out are named, each with
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
        found = scorer.score(model, until, [word.target], context=NO_CONTEXT)
        builder.add(word.lemma, found, sink_patches(patch_norms(model, prompt))[0])
        on_photo(number, sentence.caption)
    n_found = builder.moments["patches"].count
    if n_found < _AT_LEAST:
        more = len(left_out) - _SHOWN
        reasons = [*left_out[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise PhotoError(
            f"only {n_found} of {n_found + len(left_out)} photos gave a noun; a reference table "
            f"takes {_AT_LEAST} or more, and {MIN_PHOTOS} to be steady: name other photos"
            + (f". Left out: {'; '.join(reasons)}" if reasons else "")
        )
    provenance: dict[str, Any] = {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
        "decoding": asdict(captioner.decoding),
        "dtype": str(model.dtype).removeprefix("torch."),
        "data": data,
        "scorer": scorer.record(),
    }
    table = interpretable_table(model, on_layer, **asdict(captioner.decoding))
    return builder.build(table, provenance), left_out
