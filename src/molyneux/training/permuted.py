"""Captions on other photos' places: what training learns without seeing, as a control."""

from __future__ import annotations

from dataclasses import replace

from molyneux.errors import UsageError
from molyneux.statistics.permutations import derangement
from molyneux.training.examples import Examples

PERMUTED = "captions_permuted"
"""Under which a run and its projection record the seed."""


def permute_captions(examples: Examples, seed: int) -> Examples:
    """Return the examples, each with another one's captions, weight and source.

    So captions are drawn as often as before, and none with its own example's photo. A photo that
    several examples show may rarely meet its own captions by another of them.

    Raises:
        UsageError: there is one example alone.
    """
    if len(examples) < 2:
        raise UsageError("captions cannot be permuted among fewer than two examples")
    others = derangement(len(examples), seed)
    rows = [
        replace(row, captions=other.captions, weight=other.weight, source=other.source)
        for row, other in zip(examples, (examples[i] for i in others), strict=True)
    ]
    return replace(examples, rows=rows)
