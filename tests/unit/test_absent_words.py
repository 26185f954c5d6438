"""Words that are not there: related to nothing that is, and as likely behind other photos."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_language_model

from molyneux.neurons.sight.absent import absent_candidates, nearest_absent
from molyneux.words.everyday import EVERYDAY_NOUNS
from molyneux.words.kinds import are_related, unrelated_to, wider_than

NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dog", "dogs"),
        ("dog", "puppy"),
        ("puppy", "animal"),
        ("pug", "pet"),
        ("man", "woman"),
        ("surfer", "child"),
        ("tennis player", "person"),
        ("car", "automobile"),
        ("sedan", "vehicle"),
        ("lorry", "vehicle"),
        ("duck", "bird"),
        ("zebra", "animal"),
        ("apple", "food"),
        ("strawberry", "fruit"),
        ("couch", "furniture"),
        ("desk", "table"),
        ("ocean", "water"),
        ("teddy bear", "bear"),
        ("plane", "airplane"),
        ("church", "building"),
        ("laptop", "computer"),
    ],
)
def test_what_may_name_one_thing_is_related_either_way(one: str, other: str) -> None:
    assert are_related(one, other)
    assert are_related(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("dog", "cat"), ("dog", "man"), ("train", "bus"), ("pizza", "cake"), ("guitar", "boat")],
)
def test_kinds_of_one_thing_are_not_each_other(one: str, other: str) -> None:
    assert not are_related(one, other)
    assert not are_related(other, one)


def test_wider_is_by_any_number_of_steps() -> None:
    assert wider_than("strawberry") >= {"fruit", "food"}
    assert "strawberry" not in wider_than("fruit")


def test_enough_everyday_nouns_are_left_of_any_photo() -> None:
    for present in (["man", "surfboard", "wave"], ["dog", "frisbee", "grass"], ["pizza", "table"]):
        left = unrelated_to(present, EVERYDAY_NOUNS)
        assert len(left) > 150
        assert not {*present} & {*left}
    assert "woman" not in unrelated_to(["man"], EVERYDAY_NOUNS)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_candidates_are_one_token_each_that_nothing_present_begins_with(kind: str) -> None:
    model = tiny_language_model(kind)
    found = absent_candidates(model, ["dog"], [model.encode(" train")[0]])
    words, tokens = [one.word for one in found], [one.token_id for one in found]
    # Of the tiny vocabulary's everyday nouns, letters make up all others.
    assert {"cat", "horse", "boat", "table", "man"} <= {*words}
    assert not {"dog", "train", "guitar"} & {*words}
    assert len({*tokens}) == len(tokens)
    assert all(
        model.encode(f" {word}") == [token] for word, token in zip(words, tokens, strict=True)
    )
    assert "man" not in [one.word for one in absent_candidates(model, ["woman"])]


def test_the_nearest_are_those_as_likely_behind_the_partners() -> None:
    target = torch.tensor([-4.0, NAN, -6.0])
    candidates = torch.tensor(
        [
            [-9.0, -9.0, -9.0],
            [-5.0, NAN, -5.5],  # -5.25
            [-1.0, -5.0, -9.0],  # -5
            [NAN, NAN, NAN],
            [-4.0, -4.5, -5.0],  # -4.5
        ]
    )
    words = ["sky", "boat", "dog", "cat", "tree"]
    assert nearest_absent(target, candidates, words) == [2, 1, 4]
    assert nearest_absent(target, candidates[:1], words) == [0]


def test_ties_are_broken_by_the_word_alone() -> None:
    words = ["boat", "dog", "tree", "cat"]
    order = nearest_absent(torch.zeros(2), torch.ones(4, 2), words, 4)
    backwards = nearest_absent(torch.zeros(2), torch.ones(4, 2), words[::-1], 4)
    assert [words[place] for place in order] == [words[::-1][place] for place in backwards]
