"""Which photos' human captions agree on who is shown, and whether a caption says so."""

from __future__ import annotations

import pytest

from molyneux.metrics.people import CHILD, GROUP, MAN, WOMAN, agree, recall_of

ALONE = ["a woman on a bench", "a lady sits", "someone on a bench"]


def test_half_of_the_captions_and_nobody_else() -> None:
    assert agree(ALONE, WOMAN)
    assert not agree(["a woman on a bench", "a bench", "a park"], WOMAN)
    assert not agree([*ALONE, "a man on a bench"], WOMAN)
    assert not agree([*ALONE, "a girl on a bench"], WOMAN)
    assert agree(["a boy on a bike", "a kid rides"], CHILD)
    assert not agree(["a bench", "a park"], MAN)


def test_a_group_may_have_a_man_in_it() -> None:
    assert agree(["a group of people", "people with a man"], GROUP)


@pytest.mark.parametrize(("text", "said"), [("a lady in a hat", True), ("a man in a hat", False)])
def test_recall_is_over_photos_that_agree(text: str, said: bool) -> None:
    references = [ALONE, ["a cat", "a cat on a mat"]]
    assert recall_of(WOMAN, references, [text, "a woman"]) == [said]
    assert recall_of(MAN, references, [text, "a man"]) == []
