"""Nouns beside people's: every one as often as it is asked for, and none that is written there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_language_model

from molyneux.data.dataset import Item
from molyneux.data.selection import Selection, select
from molyneux.studies.e7_sight import deranged
from molyneux.studies.e7_sight.deranged import NONE, Deranged, chosen_nouns, derangement
from molyneux.words.kinds import are_related

NOUNS = ("boat", "cat", "train", "tree", "man", "dog")


@dataclass
class Given:
    """Photos that are said to be there."""

    items: list[Item]
    name: str = "given"

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Item:
        return self.items[position]

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def record(self) -> dict[str, Any]:
        return {}


def photos(*nouns: str, more: str = "") -> Selection:
    """Return photos of whose people each wrote of one noun, and one of them of something more."""
    captions = [(f"A {noun}.", f"The {noun}.", f"Some {noun} {more}.") for noun in nouns]
    items = [Item(f"{n:03}", Path(), captions=texts) for n, texts in enumerate(captions)]
    return select(Given(items))


def beside(selection: Selection) -> dict[str, dict[str, str]]:
    made = Deranged(tiny_language_model("llama"), selection)
    return {item.id: dict(made.of(item)) for _, item in selection.items()}


def test_every_row_has_a_column_of_its_own_while_there_is_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(1, 9))
        allowed = rng.random((n, n)) < 0.4
        found = derangement(allowed, seed=1)
        rows = np.flatnonzero(found != NONE)
        assert allowed[rows, found[rows]].all()
        assert len({*found[rows].tolist()}) == len(rows)
        assert len(rows) == most(allowed)
        assert (derangement(allowed, seed=1) == found).all()
    everything = np.ones((6, 6), dtype=bool)
    draws = {tuple(derangement(everything, seed=seed).tolist()) for seed in range(20)}
    assert len(draws) > 10


def most(allowed: np.ndarray) -> int:
    """Return how many rows can be given a column, by trying all."""
    if not len(allowed):
        return 0
    without = most(allowed[1:])
    given = (1 + most(np.delete(allowed[1:], at, axis=1)) for at in np.flatnonzero(allowed[0]))
    return max([without, *given])


def test_a_noun_stands_beside_as_often_as_it_is_asked_for() -> None:
    """So that what a word gains from anything at all is no difference."""
    asked = [*NOUNS, "man", "man", "cat"]
    found = beside(photos(*asked))
    assert Counter(noun for each in found.values() for noun in each) == Counter(asked)
    others = Counter(noun for each in found.values() for noun in each.values())
    assert others == Counter(asked)
    gains = dict(zip(NOUNS, np.random.default_rng(1).normal(size=6), strict=True))
    differences = [
        gains[own] - gains[other] for each in found.values() for own, other in each.items()
    ]
    assert sum(differences) == pytest.approx(0)
    assert max(map(abs, differences)) > 0.1  # of one photo it is one


def test_no_noun_that_is_written_of_the_photo_or_related_to_it() -> None:
    selection = photos(*NOUNS, "surfer", "ship", more="near a dog")
    found = beside(selection)
    for _, item in selection.items():
        for own, other in found[item.id].items():
            assert not are_related(own, other)
            assert other != "dog"  # of every photo somebody wrote of it
    assert any(found.values())


def test_an_article_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deranged, "article_of", lambda noun: "an" if noun in "tree man" else "a")
    found = beside(photos("tree", "man", "boat", "cat"))
    assert found == {
        **{"000": {"tree": "man"}, "001": {"man": "tree"}},
        **{"002": {"boat": "cat"}, "003": {"cat": "boat"}},
    }


def test_where_nothing_may_stand_there_there_is_none() -> None:
    assert beside(photos("boat")) == {"000": {}}
    assert beside(photos("boat", "ship")) == {"000": {}, "001": {}}
    assert (
        Deranged(tiny_language_model("llama"), photos("cat", "boat")).of(Item("else", Path())) == {}
    )


def test_large_studies_are_read_in_blocks_alike_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deranged, "BLOCK", 4)
    read: list[list[str]] = []
    only = Selection.only

    def counted(self: Selection, ids: list[str]) -> Selection:
        read.append(list(ids))
        return only(self, ids)

    monkeypatch.setattr(Selection, "only", counted)
    selection = photos(*NOUNS[:5], *NOUNS[:4])
    made = Deranged(tiny_language_model("llama"), selection)
    last = next(item for index, item in selection.items() if index == 8)
    assert made.of(last)
    assert [len(ids) for ids in read] == [3]
    found = beside(selection)
    assert sorted(map(len, read[1:])) == [3, 3, 3]
    assert all(found.values())


def test_photos_that_come_one_after_another_are_not_read_ahead() -> None:
    class Streamed:
        name = "streamed"

        def __iter__(self) -> Iterator[Item]:
            raise AssertionError("read ahead")

        def entries(self) -> Iterator[Item]:
            raise AssertionError("read ahead")

        def only(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Item]]:
            raise AssertionError("read ahead")

        def record(self) -> dict[str, Any]:
            return {}

    selection = replace(photos("cat", "boat"), dataset=Streamed())
    item = Item("000", Path(), captions=("A cat.",) * 3)
    assert Deranged(tiny_language_model("llama"), selection).of(item) == {}


def test_of_many_nouns_three_are_chosen_whoever_asks() -> None:
    many = Item("a", Path(), captions=("A man, a dog, a table, a boat and a tree.",) * 3)
    chosen = chosen_nouns(many)
    assert len(chosen) == 3
    assert chosen == chosen_nouns(many)
    others = {tuple(chosen_nouns(replace(many, id=str(n)))) for n in range(20)}
    assert len(others) > 5
