"""Which category of a data set an everyday noun names: "man" is a `person`, "plane" an `airplane`.

The table is our own list for the 80 categories of COCO; nouns that more often mean something else
("figure", "coach", "chicken") are left out, and a dash says that a noun names none of them though
a category ends with it ("sign" is not a `stop sign`). It serves every set that has a category of
that name.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files


def category_of(noun: str, categories: Collection[str]) -> str | None:
    """Return the one of `categories` that a noun, in the singular, names; None if it names none.

    The first that holds is taken:

    1. it is a category, or is one when written without spaces and hyphens ("hotdog");
    2. the table gives it a category that the set has;
    3. its last word does so by 1 or 2 ("fire engine truck", "tennis player");
    4. it is the last word of exactly one category of several words ("hydrant", but not "board"
       where there are two).

    Case does not matter; what comes back is spelled as in `categories`.
    """
    words = noun.lower().replace("-", " ").split()
    if not words:
        return None
    named, ends = _index(tuple(categories))
    for name in dict.fromkeys((" ".join(words), words[-1])):
        if (found := named.get(_joined(name))) is not None:
            return found
        if (found := named.get(_joined(table().get(_joined(name), "")))) is not None:
            return found
    if table().get(words[-1]) == "-":
        return None
    found_by_end = ends.get(words[-1], ())
    return found_by_end[0] if len(found_by_end) == 1 else None


@cache
def _index(categories: tuple[str, ...]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the categories by their joined names, and by their last words."""
    ends: dict[str, tuple[str, ...]] = {}
    for category in categories:
        for last in category.lower().split()[-1:]:
            ends[last] = (*ends.get(last, ()), category)
    return {_joined(category): category for category in categories}, ends


@cache
def table() -> dict[str, str]:
    """Return the shipped table: nouns, without spaces and hyphens, and their COCO category."""
    text = files("molyneux.words").joinpath("categories.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {_joined(noun): category for noun, category in rows}


def _joined(name: str) -> str:
    return "".join(name.lower().replace("-", " ").split())
