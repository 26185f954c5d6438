"""From a data set's name on the command line to examples, for training and for validation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from molyneux.data.caption_files import caption_file, is_caption_file
from molyneux.data.coco import Coco
from molyneux.data.dataset import Dataset, Indexed, Item, Span, Streamed, left_out_of
from molyneux.data.open import open_dataset
from molyneux.data.selection import Selection, select
from molyneux.errors import UsageError
from molyneux.training.caption_files import coco_root, load_examples, read_examples, training_splits
from molyneux.training.examples import Example, Examples, held_out_of, some_photos

Note = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which photos of which data set.

    Attributes:
        spec: what `open_dataset` takes, a caption list with crops and weights, or one of COCO's
            caption files.
        where: conditions, as `molyneux.data.selection.CONDITIONS` lists them.
        images: this many of them, drawn by `seed`; all if None.
    """

    spec: str
    where: tuple[str, ...] = ()
    images: int | None = None
    seed: int = 0

    @property
    def is_list(self) -> bool:
        """Whether it is a caption list, which is read with its crops and weights."""
        place = Path(self.spec)
        if place.is_file():
            return is_caption_file(place)
        return not self.where and caption_file(place) is not None

    @property
    def root(self) -> Path:
        """The folder that a caption list's photos are named from."""
        place = Path(self.spec)
        return place.parent if place.is_file() else place


@dataclass(frozen=True)
class Data:
    """What is trained on and what is held out, with the record of both."""

    training: Examples
    validation: Examples
    record: dict[str, Any]


def open_data(wanted: Wanted, validation: Wanted | None, note: Note = lambda line: None) -> Data:
    """Return the examples of a data set and those of a validation set.

    Without a validation set, `held_out.jsonl` or a twentieth of the photos (at most 1,000, by the
    sha256 of their names) is held out. Of COCO's layout, only the `train*` splits are trained on
    unless a condition names a split.

    Raises:
        UsageError: a place, a condition or the captions do not make sense, or a photo is in both.
    """
    if validation is None:
        if wanted.is_list:
            _require_no_conditions(wanted)
            training, aside = load_examples(Path(wanted.spec), wanted.images, wanted.seed)
            record = {
                "training": _list_record(training, wanted),
                "validation": _list_record(aside, replace(wanted, images=None)),
            }
            return _apart(Data(Examples.of(training), Examples.of(aside), record))
        examples, about = _examples(wanted, note, training=True)
        is_held = held_out_of(examples)
        kept = examples.at([i for i, held in enumerate(is_held) if not held])
        held = examples.at([i for i, held in enumerate(is_held) if held])
        if not len(kept):
            raise UsageError(
                f"{wanted.spec} gives one captioned photo; at least one to train on and one to "
                "hold out are needed"
            )
        return Data(kept, held, {"training": about, "validation": "a part of the same set"})
    found, about = _examples(wanted, note, training=True)
    held, held_about = _examples(validation, note, training=False)
    return _apart(Data(found, held, {"training": about, "validation": held_about}))


def require_data(wanted: Wanted) -> None:
    """Refuse a data set that is not there; nothing of it is read.

    Raises:
        UsageError: it is not.
    """
    place = Path(wanted.spec)
    if not place.exists() and not wanted.spec.startswith("hf:") and not _is_pattern(wanted.spec):
        open_dataset(wanted.spec)


def _is_pattern(spec: str) -> bool:
    return any(character in spec for character in "*?[{")


def _examples(wanted: Wanted, note: Note, training: bool) -> tuple[Examples, dict[str, Any]]:
    if wanted.is_list:
        _require_no_conditions(wanted)
        rows, aside = read_examples(Path(wanted.spec))
        if not rows:
            raise UsageError(f"{wanted.spec} holds no captioned photo; add some lines to it")
        rows = some_photos(rows, wanted.images, wanted.seed, wanted.root)
        about = {**_list_record(rows, wanted), "held_out_jsonl_left_out": len(aside)}
        return Examples.of(rows), about
    _require_plain(wanted.spec)
    place = Path(wanted.spec)
    named = place.is_file() and place.suffix.lower() == ".json"
    dataset = Coco(coco_root(place), place) if named else open_dataset(wanted.spec)
    where = wanted.where
    if training and not any(condition.startswith("split=") for condition in where):
        where = (*where, *_training_splits(dataset, note))
    selection = select(dataset, where, wanted.images, wanted.seed)
    for line in left_out_of(dataset):
        note(f"left out of {wanted.spec}: {line}")
    examples = examples_of(selection)
    if not len(examples):
        raise UsageError(
            f"none of the {len(selection)} photos of {wanted.spec} has a caption; a projection is "
            "trained on captions"
        )
    about = {key: value for key, value in dataset.record().items() if key != "where"}
    chosen = {key: value for key, value in selection.record().items() if key != "list_files"}
    return examples, {**about, **chosen, "captioned": len(examples)}


