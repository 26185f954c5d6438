"""Which concept a class of a labelled data set, or a noun of people's, names: one word for each.

Data sets call the same thing by different names: COCO's `airplane` is ImageNet's `airliner` and
`warplane`, and 118 of ImageNet's classes are dogs. The table is our own, made from the lists of
names alone; what is wider or disputed is left out, and `concepts_left_out.tsv` says why. It serves
every set that has a class of such a name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import zip_longest

from molyneux.words.nouns import find_nouns

AGREED = 0.6
"""The share of people's captions, of three or more, that a concept is in."""
SEVERAL = 3
_NO_SUCH_THING = {("hot", "dog"), ("teddy", "bear"), ("bean", "bag")}
"""Two words of a caption whose second one does not name what it names alone."""


@dataclass(frozen=True)
class Concept:
    """A thing, under the word that it is asked for by.

    Attributes:
        name: an everyday noun, singular.
        nouns: what people call it, narrower words too.
        labels: the classes that show it, in lower case, of all sets.
    """

    name: str
    nouns: tuple[str, ...]
    labels: tuple[str, ...]


@cache
def concepts() -> dict[str, Concept]:
    """Return every concept by its name, in the order of the table."""
    found = {}
    for row in _rows("concepts.tsv"):
        labels = [label.lower() for cell in row[2:] for label in cell.split("|") if label]
        found[row[0]] = Concept(row[0], tuple(row[1].split("|")), tuple(dict.fromkeys(labels)))
    return found


def labels_left_out() -> list[tuple[str, str, str]]:
    """Return set, name and reason of each name that was looked at and is no concept's."""
    return [(where, name, why) for where, name, why in _rows("concepts_left_out.tsv")]


def concept_of_label(label: str) -> str | None:
    """Return the concept that a class or category names; None if none. Case does not matter.

    A class that the table does not have, and that people's nouns are, is what these name.
    """
    name = " ".join(label.lower().split())
    if name in _left_out():
        return None
    return _by_label().get(name) or _by_noun().get(name)


def concepts_in(caption: str) -> set[str]:
    """Return the concepts that a sentence names.

    A noun that stands right ahead of another says of what kind that is: a train station is no
    train. A hot dog is no dog.
    """
    nouns = find_nouns(caption)
    found = set()
    for noun, follows in zip_longest(nouns, nouns[1:]):
        ahead = caption[: noun.start].lower().split()
        if follows is not None and not caption[noun.end : follows.start].strip(" "):
            continue
        if ahead and (ahead[-1], noun.lemma) in _NO_SUCH_THING:
            continue
        if (concept := _by_noun().get(noun.lemma)) is not None:
            found.add(concept)
    return found


def concepts_named(
    label: str | None, categories: Collection[str], captions: Sequence[str]
) -> set[str]:
    """Return the concepts that a photo is taken to be of.

    Of a class, that of its label. Else of three or more captions those that 60 % of them name; of
    photos with fewer, those of the annotated categories, or of the captions where there are none.
    """
    if label is not None:
        return _known([label])
    if len(captions) >= SEVERAL:
        each = [concepts_in(caption) for caption in captions]
        least = AGREED * len(captions)
        return {c for c in set().union(*each) if sum(c in one for one in each) >= least}
    # A class that is no concept stays so: of "police van" the caption would make a car.
    return _known(categories) if categories else set().union(*map(concepts_in, captions))


def concepts_mentioned(
    label: str | None, categories: Collection[str], captions: Sequence[str]
) -> set[str]:
    """Return the concepts that anything says are in a photo: what it is no photo without."""
    said = set().union(*map(concepts_in, captions))
    return said | _known(categories) | _known([] if label is None else [label])


def _known(labels: Collection[str]) -> set[str]:
    return {found for label in labels if (found := concept_of_label(label)) is not None}


@cache
def _left_out() -> frozenset[str]:
    return frozenset(name.lower() for _, name, _ in labels_left_out())


@cache
def _by_label() -> dict[str, str]:
    return {label: one.name for one in concepts().values() for label in one.labels}


@cache
def _by_noun() -> dict[str, str]:
    return {noun: one.name for one in concepts().values() for noun in one.nouns}


def _rows(name: str) -> list[list[str]]:
    text = files("molyneux.words").joinpath(name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:] if line]
