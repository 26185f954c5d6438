"""Explaining photos into a run folder that is whole after every photo."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL.Image import Resampling
from torch import Tensor

from molyneux.errors import PhotoError
from molyneux.explain.document import Document, Image, ModelRecord, SettingsRecord
from molyneux.explain.photo import Explanation, Settings, explain_photo, with_comparable_table
from molyneux.explain.tables import units_table
from molyneux.models.seeing_model import SeeingModel, describe_model
from molyneux.neurons.scorers import GradientActivation, scorer_text
from molyneux.records import from_plain, to_plain
from molyneux.store import SCHEMA, Run
from molyneux.vision.photo import read_photo

SHOWN_PIXELS = 448


def seen_photo(captioner: SeeingModel, path: str | os.PathLike[str]) -> bytes:
    """Return what lies under the patches of a photo, as a square JPEG of up to 448 pixels.

    A photo that the encoder squeezes into its square is squeezed here too, so that heat maps lie
    on it.
    """
    photo = read_photo(path)
    prepare = captioner.encoder.preprocessing
    region = prepare.region(photo)
    if min(region[:2]) < 0:  # black was added around it
        photo, region = prepare.crop(photo), (0, 0, prepare.under_grid, prepare.under_grid)
    longer = max(region[2] - region[0], region[3] - region[1])
    side = min(SHOWN_PIXELS, max(prepare.under_grid, round(longer)))
    square = photo.resize((side, side), Resampling.BICUBIC, box=region)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def explain_photos(
    captioner: SeeingModel,
    paths: Sequence[str | os.PathLike[str]],
    settings: Settings,
    run: Run,
    on_photo: Callable[[int, Image], None] = lambda number, image: None,
) -> Document:
    """Return the document, written to the run folder after every photo.

    A photo that cannot be read has an `error`; the others go on.

    Args:
        on_photo: told after each photo, with its number and its part of the document.
    """
    note, table = None, captioner.reference
    captioner = with_comparable_table(captioner, settings.scorer)
    if table is not None and captioner.reference is None:
        note = (
            "no specific scores, sinks or other photos: the reference table was measured with "
            f"the scorer {scorer_text(table.scorer)}"
        )
    document = Document(
        schema=SCHEMA,
        model=from_plain(ModelRecord, describe_model(captioner), "the model"),
        settings=record_settings(settings, note),
        images=(),
        run=str(run.folder),
    )
    fields: dict[str, Tensor] = {}
    for number, path in enumerate(paths):
        try:
            explained = explain_photo(captioner, path, settings)
            run.write_bytes(f"photos/{number}.jpg", seen_photo(captioner, path))
        except PhotoError as error:
            explained = Explanation(Image(path=os.fspath(path), error=str(error)))
        document = replace(document, images=(*document.images, explained.image))
        fields |= {f"{number}.{name}": tensor for name, tensor in explained.fields.items()}
        run.write_tensors("fields.safetensors", fields or {"none": torch.zeros(0)})
        run.write_bytes("units.parquet", units_table(document))
        run.write_json("explain.json", to_plain(document))
        on_photo(number, explained.image)
    return document


def record_settings(settings: Settings, note: str | None = None) -> SettingsRecord:
    """Return what the document says of settings."""
    record = settings.scorer.record()
    gradient = isinstance(settings.scorer, GradientActivation)
    return SettingsRecord(
        grid=tuple(settings.grid),
        top=settings.top,
        words=settings.words,
        ablate=settings.ablate,
        positions=settings.positions,
        seeds=settings.seeds,
        seed=settings.seed,
        of=record["of"] if gradient else None,
        site=record["site"] if gradient else None,
        scorer=None if gradient else record,
        note=note,
    )
