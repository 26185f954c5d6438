"""From a data set's name on the command line to examples, for training and for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Indexed, Item, Span, Streamed
from molyneux.data.open import kind_of, open_dataset
from molyneux.data.selection import Selection, select
from molyneux.errors import UsageError
from molyneux.training.examples import (
    Example,
    Examples,
    held_out_names,
    load_examples,
    read_examples,
)

OWN_FILES = ("captions.jsonl", "captions.csv")
_OWN_SUFFIXES = (".jsonl", ".csv", ".json")
Note = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which photos of which data set.

    Attributes:
        spec: what `open_dataset` takes, or a caption file with crops and weights.
        where: conditions, as `molyneux.data.selection.CONDITIONS` lists them.
        images: this many of them, drawn by `seed`; all if None.
    """

    spec: str
    where: tuple[str, ...] = ()
    images: int | None = None
    seed: int = 0

    @property
    def is_own(self) -> bool:
        """Whether it is read as it stands, with its crops and weights."""
        place = Path(self.spec)
        if self.where or self.images is not None:
            return False
        return (place.is_file() and place.suffix in _OWN_SUFFIXES) or any(
            (place / name).is_file() for name in OWN_FILES
        )


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
        if wanted.is_own:
            training, held_out = load_examples(Path(wanted.spec))
            return Data(
                Examples.of(training),
                Examples.of(held_out),
                {"training": _own_record(training), "validation": _own_record(held_out)},
            )
        examples, record = _examples(wanted, note, training=True)
        aside = held_out_names({example.name for example in examples})
        kept = examples.only(lambda example: example.name not in aside)
        held = examples.only(lambda example: example.name in aside)
        if not len(kept):
            raise UsageError(
                f"{wanted.spec} gives one captioned photo; at least one to train on and one to "
                "hold out are needed"
            )
        return Data(kept, held, {"training": record, "validation": "a part of the same set"})
    found, record = _examples(wanted, note, training=True)
    held, held_record = _examples(validation, note, training=False)
    _require_apart(found, held)
    return Data(found, held, {"training": record, "validation": held_record})


def _examples(wanted: Wanted, note: Note, training: bool) -> tuple[Examples, dict[str, Any]]:
    if wanted.is_own:
        rows, aside = read_examples(Path(wanted.spec))
        if not rows:
            raise UsageError(f"{wanted.spec} holds no captioned photo; add some lines to it")
        return Examples.of(rows), {**_own_record(rows), "held_out_jsonl_left_out": len(aside)}
    spec = wanted.spec
    if Path(spec).suffix in _OWN_SUFFIXES and Path(spec).is_file():
        spec = str(Path(spec).parent)
    _require_plain(spec)
    dataset = open_dataset(spec)
    where = wanted.where
    if training and not any(condition.startswith("split=") for condition in where):
        where = (*where, *_training_splits(spec, dataset, note))
    selection = select(dataset, where, wanted.images, wanted.seed)
    examples = examples_of(selection)
    if not len(examples):
        raise UsageError(
            f"none of the {len(selection)} photos of {wanted.spec} has a caption; a projection is "
            "trained on captions"
        )
    about = {key: value for key, value in dataset.record().items() if key != "where"}
    chosen = {key: value for key, value in selection.record().items() if key != "list_files"}
    return examples, {**about, **chosen, "captioned": len(examples)}


def _require_plain(spec: str) -> None:
    """Refuse to choose from a caption list whose crops and weights would be dropped in silence."""
    file = Path(spec) / OWN_FILES[0]
    if file.is_file():
        rows, _ = read_examples(file)
        if any(example.crop or example.weight != 1 for example in rows):
            raise UsageError(
                f"{file} has crops or weights, which are only taken as a whole; leave out --where "
                "and --images, or these keys"
            )


def _training_splits(spec: str, dataset: Any, note: Note) -> tuple[str, ...]:
    if kind_of(spec) != "coco":
        return ()
    splits = {item.split for item in dataset}
    training = sorted(split for split in splits if split and split.startswith("train"))
    if training and len(training) < len(splits):
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


def _own_record(rows: Sequence[Example]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for example in rows:
        digest.update(
            repr((example.name, example.crop, example.captions)).encode("utf-8", "replace")
        )
    return {"name": "caption list", "chosen": len(rows), "list_sha256": digest.hexdigest()}


def _require_apart(training: Examples, validation: Examples) -> None:
    """Refuse a validation set that shares photos with the training set.

    Raises:
        UsageError: names one of them.
    """

    def places(examples: Examples) -> set[str]:
        return {
            examples.place + example.id if example.file is None else str(example.file.absolute())
            for example in examples
        }

    both = places(training) & places(validation)
    if both:
        raise UsageError(
            f"{len(both)} photos are both trained on and validated on, such as {min(both)}; keep "
            "them apart with --where and --validation-where (split=, not-listed=)"
        )
