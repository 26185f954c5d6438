"""Words that are asked for, as tokens: never a blank one in a word's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_models import tiny_language_model
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from molyneux.errors import UsageError
from molyneux.neurons.targets import (
    Sentence,
    ask_for,
    nouns_shown,
    require_tokens,
    unrelated_nouns,
    word_tokens,
)
from molyneux.vision.layout import ImagePrompt


def spaced_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that puts a space before every text by itself, as Llama's does."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        "▁",
        "▁dog",
        "▁Dog",
        "▁cat",
        "▁ze",
        "bra",
        "z",
        "e",
        "b",
        "r",
        "a",
    ]
    scores = [(piece, -1.0 if len(piece) > 1 else -5.0) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def spaced() -> Any:
    return replace(tiny_language_model("llama"), tokenizer=spaced_tokenizer())


def test_a_space_that_would_stand_alone_is_left_to_the_tokenizer(spaced: Any) -> None:
    ids = spaced.tokenizer.get_vocab()
    assert spaced.encode(" dog")[0] == ids["▁"]  # what must not be ranked
    assert word_tokens(spaced, "dog") == [ids["▁dog"]]
    assert word_tokens(spaced, " zebra ") == [ids["▁ze"], ids["bra"]]
    assert unrelated_nouns(spaced, set(), set(), n=2)[1] == [ids["▁dog"], ids["▁cat"]]


def test_a_word_that_begins_with_a_blank_is_refused(spaced: Any) -> None:
    assert word_tokens(spaced, "xyz") == []
    with pytest.raises(UsageError, match="begins 'xyz' with a blank token"):
        require_tokens(spaced, "xyz")
    with pytest.raises(UsageError, match="needs a word"):
        require_tokens(spaced, " ")


def test_words_that_differ_in_capitals_are_told_apart_by_their_tokens(spaced: Any) -> None:
    prompt, nothing = ImagePrompt(torch.zeros(1, 20, 32), slice(1, 17)), Sentence([], "", [])
    small, large = (ask_for(spaced, prompt, nothing, word)[1] for word in ("dog", "Dog"))
    assert small.word == large.word == "dog"
    assert small.target.token_id != large.target.token_id
    assert (small.note, large.note) == (None, "scored by ' Dog'")


def test_what_people_saw_or_annotated_is_not_unrelated() -> None:
    model = tiny_language_model("llama")
    shown = nouns_shown({"dog", "automobile"}, ["person", "dining table"])
    # A car by another name, and a man, a woman and a child, who are persons.
    assert {"dog", "car", "man", "woman", "child", "table"} <= shown
    assert not {"cat", "bus", "train"} & shown
    nouns, tokens = unrelated_nouns(model, shown, set(), n=99)
    assert not set(nouns) & shown
    assert "cat" in nouns or len(tokens) > 3
    assert nouns_shown({"kite"}) == {"kite"}
