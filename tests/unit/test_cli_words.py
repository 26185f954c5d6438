"""Options that were given wrongly are answered in plain words."""

from __future__ import annotations

import pytest

from molyneux.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "x.jpg", "--grid", "0,100"], "'0,100' is none of 'short', 'full'"),
        (["explain", "x.jpg", "--top", "abc"], "it takes a whole number"),
        (["study", "photos", "--images", "0"], "it takes 1 or more"),
        (["train", "photos", "--dropout", "much"], "it takes a number"),
        (["train", "photos", "--patches-kept", "2"], "it takes 1 or less"),
    ],
)
def test_no_words_of_the_library_that_reads_options(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    line = capsys.readouterr().err
    assert f"invalid value for '{arguments[2]}': {said}; see `molyneux {arguments[0]}" in line
    assert "Input should" not in line
    assert "Value error" not in line