def _require_no_conditions(wanted: Wanted) -> None:
    if wanted.where:
        raise UsageError(
            f"{wanted.spec} is a list that is read as it stands, so that no condition can choose "
            f"from it; leave out {' and '.join(wanted.where)}, or name a list of the photos you "
            "want"
        )


def _require_plain(spec: str) -> None:
    """Refuse to choose from a caption list whose crops and weights would be dropped in silence."""
    file = caption_file(Path(spec))
    if file is not None:
        rows, _ = read_examples(file)
        if any(example.crop or example.weight != 1 for example in rows):
            raise UsageError(
                f"{file} has crops or weights, from which no condition can choose; leave out "
                "--where, or these keys"
            )


def _training_splits(dataset: Dataset, note: Note) -> tuple[str, ...]:
    if not isinstance(dataset, Coco):
        return ()
    training = training_splits(dataset)
    if training and any(item.split not in training for item in dataset):
        note(f"training on {', '.join(training)} only; name other splits with --where split=NAME")
    return tuple(f"split={split}" for split in training)


def examples_of(selection: Selection) -> Examples:
    """Return the captioned photos of a selection, in its order."""
    numbers = {identity: number for number, identity in enumerate(selection.ids)}
    found: dict[int, Example] = {}
    dataset = selection.dataset
    if isinstance(dataset, Indexed):
        items = ((number, item) for number, item in selection.items())
        place = ""
    else:
        assert isinstance(dataset, Streamed)
        items = ((numbers[item.id], item) for item in dataset.entries() if item.id in numbers)
        about = sorted((k, str(v)) for k, v in dataset.record().items() if k != "where")
        place = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    for number, item in items:
        if item.captions:
            found[number] = _example(item, dataset.name)
    chosen = sorted(found)
    rows = [found[number] for number in chosen]
    if not place:
        return Examples(rows)
    return Examples(rows, selection, tuple(chosen), place)


def _example(item: Item, source: str) -> Example:
    labels = () if item.label is None else (item.label.lower(),)
    return Example(
        file=item.source if isinstance(item.source, Path) else None,
        captions=item.captions,
        source=item.split or source,
        key=item.id,
        categories=tuple(dict.fromkeys((*item.categories, *labels))),
        span=item.source if isinstance(item.source, Span) else None,
    )


def _list_record(rows: Sequence[Example], wanted: Wanted) -> dict[str, Any]:
    """Return how many rows there are, which were asked for, and a hash of all they say."""
    digest = hashlib.sha256()
    for row in rows:
        file = os.path.relpath(str(row.file), wanted.root)
        said = (file, row.crop, row.captions, row.weight, row.source, row.categories)
        digest.update(repr(said).encode("utf-8", "replace"))
    asked = {} if wanted.images is None else {"images": wanted.images, "seed": wanted.seed}
    return {
        "name": "caption list",
        **asked,
        "chosen": len(rows),
        "list_sha256": digest.hexdigest(),
    }


def _apart(data: Data) -> Data:
    """Return data of which no photo is both trained on and held out.

    Raises:
        UsageError: names one that is.
    """
    held_out = dict(zip(data.validation.origins(), data.validation, strict=True))
    both = held_out.keys() & set(data.training.origins())
    if both:
        raise UsageError(
            f"{len(both)} photos are both trained on and validated on, such as "
            f"{held_out[min(both)].id}; keep them apart: in the lists, or with --where and "
            "--validation-where (split=, not-listed=)"
        )
    return data
