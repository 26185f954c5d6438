"""What the words are: nouns of a caption, and which tokens an English dictionary knows.

Importing costs nothing: the tagger and the word list are read on first use.
"""

from __future__ import annotations

from molyneux.words.dictionary import (
    DICTIONARY,
    chance_of_words,
    is_interpretable,
    is_word,
    load_dictionary,
)
from molyneux.words.nouns import Noun, find_nouns

__all__ = [
    "DICTIONARY",
    "Noun",
    "chance_of_words",
    "find_nouns",
    "is_interpretable",
    "is_word",
    "load_dictionary",
]
