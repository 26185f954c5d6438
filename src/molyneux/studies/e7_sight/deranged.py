"""Which noun of another photo's people stands beside each of a photo's: a derangement.

Some words gain more than others whatever is put into the patches. Therefore every noun of a study
stands beside another as often as it is asked for: what a word gains from anything then cancels in
the difference, and what is left is that it was asked for behind its own photo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy.optimize import linear_sum_assignment

from molyneux.adapters.language_model import LanguageModel
from molyneux.data.dataset import Indexed, Item
from molyneux.data.selection import Selection
from molyneux.neurons.partners import agreed_nouns
from molyneux.neurons.targets import word_tokens
from molyneux.words.articles import article_of
from molyneux.words.kinds import are_related
from molyneux.words.nouns import find_nouns

HUMAN_NOUNS = 3
"""Of a photo, the most that are read: drawn by the hash of its id."""
BLOCK = 256
"""Photos, at most, whose nouns are exchanged: a study of any size reads no more ahead."""
NONE = -1


def chosen_nouns(item: Item) -> list[str]:
    """Return the nouns of a photo's people that are read."""
    agreed = agreed_nouns(item.captions)
    return sorted(agreed, key=lambda noun: digest(f"{item.id} {noun}"))[:HUMAN_NOUNS]


def written_nouns(item: Item) -> frozenset[str]:
    """Return what people wrote of a photo, in any caption, or annotated in it."""
    found = {noun.lemma for caption in item.captions for noun in find_nouns(caption)}
    return frozenset(found | {*item.categories})


def derangement(allowed: Bool[np.ndarray, "n n"], seed: int) -> Int[np.ndarray, " n"]:
    """Return for each row a column that is allowed, every column once; `NONE` where there is none.

    Of the assignments with the fewest rows left over, one drawn at random.
    """
    cost = np.random.default_rng(seed).random(allowed.shape)
    cost[~allowed] = 2.0 * len(allowed) + 1.0  # more than any number of allowed ones
    rows, columns = linear_sum_assignment(cost)
    found = np.full(len(allowed), NONE)
    found[rows] = np.where(allowed[rows, columns], columns, NONE)
    return found


@dataclass(frozen=True)
class _Asked:
    """A noun of a photo's people, with all that is written of the photo."""

    photo: str
    noun: str
    token: int
    written: frozenset[str]


class Deranged:
    """The nouns beside those of a study's photos, made for a block of photos when first asked for.

    They follow from the photos' ids and captions alone. A data set that is read from front to back
    has none: its captions are not known before its photos are.
    """

    def __init__(self, model: LanguageModel, selection: Selection) -> None:
        self._model, self._selection = model, selection
        known = isinstance(selection.dataset, Indexed)
        self._places = {name: place for place, name in enumerate(selection.ids)} if known else {}
        self._n_blocks = -(-len(self._places) // BLOCK)  # alike in size: none is left with a few
        self._blocks: dict[int, dict[str, dict[str, str]]] = {}

    def of(self, item: Item) -> Mapping[str, str]:
        """Return by noun of the photo's people the one beside it; some may have none."""
        if item.id not in self._places:
            return {}
        block = self._places[item.id] * self._n_blocks // len(self._places)
        if block not in self._blocks:
            self._blocks[block] = self._made(block)
        return self._blocks[block].get(item.id, {})

    def _made(self, block: int) -> dict[str, dict[str, str]]:
        ids = [
            name
            for name, place in self._places.items()
            if place * self._n_blocks // len(self._places) == block
        ]
        asked: list[_Asked] = []
        for _, item in self._selection.only(ids).items():
            written = written_nouns(item)
            for noun in chosen_nouns(item):
                tokens = word_tokens(self._model, noun)
                if tokens:
                    asked.append(_Asked(item.id, noun, tokens[0], written))
        seed = int.from_bytes(digest("\n".join(ids))[:8], "little")
        found: dict[str, dict[str, str]] = {}
        for one, place in zip(asked, derangement(_allowed(asked), seed).tolist(), strict=True):
            if place != NONE:
                found.setdefault(one.photo, {})[one.noun] = asked[place].noun
        return found


def _allowed(asked: Sequence[_Asked]) -> Bool[np.ndarray, "n n"]:
    """Return which noun may stand beside which: after its article, and written by nobody there."""
    own: dict[str, set[int]] = {}
    for one in asked:
        own.setdefault(one.photo, set()).add(one.token)
    found = np.zeros((len(asked), len(asked)), dtype=bool)
    related: dict[tuple[str, str], bool] = {}
    for row, one in enumerate(asked):
        for column, other in enumerate(asked):
            if other.token in own[one.photo] or article_of(other.noun) != article_of(one.noun):
                continue
            key = (one.photo, other.noun)
            if key not in related:
                related[key] = any(are_related(other.noun, noun) for noun in one.written)
            found[row, column] = not related[key]
    return found


def digest(text: str) -> bytes:
    """Return what draws are made by."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
