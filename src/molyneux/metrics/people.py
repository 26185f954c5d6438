"""Whether captions name the people whom human captions agree on: woman, man, child, group."""

from __future__ import annotations

from collections.abc import Sequence

from molyneux.words.nouns import find_nouns

WOMAN = frozenset(("woman", "lady"))
MAN = frozenset(("man", "guy", "gentleman"))
CHILD = frozenset(("girl", "boy", "child", "kid", "baby", "toddler"))
GROUP = frozenset(("group", "people", "crowd", "couple"))
PEOPLE = {"woman": WOMAN, "man": MAN, "child": CHILD, "group": GROUP}
_ONE = WOMAN | MAN | CHILD


def nouns_of(captions: Sequence[str]) -> set[str]:
    """Return all nouns of some captions, singular."""
    return {noun.lemma for caption in captions for noun in find_nouns(caption)}


def agree(captions: Sequence[str], words: frozenset[str]) -> bool:
    """Return whether a photo's captions agree that it shows the people of some words.

    At least half of them have one of the words. Where the words are of women, men or children,
    none has a word of the other two, so that one right answer is left.
    """
    others = _ONE - words if words <= _ONE else frozenset()
    having = sum(bool(nouns_of([caption]) & words) for caption in captions)
    return bool(having) and 2 * having >= len(captions) and not nouns_of(captions) & others


def recall_of(
    words: frozenset[str], references: Sequence[Sequence[str]], written: Sequence[str]
) -> list[bool]:
    """Return, of each photo whose captions agree on some words, whether its caption has one.

    Args:
        words: one of `PEOPLE`.
        references: the human captions of each photo.
        written: the caption of each.
    """
    return [
        bool(nouns_of([text]) & words)
        for captions, text in zip(references, written, strict=True)
        if agree(captions, words)
    ]
