"""A rule of decoding is printed as it is asked for."""

from __future__ import annotations

import itertools

import pytest

from molyneux.errors import UsageError
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding


def test_what_is_printed_is_read_back() -> None:
    for parts in itertools.product((False, True), repeat=3):
        assert Decoding.parse(str(Decoding(*parts))) == Decoding(*parts)
    assert str(DEFAULT_DECODING) == "final_norm,written"
    assert str(Decoding(False, False, False)) == "plain"


@pytest.mark.parametrize("text", ["", "norm", "plain,written", "final_norm;bias"])
def test_another_word_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="give plain, or of final_norm, bias, written") as error:
        Decoding.parse(text)
    assert "\n" not in str(error.value)
