"""The lists of nouns: synonyms, and everyday nouns to ask a model for."""

from __future__ import annotations

from molyneux.words.everyday import EVERYDAY_NOUNS
from molyneux.words.singular import singular
from molyneux.words.synonyms import GROUPS, names_one_of, synonyms_of


def test_a_noun_is_right_where_a_synonym_is_named_and_not_where_a_wider_word_is() -> None:
    assert names_one_of("guy", {"man", "dog"})
    assert names_one_of("dog", {"dog"})
    assert not names_one_of("puppy", {"dog"})
    assert not names_one_of("dog", {"animal", "puppy"})
    assert synonyms_of("volcano") == {"volcano"}


def test_a_noun_is_in_one_group_and_in_the_singular() -> None:
    listed = [noun for group in GROUPS for noun in group]
    assert len(set(listed)) == len(listed)
    assert [noun for noun in listed if singular(noun) != noun] == []


def test_everyday_nouns_are_singular_and_each_there_once() -> None:
    assert len(set(EVERYDAY_NOUNS)) == len(EVERYDAY_NOUNS) > 200
    assert [noun for noun in EVERYDAY_NOUNS if singular(noun) != noun] == []
