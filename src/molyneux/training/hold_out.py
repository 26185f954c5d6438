"""Leaving categories out of training: concepts that the projection is never to have seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from molyneux.errors import UsageError
from molyneux.training.data import Data
from molyneux.training.examples import Example, Examples
from molyneux.words.categories import category_of, table
from molyneux.words.nouns import find_nouns
from molyneux.words.singular import singular

_WORDS = re.compile(r"[a-z]+(?:-[a-z]+)*")
_COUNTED = ("by_annotation", "by_caption")


@dataclass
class HoldOut:
    """Tells the photos that show or mention a category, and counts them.

    A photo is left out if its data set says that it holds the category, if a noun of one of its
    captions is the category's name, or if that noun names it (`category_of`: a puppy is a dog).

    Attributes:
        names: the categories, lower case.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Prepare the names."""
        self.names = tuple(dict.fromkeys(" ".join(n.lower().split()) for n in self.names if n))
        known = {category for category in table().values() if category != "-"}
        self._known = tuple(sorted(known | set(self.names)))
        self._named = cache(self._named_by)

    def _named_by(self, noun: str) -> str | None:
        if noun in self.names:
            return noun
        category = category_of(noun, self._known)
        return category if category in self.names else None

    def names_one(self, example: Example) -> bool:
        """Return whether an example names one of the categories."""
        return bool(self._annotated(example) or self._said_of(example))

    def _annotated(self, example: Example) -> set[str]:
        return set(example.categories) & set(self.names)

    def _said_of(self, example: Example) -> set[str]:
        return {name for caption in example.captions for name in self._said(caption)}

    def _said(self, caption: str) -> Collection[str]:
        words = _WORDS.findall(caption.lower())
        plain = " " + " ".join(words) + " "
        found = {name for name in self.names if " " in name and f" {name} " in plain}
        # The tagger is slow: it is asked only where one of the words could name a category.
        if any(self._named(word) or self._named(singular(word)) for word in words):
            for noun in find_nouns(caption):
                name = self._named(noun.lemma) or self._named(noun.word)
                if name:
                    found.add(name)
        return found

    def apply(self, examples: Examples) -> tuple[Examples, dict[str, Any]]:
        """Return the examples of the photos that are left, and the counts of those that are not.

        One crop or caption that names a category is enough: all examples of its photo go.
        """
        origins = examples.origins()
        annotated: dict[str, set[str]] = {}
        said: dict[str, set[str]] = {}
        for origin, example in zip(origins, examples, strict=True):
            for found, names in (
                (annotated, self._annotated(example)),
                (said, self._said_of(example)),
            ):
                if names:
                    found.setdefault(origin, set()).update(names)
        gone = annotated.keys() | said.keys()
        kept = examples.at([i for i, origin in enumerate(origins) if origin not in gone])

        def count(found: dict[str, set[str]]) -> dict[str, int]:
            counts = Counter(name for names in found.values() for name in names)
            return {name: counts[name] for name in self.names}

        return kept, {
            "left_out": len(gone),
            "by_annotation": count(annotated),
            "by_caption": count(said),
        }


def leave_out(data: Data, names: tuple[str, ...]) -> tuple[Data, dict[str, Any]]:
    """Return data without some categories, and the record of how many photos that took.

    The validation set loses them too: it decides which weights are kept.

    Raises:
        UsageError: nothing is left of one of the sets.
    """
    hold_out = HoldOut(names)
    training, of_training = hold_out.apply(data.training)
    validation, of_validation = hold_out.apply(data.validation)
    for examples, what in ((training, "train on"), (validation, "validate on")):
        if not len(examples):
            raise UsageError(
                f"without {', '.join(hold_out.names)} no photo is left to {what}; hold out fewer "
                "categories, or give more photos"
            )
    record = {
        "names": list(hold_out.names),
        "training": of_training,
        "validation": of_validation,
    }
    return replace(data, training=training, validation=validation), record


def unseen_names(record: Mapping[str, Any]) -> list[str]:
    """Return the categories of a record by which no photo was left out, as misspelt ones would."""
    counts = [record[part][how] for part in ("training", "validation") for how in _COUNTED]
    return [name for name in record["names"] if not any(count[name] for count in counts)]
