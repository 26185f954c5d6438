"""Photos that people say show a word, beside those that do not: which they are, how like one is."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from molyneux import MolyneuxError
from molyneux.neurons.partners import Partner, make_partner
from molyneux.neurons.sight.shown import LEVEL, PHOTOS, Likeness, photos_showing, shared_units
from molyneux.statistics.permutations import exchange_p, least_p


def photo(name: str, caption: str, *human: str) -> Partner:
    return make_partner(name, caption, human, torch.zeros(4, 3))


def names(photos: tuple[Partner, ...]) -> set[str]:
    return {one.name for one in photos}


def test_a_photo_shows_a_word_if_people_say_so_whatever_the_model_wrote() -> None:
    partners = [
        photo("agreed", "a bench", "A sofa.", "Couches.", "A couch in a room."),
        photo("one of three", "a bench", "A couch.", "A wall.", "A room."),
        photo("synonym", "a bench", "A sofa in a room."),
        photo("the model alone", "a couch", "A wall."),
        photo("nobody", "a bench", "A wall."),
        photo("nobody was asked", "a couch"),
    ]
    found = photos_showing(partners, "couch", "digest")
    assert names(found.shown) == {"agreed", "one of three", "synonym"}
    assert found.shown[0].name == "agreed"
    assert names(found.others) == {"nobody"}
    assert (found.named, found.described) == (3, 5)
    none = photos_showing(partners, "zebra", "digest")
    assert (none.shown, none.named) == ((), 0)


def test_neither_the_photo_itself_nor_those_in_its_baseline_are_compared_with() -> None:
    partners = [photo(f"shows {n}", "a bench", "A dog.") for n in range(9)]
    partners += [photo(f"other {n}", "a bench", "A wall.") for n in range(9)]
    found = photos_showing(partners, "dog", "shows 3", but={"shows 4", "other 2"})
    assert len(found.shown) == len(found.others) == PHOTOS
    assert not names(found.shown) & {"shows 3", "shows 4"}
    assert "other 2" not in names(found.others)
    assert found.named == 8
    another = photos_showing(partners, "dog", "another digest")
    assert names(another.shown) != names(found.shown)
    again = photos_showing(partners[::-1], "dog", "another digest")
    assert [one.name for one in again.shown] == [one.name for one in another.shown]


def scores(*units: int) -> Tensor:
    """Return scores of 2 layers of 4 units: the first of these units has the highest."""
    found = torch.full((2, 4), -1.0)
    for place, unit in enumerate(units):
        found[unit // 4, unit % 4] = 10.0 - place
    return found


def test_shared_units_are_counted_among_the_first_that_push_the_word() -> None:
    own = scores(0, 1, 2, 3)
    others = torch.stack([own, 3 * own, scores(3, 2, 1, 0), scores(4, 5, 6), scores(1, 5, 0, 7)])
    assert shared_units(own, others, n=4).tolist() == [1, 1, 1, 0, 0.5]
    assert shared_units(own, others, n=2).tolist() == [1, 1, 0, 0, 0.5]
    # Units that hold the word back are none of them, however few push it.
    assert shared_units(scores(0, 5), scores(0)[None], n=8).tolist() == [0.5]
    with pytest.raises(MolyneuxError, match="no unit pushes"):
        shared_units(-own.abs(), others, n=4)


def likeness(shown: list[float], others: list[float]) -> Likeness:
    return Likeness(torch.tensor(shown), torch.tensor(others))


def test_the_control_can_fail_it_and_few_photos_tell_nothing() -> None:
    apart = likeness([0.5, 0.6, 0.7, 0.5, 0.6], [0.1, 0.2, 0.2, 0.3, 0.1])
    assert apart.like_shown is True
    assert apart.p == pytest.approx(1 / 252)
    assert likeness([0.5] * 5, [0.5] * 5).like_shown is False
    # As high, but photos without the word are as like: its units are the text's.
    assert likeness([0.9] * 5, [0.9, 0.8, 1.0, 0.9, 0.9]).like_shown is False
    assert likeness([0.1] * 5, [0.9] * 5).like_shown is False
    # 1 of 8 is no more than chance often does; nor can it be.
    assert likeness([0.9], [0.1] * 5).like_shown is None
    assert likeness([0.9] * 2, [0.1] * 5).like_shown is None
    assert likeness([0.9] * 3, [0.1] * 5).like_shown is True
    assert likeness([], [0.1] * 5).p == 1
    assert likeness([], [0.1] * 5).like_shown is None


def test_labels_that_mean_nothing_pass_no_more_often_than_they_may() -> None:
    values = torch.rand(10, generator=torch.Generator().manual_seed(3)).tolist()
    passed = []
    for chosen in combinations(range(10), 5):
        others = [values[n] for n in range(10) if n not in chosen]
        passed.append(likeness([values[n] for n in chosen], others).like_shown)
    assert 0 < sum(map(bool, passed)) / len(passed) <= LEVEL


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_exchanged_labels_are_counted_one_by_one(values: list[int], others: list[int]) -> None:
    both = values + others
    ways = [sum(both[n] for n in c) for c in combinations(range(len(both)), len(values))]
    wanted = sum(way >= sum(values) for way in ways) / len(ways)
    assert exchange_p(values, others) == pytest.approx(wanted)
    tenths = exchange_p([value / 10 for value in values], [value / 10 for value in others])
    assert tenths == pytest.approx(wanted)  # of sums that are equal on paper only
    assert exchange_p(values, others) >= least_p(len(values), len(others))


def test_exchanged_labels_need_two_groups_of_few() -> None:
    for values, others in (([], [1]), ([1], [])):
        with pytest.raises(ValueError, match="two groups"):
            exchange_p(values, others)
    with pytest.raises(ValueError, match="at most"):
        exchange_p([0.0] * 20, [1.0] * 20)
