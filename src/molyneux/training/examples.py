"""What a projection is trained on: photos, crops of them, and captions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molyneux.errors import UsageError

HELD_OUT_SHARE = 0.05
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Example:
    """One photo, or a crop of one, and the captions that fit it.

    Attributes:
        crop: (left, top, right, bottom) in pixels, or None for the whole photo.
        weight: relative probability of being drawn.
    """

    file: Path
    captions: tuple[str, ...]
    crop: tuple[int, int, int, int] | None = None
    weight: float = 1.0
    source: str = ""


def load_examples(data: Path) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out) examples of a captioned folder or a COCO layout.

    A folder holds `captions.jsonl` (lines with `file`, `captions` or `caption`, and optionally
    `crop`, `weight`, `source`), `captions.csv` (columns file, caption), COCO's `captions.json`,
    or `annotations/captions_train*.json`; a file may also be named itself. `held_out.jsonl` beside
    it is held out; without one, a twentieth of the photos is, by the hash of their file names.

    Raises:
        UsageError: no captions are found, or a line names no photo.
    """
    try:
        training, held_out = _load(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"the captions of {data} do not read ({type(error).__name__}: {error}); "
            "see the formats in the training documentation"
        ) from error
    if not training or not held_out:
        raise UsageError(
            f"{data} gives {len(training)} photos to train on and {len(held_out)} held out; "
            "both are needed, so give more captioned photos"
        )
    return training, held_out


def _load(data: Path) -> tuple[list[Example], list[Example]]:
    if data.is_file():
        named = data
        data = data.parent.parent if data.parent.name == "annotations" else data.parent
    else:
        named = next(
            (data / n for n in ("captions.jsonl", "captions.csv") if (data / n).exists()),
            data / "captions.json",
        )
        if not named.exists():
            official = sorted((data / "annotations").glob("captions_train*.json"))
            if not official:
                raise UsageError(
                    f"no captions in {data}: it needs captions.jsonl, captions.csv (file,caption), "
                    "COCO's captions.json, or annotations/captions_train*.json"
                )
            examples = [e for path in official for e in _coco(path, data)]
            return split_by_hash(examples)
    if named.suffix == ".jsonl":
        examples = _jsonl(named)
        held_out = data / "held_out.jsonl"
        if held_out.exists():
            return examples, _jsonl(held_out)
    elif named.suffix == ".csv":
        examples = _csv(named)
    else:
        examples = _coco(named, data)
    return split_by_hash(examples)


def split_by_hash(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out): the photos with the lowest sha256 of their names are held out.

    All crops of a photo fall on one side.
    """
    names = sorted(
        {example.file.name for example in examples},
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    held = set(names[: max(1, round(len(names) * HELD_OUT_SHARE))])
    return (
        [example for example in examples if example.file.name not in held],
        [example for example in examples if example.file.name in held],
    )


def _example(row: dict[str, Any], folder: Path, where: str) -> Example:
    captions = row.get("captions") or ([row["caption"]] if row.get("caption") else [])
    file = row.get("file") or row.get("file_name")
    if not file or not captions:
        raise UsageError(f"{where} names no photo or no caption; give `file` and `captions`")
    crop = row.get("crop")
    return Example(
        file=folder / file,
        captions=tuple(str(caption) for caption in captions),
        crop=tuple(crop) if crop else None,
        weight=float(row.get("weight", 1.0)),
        source=str(row.get("source", "")),
    )


def _jsonl(path: Path) -> list[Example]:
    examples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{path} line {number} is not JSON ({error}); mend it") from error
            examples.append(_example(row, path.parent, f"{path} line {number}"))
    return examples


def _csv(path: Path) -> list[Example]:
    import csv

    grouped: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            name, caption = row.get("file") or row.get("image"), row.get("caption")
            if not name or not caption:
                raise UsageError(f"{path} line {number} needs the columns `file` and `caption`")
            grouped.setdefault(name, []).append(caption)
    return [Example(path.parent / name, tuple(texts)) for name, texts in grouped.items()]


def _coco(path: Path, folder: Path) -> list[Example]:
    document = json.loads(path.read_text(encoding="utf-8"))
    captions: dict[int, list[str]] = {}
    for annotation in document["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(str(annotation["caption"]))
    places = [folder / "images", folder / path.stem.removeprefix("captions_"), folder]
    examples = []
    for image in document["images"]:
        if image["id"] in captions:
            file = next(
                (p / image["file_name"] for p in places if (p / image["file_name"]).exists()), None
            )
            if file is None:
                raise UsageError(
                    f"{path} names {image['file_name']}, which is in none of "
                    f"{', '.join(str(place) for place in places)}; put the photos there"
                )
            examples.append(Example(file, tuple(captions[image["id"]])))
    return examples
