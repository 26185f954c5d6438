"""What a projection is trained on: photos, crops of them, and captions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from molyneux.data.dataset import Item, Span
from molyneux.errors import UsageError
from molyneux.vision.photo import read_photo

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.data.selection import Selection

HELD_OUT_SHARE = 0.05
MOST_HELD_OUT = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """One photo, or a crop of one, and the captions that fit it.

    Attributes:
        file: the photo, or None where it lies in an archive.
        crop: (left, top, right, bottom) in pixels, or None for the whole photo.
        weight: relative probability of being drawn.
        source: a name to count by.
        key: what its data set calls the photo; the file if empty.
        categories: what the data set says is in the photo.
        span: where the photo lies in an archive that can be read there.
    """

    file: Path | None
    captions: tuple[str, ...]
    crop: tuple[int, int, int, int] | None = None
    weight: float = 1.0
    source: str = ""
    key: str = ""
    categories: tuple[str, ...] = ()
    span: Span | None = None

    @property
    def id(self) -> str:
        """What the photo is called in messages and lists."""
        return self.key or str(self.file)

    @property
    def name(self) -> str:
        """What stays the same when the folder is moved: the data set's name, or the file's."""
        return self.key or (self.file.name if self.file else "")


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """Examples in a stable order, and how their photos are read.

    Attributes:
        archive: reads the photos of a set that comes front to back, such as shards, and the
            number there of each example; None where every photo is a file.
        place: which archive that is, so that another is not taken for it.
    """

    rows: list[Example]
    archive: Selection | None = None
    numbers: tuple[int, ...] = ()
    place: str = ""

    @classmethod
    def of(cls, rows: Examples | list[Example]) -> Examples:
        """Return examples whose photos are files."""
        return rows if isinstance(rows, Examples) else cls(rows)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """Return one example."""
        return self.rows[index]

    def only(self, keep: Callable[[Example], bool]) -> Examples:
        """Return the examples for which `keep` holds."""
        kept = [index for index, example in enumerate(self.rows) if keep(example)]
        numbers = tuple(self.numbers[index] for index in kept) if self.numbers else ()
        return replace(self, rows=[self.rows[index] for index in kept], numbers=numbers)

    def photos(self, wanted: Sequence[int]) -> Iterator[tuple[int, Callable[[], Image.Image]]]:
        """Yield index and reader of the wanted examples; archives give them in their own order.

        The reader raises PhotoError where the photo cannot be read.
        """
        if self.archive is None:
            for index in wanted:
                file = self.rows[index].file
                assert file is not None
                yield index, partial(read_photo, file)
            return
        at = {self.numbers[index]: index for index in wanted}
        for number, item in self.archive.items(skip=lambda number: number not in at):
            yield at[number], item.read

    @property
    def any_order(self) -> bool:
        """Whether any photo can be read at once: it is a file, or lies uncompressed in one."""
        return all(example.file or example.span for example in self.rows)

    def read(self, index: int) -> Image.Image:
        """Return the photo of one example, which `any_order` has to allow.

        Raises:
            PhotoError: it cannot be read.
        """
        example = self.rows[index]
        source = example.file or example.span
        assert source is not None
        return Item(example.id, source).read()


def load_examples(data: Path) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out) examples of a captioned folder or a COCO layout.

    A folder holds `captions.jsonl` (lines with `file`, `captions` or `caption`, and optionally
    `crop`, `weight`, `source`, `categories`), `captions.csv` (columns file, caption), COCO's
    `captions.json`, or `annotations/captions_train*.json`; a file may also be named itself.
    `held_out.jsonl` beside it is held out; without one, a twentieth of the photos is, at most
    1,000, by the hash of their file names.

    Raises:
        UsageError: no captions are found, or a line names no photo.
    """
    examples, held_out = read_examples(data)
    training, held_out = (examples, held_out) if held_out else split_by_hash(examples)
    if not training or not held_out:
        raise UsageError(
            f"{data} gives {len(training)} photos to train on and {len(held_out)} held out; "
            "both are needed, so give more captioned photos"
        )
    return training, held_out


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
            return [e for path in official for e in _coco(path, data)], []
    if named.suffix == ".jsonl":
        held_out = data / "held_out.jsonl"
        aside = held_out.exists() and held_out != named
        return _jsonl(named), _jsonl(held_out) if aside else []
    return _csv(named) if named.suffix == ".csv" else _coco(named, data), []


def split_by_hash(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out): the photos with the lowest sha256 of their names are held out.

    All crops of a photo fall on one side.
    """
    held = held_out_names({example.name for example in examples})
    return (
        [example for example in examples if example.name not in held],
        [example for example in examples if example.name in held],
    )


def held_out_names(names: set[str]) -> set[str]:
    """Return the twentieth of some names that has the lowest sha256: 1 to `MOST_HELD_OUT`."""
    ordered = sorted(
        names, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    )
    return set(ordered[: min(MOST_HELD_OUT, max(1, round(len(ordered) * HELD_OUT_SHARE)))])


def _example(row: dict[str, Any], folder: Path, where: str) -> Example:
    captions = row.get("captions") or ([row["caption"]] if row.get("caption") else [])
    file = row.get("file") or row.get("file_name")
    if not file or not captions:
        raise UsageError(f"{where} names no photo or no caption; give `file` and `captions`")
    return Example(
        file=folder / file,
        captions=tuple(str(caption) for caption in captions),
        crop=_crop(row.get("crop"), where),
        weight=_weight(row.get("weight", 1.0), where),
        source=str(row.get("source", "")),
        categories=tuple(str(category).lower() for category in row.get("categories") or ()),
    )


def _weight(given: object, where: str) -> float:
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if number and 0 < given < math.inf:  # type: ignore[operator]
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
