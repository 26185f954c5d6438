"""Which decoded tokens are English words, by one named list that ships with the package.

The list is the union of Debian's `american-english` and `british-english` (SCOWL; packages
wamerican and wbritish), of which words of three or more lower-case ASCII letters are kept,
sorted, one a line, gzipped without a name or a time. Its notice is in `SCOWL-LICENCE.txt`.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from math import comb

DICTIONARY = "SCOWL en-US + en-GB (Debian wamerican, wbritish 2020.12.07-2)"
"""The list's name as reports print it."""

WORD_COUNT = 65_269
"""How many words the list holds."""

TOP = 10
"""How many of a unit's decoded tokens are looked at."""

NEEDED = 7
"""How many of them have to be words for the unit to be `interpretable`, as keys call it."""


@lru_cache(maxsize=1)
def load_dictionary() -> frozenset[str]:
    """Every word of the list, lower case; read once and kept."""
    packed = files("molyneux.words").joinpath("scowl-en.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode("ascii").split())


def is_word(text: str) -> bool:
    """Whether `text`, without the spaces around it and lower-cased, is in the dictionary.

    Nothing shorter than three letters is: the list holds no such word, because single letters
    and letter pairs are words of some dictionary nearly always.
    """
    return text.strip().lower() in load_dictionary()


def is_interpretable(tokens: Sequence[str], needed: int = NEEDED) -> bool:
    """Whether at least `needed` of the first ten `tokens` are dictionary words.

    `tokens` are a unit's decoded tokens as text, best first. Each counts, also where two differ
    only in case or in the space before them. The rule is that of Schwettmann et al. (2023,
    "Multimodal Neurons in Pretrained Text-Only Transformers"); the dictionary is `DICTIONARY`.
    """
    return sum(is_word(token) for token in tokens[:TOP]) >= needed


def chance_of_words(words: int, tokens: int, needed: int = NEEDED, top: int = TOP) -> float:
    """Return how often `top` tokens drawn at random from a vocabulary hold `needed` words or more.

    Hypergeometric, without replacement: sum over k of C(words, k) C(tokens - words, top - k) /
    C(tokens, top). A vocabulary of fewer tokens is drawn whole.

    Args:
        words: how many of the vocabulary's tokens are dictionary words.
        tokens: of the vocabulary.
    """
    drawn = min(top, tokens)
    passing = sum(
        comb(words, k) * comb(tokens - words, drawn - k) for k in range(needed, drawn + 1)
    )
    return passing / comb(tokens, drawn)
