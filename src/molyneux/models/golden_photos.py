"""What the paper prints of COCO photos, beside what a captioner gives for them.

A caption is judged, and so is one unit's field: both are fully described. The mean field and the
largest scores are set beside the printed ones and not judged: the supplement does not say over
how many units the mean goes, nor in which photo a score was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.data.synonyms import category_of
from molyneux.errors import PhotoError, UsageError
from molyneux.explain.words import read_sentence
from molyneux.models.golden import Fixtures
from molyneux.models.seeing import SeeingModel
from molyneux.neurons.attribution import Attribution, attribute_units
from molyneux.neurons.receptive_fields import field_mask, receptive_fields, set_field, upsample
from molyneux.neurons.unit import Unit, top_units

TOP_UNITS = 100
TOLERANCE = 0.05


@dataclass(frozen=True)
class PhotoOutcome:
    """One printed result of a photo.

    Attributes:
        what: which result, as a table names it.
        printed: as the supplement has it.
        found: what was measured here, or why nothing could be.
        holds: whether they agree; None where it is not judged.
    """

    what: str
    printed: str
    found: str
    holds: bool | None


@dataclass(frozen=True)
class _Seen:
    """A fixture photo as the captioner saw it."""

    caption: str
    attribution: Attribution | None
    mask: Bool[Tensor, "size size"] | None
    why: str


def check_photos(
    captioner: SeeingModel,
    items: Iterable[Item],
    fixtures: Fixtures,
    note: Callable[[str], None] = lambda line: None,
) -> list[PhotoOutcome]:
    """Return every printed result of a photo beside what is found; photos not there are named.

    Scores are the paper's: gradient x pre-activation, of the logit of the caption's first noun.

    Args:
        items: COCO's photos with their masks; those of the fixtures are looked for.
        note: told which photo is at work.
    """
    wanted = {
        *fixtures.captions,
        *fixtures.mean_fields,
        *(photo for _, photo, _ in fixtures.fields),
    }
    seen: dict[int, _Seen | str] = dict.fromkeys(wanted, "the photo is not in this folder")
    for item in items:
        if item.id.isdigit() and int(item.id) in wanted:
            note(f"photo {item.id}")
            seen[int(item.id)] = _see(captioner, item)
    outcomes = []
    for number, printed in fixtures.captions.items():
        photo = seen[number]
        found = photo if isinstance(photo, str) else photo.caption
        holds = not isinstance(photo, str) and _plain(found) == _plain(printed)
        outcomes.append(PhotoOutcome(f"caption of {number}", printed, found, holds))
    for number, iou in fixtures.mean_fields.items():
        measured = _field(captioner, seen[number], None)
        shown = measured if isinstance(measured, str) else f"{measured:.2f}"
        what = f"IoU of the mean field of {TOP_UNITS} units on {number}"
        outcomes.append(PhotoOutcome(what, f"{iou:.2f}", shown, None))
    for unit, number, iou in fixtures.fields:
        measured = _field(captioner, seen[number], unit)
        shown = measured if isinstance(measured, str) else f"{measured:.2f}"
        holds = not isinstance(measured, str) and abs(measured - iou) <= TOLERANCE
        what = f"IoU of {unit} on {number}"
        outcomes.append(PhotoOutcome(what, f"{iou:.2f}", shown, holds))
    scored = [
        photo.attribution.patches.score[0]
        for photo in seen.values()
        if isinstance(photo, _Seen) and photo.attribution is not None
    ]
    for unit, score in fixtures.scores:
        largest = max((float(table[unit.layer, unit.unit]) for table in scored), default=None)
        shown = "no photo to score" if largest is None else f"{largest:.4f}"
        what = f"largest score of {unit} in these photos"
        outcomes.append(PhotoOutcome(what, f"{score:.4f}", shown, None))
    return outcomes


def _plain(caption: str) -> str:
    return " ".join(caption.lower().split()).rstrip(".")


def _see(captioner: SeeingModel, item: Item) -> _Seen | str:
    """Return a photo's caption, scores and mask, or why it cannot be read."""
    model = captioner.language_model
    try:
        prompt = captioner.see([item.read()])
    except PhotoError as error:
        return str(error)
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    if not sentence.words:
        return _Seen(sentence.caption, None, None, "the caption has no noun")
    word = sentence.words[0]
    until = sentence.up_to(model, prompt, word.target.position)
    attribution = attribute_units(model, until, [word.target], site="preactivation")
    mask, why = _mask(captioner, item, word.lemma)
    return _Seen(sentence.caption, attribution, mask, why)


def _mask(captioner: SeeingModel, item: Item, noun: str) -> tuple[Any, str]:
    category = category_of(noun, item.categories)
    if category is None:
        return None, f"the noun {noun!r} names no annotated category"
    try:
        drawn = item.mask(category)
    except (UsageError, PhotoError):
        drawn = None
    if drawn is None:
        return None, f"no mask of {category}"
    mask = captioner.encoder.preprocessing.crop_mask(torch.from_numpy(np.array(drawn)))
    return (mask, "") if bool(mask.any()) else (None, f"{category} is outside what is seen")


def _field(captioner: SeeingModel, photo: _Seen | str, unit: Unit | None) -> float | str:
    """Return a unit's IoU with the photo's mask, that of the mean field, or why there is none."""
    grid = captioner.encoder.grid
    if isinstance(photo, str):
        return photo
    if photo.attribution is None or photo.mask is None:
        return photo.why
    if not grid.has_patches:
        return "the encoder has no patch grid"
    scores = photo.attribution.patches
    units = [unit] if unit is not None else top_units(scores.score[0].cpu(), TOP_UNITS)
    signs = [int(scores.sign[0, each.layer, each.unit]) for each in units]
    fields = receptive_fields(photo.attribution.activation.cpu(), units, signs, grid)
    return _iou(set_field(fields) if unit is None else fields[0], photo.mask)


def _iou(field: Float[Tensor, "rows columns"], mask: Bool[Tensor, "size size"]) -> float:
    seen = field_mask(upsample(field[None], mask.shape[0]))[0]
    union = int((seen | mask).sum())
    return int((seen & mask).sum()) / union if union else 0.0
