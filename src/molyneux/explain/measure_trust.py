"""Measuring a trust scale: how often first nouns, and nouns asked for, are right of photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molyneux.checks import is_a
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, UsageError
from molyneux.models.captions import AT_ONCE, ReadCaption, read_captions
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing
from molyneux.models.trust import Part, PhotoRow, PhotosUsed, TrustScale, deranged, measured_scale
from molyneux.neurons.targets import word_tokens
from molyneux.statistics.calibration import LEAST, STEPS, half_decade
from molyneux.words.everyday import EVERYDAY_NOUNS
from molyneux.words.nouns import nouns_text
from molyneux.words.synonyms import GROUPS, names_one_of

_DIGITS = 6  # of a probability in the file: its numbers follow from what is written


@dataclass(frozen=True)
class TrustPhotos:
    """Captioned photos of one part, and what to call them.

    Attributes:
        items: the photos, each with what people said of it.
        record: what the data is, for the file: no paths.
    """

    items: Iterable[Item]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class _Read:
    row: PhotoRow
    noun: str | None
    human: frozenset[str]


def measure_trust(
    model: SeeingModel | Sees,
    scale: TrustPhotos,
    check: TrustPhotos,
    on_photo: Callable[[int, str], None] = lambda number, said: None,
) -> tuple[TrustScale, list[str]]:
    """Return the scale, and the photos that were left out, each with why.

    A noun is right of a photo where it or a synonym is among the nouns of its human captions.
    Nouns asked for are those of `EVERYDAY_NOUNS` that are one token of the model, each where the
    caption's first noun is due: one pass reads them all.

    Args:
        scale: the photos that set the bins.
        check: others, that set none.
        on_photo: told after each photo what became of it.

    Raises:
        UsageError: a photo is in both parts, or it is no model that sees.
        PhotoError: fewer than 50 photos of the first part, or none of the other, gave a noun.
    """
    seeing = as_seeing(model)
    asked = _one_token_nouns(seeing)
    left_out: list[str] = []
    rows: list[PhotoRow] = []
    used: list[PhotosUsed] = []
    seen: dict[str, tuple[str, Part]] = {}
    number = 0
    parts: tuple[tuple[Part, TrustPhotos], ...] = (("scale", scale), ("check", check))
    for part, photos in parts:
        is_a(part, photos, TrustPhotos, "TrustPhotos(items, record)")
        own: list[_Read] = []
        before = len(left_out)
        for item, found in _captions(seeing, photos.items, left_out):
            digest = item.sha256()
            if digest in seen:
                other, where = seen[digest]
                if where != part:
                    raise UsageError(
                        f"{item.id} and {other} are one photo; a scale is checked on photos that "
                        "set none of it: take it out of one list"
                    )
                left_out.append(f"{item.id}: it is the same photo as {other}")
                continue
            seen[digest] = (item.id, part)
            read = _row(digest, part, found, item, asked)
            own.append(read)
            on_photo(number, found.caption)
            number += 1
        rows += [
            replace(
                each.row,
                right_elsewhere=None
                if each.noun is None
                else names_one_of(each.noun, own[place].human),
            )
            for each, place in zip(own, deranged(len(own)), strict=True)
        ]
        without = sum(each.noun is None for each in own)
        used.append(
            PhotosUsed(
                part=part,
                data=dict(photos.record),
                photos=len(own),
                without_noun=without,
                left_out=len(left_out) - before,
            )
        )
        least = LEAST if part == "scale" else 1
        if len(own) - without < least:
            reasons = "; ".join(left_out[before : before + 3])
            raise PhotoError(
                f"only {len(own) - without} of {len(own)} photos gave a noun; a trust scale takes "
                f"{least} or more here: name others" + (f". Left out: {reasons}" if reasons else "")
            )
    return measured_scale(_provenance(seeing, [noun for noun, _ in asked]), used, rows), left_out


def _captions(
    seeing: SeeingModel, items: Iterable[Item], left_out: list[str]
) -> Iterator[tuple[Item, ReadCaption]]:
    """Yield captioned photos as they are read, some at a time; the others are left out."""
    batch: list[Item] = []

    def read() -> Iterator[tuple[Item, ReadCaption]]:
        pictures = []
        for item in batch:
            try:
                pictures.append((item, item.read()))
            except PhotoError as error:
                left_out.append(str(error))
        found = read_captions(seeing, [picture for _, picture in pictures])
        for (item, _), each in zip(pictures, found, strict=True):
            if isinstance(each, PhotoError):
                left_out.append(str(each))
            else:
                yield item, each
        batch.clear()

    for item in items:
        if not item.captions:
            left_out.append(f"{item.id}: it has no human caption")
            continue
        batch.append(item)
        if len(batch) == AT_ONCE:
            yield from read()
    yield from read()


def _row(
    digest: str, part: Part, found: ReadCaption, item: Item, asked: Sequence[tuple[str, int]]
) -> _Read:
    human = frozenset(nouns_text(item.captions).split())
    steps = half_decade(found.logprobs[[token for _, token in asked]].exp().double().cpu().numpy())
    holds = np.array([names_one_of(noun, human) for noun, _ in asked], dtype=int)
    probability = found.probability
    noun = None if found.noun is None else found.noun.lemma
    row = PhotoRow(
        photo=digest,
        part=part,
        probability=None if probability is None else float(f"{probability:.{_DIGITS}g}"),
        right=None if noun is None else names_one_of(noun, human),
        asked=tuple(np.bincount(steps, minlength=STEPS).tolist()),
        asked_right=tuple(np.bincount(steps, holds, minlength=STEPS).astype(int).tolist()),
        right_elsewhere=None,
    )
    return _Read(row, noun, human)


def _one_token_nouns(seeing: SeeingModel) -> list[tuple[str, int]]:
    """Return the everyday nouns that are one token of the model, with it."""
    model = seeing.language_model
    tokens = ((noun, word_tokens(model, noun)) for noun in EVERYDAY_NOUNS)
    return [(noun, ids[0]) for noun, ids in tokens if len(ids) == 1]


def _provenance(seeing: SeeingModel, nouns: Sequence[str]) -> dict[str, Any]:
    def digest(words: Iterable[str]) -> str:
        return hashlib.sha256("\n".join(words).encode()).hexdigest()

    return {
        **seeing.names,
        "projection": seeing.projection.hash(),
        "layout": dict(seeing.layout.record()),
        "dtype": str(seeing.language_model.dtype).removeprefix("torch."),
        "captions": "greedy",
        "nouns_asked": len(nouns),
        "nouns_sha256": digest(nouns),
        "synonyms_sha256": digest(" ".join(group) for group in GROUPS),
    }
