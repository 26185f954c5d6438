"""Caption files, read by `molyneux.data`, and COCO's, as examples with crops and weights."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from molyneux.checks import path_of
from molyneux.data.caption_files import (
    CAPTION_FILES,
    CaptionLine,
    caption_file,
    is_caption_file,
    read_caption_file,
)
from molyneux.data.coco import Coco
from molyneux.data.names import photo_file
from molyneux.data.texts import read_name
from molyneux.errors import UsageError
from molyneux.training.examples import Example, some_photos, split_by_hash


def read_examples(data: Path) -> tuple[list[Example], list[Example]]:
    """Return all examples of a place (see `load_examples`) and those `held_out.jsonl` sets aside.

    Raises:
        UsageError: no captions are found, or a line names no photo.
    """
    try:
        return _load(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the captions of {data} do not read ({type(error).__name__}: {error}); "
            "see the formats in the training documentation"
        ) from error


def _load(data: Path) -> tuple[list[Example], list[Example]]:
    if data.is_file():
        named = data
        data = data.parent
    else:
        named = caption_file(data) or data / "captions.json"
        if not named.exists():
            official = sorted((data / "annotations").glob("captions_train*.json"))
            if not official:
                raise UsageError(
                    f"no captions in {data}: it needs {', '.join(CAPTION_FILES)} (file,caption), "
                    "COCO's captions.json, or annotations/captions_train*.json"
                )
            return [e for path in official for e in _coco(path)], []
    if not is_caption_file(named):
        return _coco(named), []
    held_out = data / "held_out.jsonl"
    aside = named.suffix.lower() == ".jsonl" and held_out.exists() and held_out != named
    return _listed(named), _listed(held_out) if aside else []


def coco_root(captions: Path) -> Path:
    """Return the folder of a COCO caption file's data set."""
    folder = captions.absolute().parent
    return folder.parent if folder.name == "annotations" else captions.parent


def training_splits(dataset: Coco) -> list[str]:
    """Return the splits that are for training, of which alone COCO's photos are trained on.

    None: the set names no such split, and all of it is trained on.
    """
    return sorted({i.split for i in dataset if i.split and i.split.startswith("train")})


def _example(line: CaptionLine, folder: Path) -> Example:
    if not line.captions:
        raise UsageError(f"{line.where} names no caption; give `file` and `captions`")
    return Example(
        file=photo_file(folder, line.file),
        captions=line.captions,
        crop=_crop(line.said.get("crop"), line.where),
        weight=_weight(line.said.get("weight", 1.0), line.where),
        source=read_name(line.said.get("source"), "source", line.where) or "",
        categories=line.categories,
    )


def _weight(given: object, where: str) -> float:
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if number and 0 < given <= sys.float_info.max:  # type: ignore[operator]
        return float(given)  # type: ignore[arg-type]
    raise UsageError(
        f"{where}: the weight {json.dumps(given)[:60]} is not a number above 0; mend it, or leave "
        "it out for 1"
    )


def _crop(given: object, where: str) -> tuple[int, int, int, int] | None:
    """Return a crop as it is kept; whether the photo is that large is seen when it is read."""
    match given:
        case None:
            return None
        case [int(left), int(top), int(right), int(bottom)] if not any(
            isinstance(edge, bool) for edge in (left, top, right, bottom)
        ):
            if 0 <= left < right and 0 <= top < bottom:
                return left, top, right, bottom
    raise UsageError(
        f"{where}: the crop {json.dumps(given)[:60]} is not four whole numbers of pixels from 0 "
        "on: left, top, right (beyond left), bottom (beyond top); mend it, or leave it out"
    )


def _listed(path: Path) -> list[Example]:
    """Return an example a line; in a table, a line has one caption, and a photo's are together."""
    examples = [_example(line, path.parent) for line in read_caption_file(path)]
    if path.suffix.lower() == ".jsonl":
        return examples
    together: dict[Example, list[str]] = {}
    for example in examples:
        together.setdefault(replace(example, captions=()), []).extend(example.captions)
    return [
        replace(example, captions=tuple(dict.fromkeys(captions)))
        for example, captions in together.items()
    ]


def _coco(path: Path) -> list[Example]:
    dataset = Coco(coco_root(path), path)
    splits = training_splits(dataset)
    return [
        Example(item.source, item.captions, categories=item.categories)
        for item in dataset
        if item.captions and (not splits or item.split in splits) and isinstance(item.source, Path)
    ]


def load_examples(
    data: Path, images: int | None = None, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out) examples of a captioned folder or a COCO layout.

    A folder holds `captions.jsonl` (lines with `file`, `captions` or `caption`, and optionally
    `crop`, `weight`, `source`, `categories`), `captions.csv` (columns file, caption), COCO's
    `captions.json`, or `annotations/captions_train*.json`; a file may also be named itself.
    `held_out.jsonl` beside it is held out; without one, a twentieth of the photos is, at most
    1,000, by the hash of their file names.

    Args:
        images: this many photos, drawn by `seed`, and of those that are not set aside; all if None.

    Raises:
        UsageError: no captions are found, or a line names no photo.
    """
    data = path_of("data", data)
    examples, held_out = read_examples(data)
    examples = some_photos(examples, images, seed, data if data.is_dir() else data.parent)
    training, held_out = (examples, held_out) if held_out else split_by_hash(examples)
    if not training or not held_out:
        raise UsageError(
            f"{data} gives {len(training)} photos to train on and {len(held_out)} held out; "
            "both are needed, so give more captioned photos"
        )
    return training, held_out
