"""E1's equivalence: two margins, two verdicts, and neither stands in for the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from molyneux.studies.e1_prompts.summary import EquivalenceScores, equivalence_table


def rows(prompts: list[float], nouns: list[float], margin: float = 0.012) -> dict[str, Any]:
    random = np.full(len(prompts), 0.1)
    compared = EquivalenceScores(
        "BERTScore",
        margin,
        prompts=np.array(prompts),
        random=random,
        nouns=np.array(nouns),
        controls={"random vectors": random},
        why="no photo has one",
    )
    (row,) = equivalence_table([compared]).rows
    return dict(row)


def test_a_difference_between_the_two_margins_is_equivalent_by_the_study_s_own_alone() -> None:
    row = rows([0.119, 0.12, 0.121, 0.12], [0.5, 0.6, 0.7, 0.6])
    assert row["margin"] == "±0.012"
    assert row["verdict"] == "not shown equivalent"
    assert row["own margin"] == "±0.05"
    assert row["verdict at the own margin"] == "equivalent"
    assert row["of the way to human nouns"].value == pytest.approx(0.02 / 0.5)


def test_a_narrow_range_of_scores_makes_the_own_margin_the_stricter() -> None:
    row = rows([0.109, 0.11, 0.111, 0.11], [0.15, 0.15, 0.15, 0.15])
    assert (row["verdict"], row["own margin"]) == ("equivalent", "±0.005")
    assert row["verdict at the own margin"] == "not shown equivalent"


def test_without_human_nouns_or_with_nouns_no_better_there_is_no_own_margin() -> None:
    for nouns in ([np.nan] * 3, [0.05] * 3):
        row = rows([0.1, 0.11, 0.12], nouns)
        assert "own margin" not in row
        assert "verdict at the own margin" not in row
        assert row["verdict"]


def test_one_photo_has_no_test() -> None:
    row = rows([0.1], [0.5])
    assert row["difference"].n == 1
    assert "verdict" not in row
