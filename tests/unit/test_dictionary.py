from __future__ import annotations

import gzip
import random
import re
import subprocess
import sys
from importlib.resources import files

import pytest

from molyneux.words import (
    DICTIONARY,
    chance_of_words,
    is_interpretable,
    is_word,
    load_dictionary,
)
from molyneux.words.dictionary import WORD_COUNT

WORDS = ["dog", "cat", "red", "train", "colour", "color", "house", "water", "tree", "hand"]
NOT_WORDS = ["xq", "zzyzx", "the!", "", "12", "éa", "ab", "qwrt", "London", "'s"]


def test_list_is_the_one_it_names():
    words = load_dictionary()
    assert len(words) == WORD_COUNT == 65_269
    assert all(re.fullmatch("[a-z]{3,}", word) for word in words)
    assert "2020.12.07-2" in DICTIONARY
    assert {"colour", "color", "neighbour", "neighbor"} <= words


def test_file_is_sorted_and_carries_neither_name_nor_time():
    packed = files("molyneux.words").joinpath("scowl-en.txt.gz").read_bytes()
    assert packed[3] == 0, "no name, comment or extra field in the gzip header"
    assert packed[4:8] == bytes(4), "no time in the gzip header"
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    assert lines == sorted(set(lines))


def test_notice_is_beside_the_list():
    notice = files("molyneux.words").joinpath("SCOWL-LICENCE.txt").read_text("ascii")
    assert "Permission to use, copy, modify, distribute and sell these word" in notice
    assert "Kevin Atkinson" in notice
    assert "modified version" in notice


def test_case_and_spaces_around_do_not_matter():
    assert is_word(" Dog")
    assert is_word("\nCOLOUR ")
    assert not is_word("do g")
    assert not is_word("Ġdog")


def test_two_letters_are_no_word():
    assert not any(is_word(text) for text in ("", " ", "a", "of", "in", " is"))


def test_seven_of_ten_is_the_border():
    assert all(map(is_word, WORDS))
    assert not any(map(is_word, NOT_WORDS[:8]))
    assert is_interpretable(NOT_WORDS[:3] + WORDS[:7])
    assert not is_interpretable(NOT_WORDS[:4] + WORDS[:6])
    assert is_interpretable(NOT_WORDS[:4] + WORDS[:6], needed=6)


def test_only_the_first_ten_count():
    assert not is_interpretable(NOT_WORDS[:4] + WORDS)
    assert not is_interpretable([])


def test_the_chance_of_seven_words_is_that_of_drawing_them():
    # Of 5 tokens 3 words, 2 drawn: 3 of 10 pairs are two words, 9 of 10 hold one or more.
    assert chance_of_words(3, 5, needed=2, top=2) == pytest.approx(0.3)
    assert chance_of_words(3, 5, needed=1, top=2) == pytest.approx(0.9)
    assert chance_of_words(0, 100) == 0
    assert chance_of_words(100, 100) == 1
    assert chance_of_words(6, 8) == 0  # eight tokens hold no seven words
    assert chance_of_words(7, 8) == 1
    drawn = random.Random(0)
    vocabulary = [True] * 60 + [False] * 40
    trials = [sum(drawn.sample(vocabulary, 10)) >= 7 for _ in range(4000)]
    assert sum(trials) / 4000 == pytest.approx(chance_of_words(60, 100), abs=0.03)


def test_import_reads_nothing_heavy():
    code = (
        "import sys, molyneux.words\n"
        "heavy = {'torch', 'transformers', 'HanTa', 'numpy', 'nltk'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
