"""Explaining photos into a run folder that is whole after every photo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from molyneux.checks import path_of
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, RunError
from molyneux.explain.document import Document, Image, ModelRecord, read_document
from molyneux.explain.folder import ExplainFolder, open_folder, shared_names
from molyneux.explain.given import Given, as_given
from molyneux.explain.photo import Stage, comparable, explain_seen
from molyneux.explain.seen import as_jpeg
from molyneux.explain.settings import Settings, as_settings
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing, describe_model
from molyneux.neurons.decoding import words_by_chance
from molyneux.neurons.scorers import scorer_text
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.targets import require_tokens
from molyneux.records import from_plain
from molyneux.vision.photo import Photo, Photos


@dataclass(frozen=True)
class Explained:
    """A finished run of `explain_photos`.

    Attributes:
        folder: where its files are.
        photos: how many there are.
        bad: those that could not be read, each with why.
    """

    folder: Path
    photos: int
    bad: tuple[tuple[str, str], ...]

    def document(self) -> Document:
        """Return the document, read from the folder."""
        return read_document(self.folder)


def explain_photos(
    captioner: SeeingModel | Sees,
    photos: Photos | Item | Iterable[Photo | Item],
    settings: Settings | None = None,
    out: str | os.PathLike[str] | None = None,
    on_photo: Callable[[int, Image], None] = lambda number, image: None,
    on_stage: Stage = lambda stage: None,
) -> Explained:
    """Explain photos into a run folder: document, table of units, heat maps, the photos as seen.

    Each photo is written once, when it is finished, and everything is joined at the end. A run
    that ended early is joined as far as it came, and goes on where it stood when it is called for
    again. A photo that cannot be read has an `error`; the others go on.

    Args:
        photos: files, images, pixels, or items of a data set. Of an item the document says whose
            photo it is, and which nouns people said of it, if that is known.
        out: the folder; `molyneux-runs/<time>` in the current folder if None.
        on_photo: told after each photo explained now, with its number and its part of the
            document.
        on_stage: told what is done next with the photo in hand.

    Raises:
        UsageError: an argument is none, there is no photo, or no token for a word asked for.
        RunError: the folder holds something else, or a run that was begun otherwise, or cannot be
            written.
    """
    model, given = as_seeing(captioner), as_given(photos)
    asked = as_settings(settings).of_model(model.language_model.n_units)
    place = None if out is None else path_of("out", out)
    for word in asked.words:
        require_tokens(model.language_model, word)
    seeing = comparable(model, asked)
    note = None
    if model.reference is not None and seeing.reference is None:
        note = (
            "no specific scores, sinks or other photos: the reference table was measured with "
            f"the scorer {scorer_text(model.reference.scorer)}"
        )
    folder = open_folder(
        place,
        model_record(seeing),
        asked.record(note),
        shared_names([each.name for each in given]),
        seed=asked.seed,
        threads=torch.get_num_threads(),
        hashes=model.hashes,
    )
    if not folder.is_joined:
        _explain_rest(seeing, given, asked, folder, on_photo, on_stage)
    return Explained(folder.run.folder, len(given), folder.errors())


def model_record(seeing: SeeingModel) -> ModelRecord:
    """Return what a document says of a model."""
    chance = words_by_chance(seeing.language_model)
    return from_plain(
        ModelRecord, describe_model(seeing) | {"words_by_chance": chance}, "the model"
    )


def _explain_rest(
    captioner: SeeingModel,
    photos: Sequence[Given],
    settings: Settings,
    folder: ExplainFolder,
    on_photo: Callable[[int, Image], None],
    on_stage: Stage,
) -> None:
    """Explain the photos that have no part yet, and join all parts."""
    begun = folder.finished()
    _require_same_photos(folder, photos[:begun])
    passes = Passes()
    try:
        for number in range(begun, len(photos)):
            image = _explain_one(
                captioner, photos[number], settings, folder, number, passes, on_stage
            )
            on_photo(number, image)
    except BaseException as error:
        if done := folder.finished():
            folder.join()  # what is finished can be read
            error.add_note(
                f"{done} of {len(photos)} photos are in {folder.run.folder}; the same call with it "
                "as out goes on"
            )
        else:
            shutil.rmtree(folder.run.folder, ignore_errors=True)  # a run without a photo is nothing
        raise
    folder.join()


def _explain_one(
    captioner: SeeingModel,
    photo: Given,
    settings: Settings,
    folder: ExplainFolder,
    number: int,
    passes: Passes,
    on_stage: Stage,
) -> Image:
    """Write a photo's part, and return what the document says of it."""
    name = folder.names[number]
    fields: bytes | None = None
    shown: bytes | None = None
    try:
        explanation = explain_seen(
            captioner, photo.read(), settings, photo.sha256(), photo.named, passes, on_stage
        )
        image = photo.told_of(replace(explanation.image, path=name))
        fields = _as_file(explanation.fields)
        shown = as_jpeg(explanation.seen)
    except PhotoError as error:
        image = Image(path=name, error=str(error).replace(photo.name, name))
    folder.write(number, image, fields, shown)
    return image


def _as_file(fields: Mapping[str, Tensor]) -> bytes | None:
    return save({name: t.contiguous() for name, t in fields.items()}) if fields else None


def _require_same_photos(folder: ExplainFolder, photos: Sequence[Given]) -> None:
    """Refuse to go on where a finished photo's file is another one now.

    Raises:
        RunError: it is.
    """
    for number, photo in enumerate(photos):
        digest = folder.part(number).sha256
        if digest is not None and digest != photo.sha256():
            raise RunError(
                f"{folder.names[number]} is another photo than the one that {folder.run.folder} "
                "was begun with; give --out another folder"
            )
