"""E1's test of equivalence: are image prompts no better than their controls?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from molyneux.statistics.equivalence import paired_tost
from molyneux.studies.estimates import difference, ratio
from molyneux.studies.tables import Cell, Number, ResultTable

_COLUMNS = (
    "metric",
    "image prompts minus",
    "difference",
    "90 % interval",
    "margin",
    "p",
    "verdict",
    "own margin",
    "verdict at the own margin",
    "of the way to human nouns",
)


@dataclass(frozen=True)
class Compared:
    """The scores that one metric's rows compare; one mean a photo, NaN for a photo without texts.

    Attributes:
        metric: its name.
        margin: in the metric's unit, fixed beforehand.
        prompts: of image prompts.
        random: of random vectors, where the way to the nouns begins.
        nouns: of the human captions' nouns, where it ends.
        controls: what prompts are compared with, by the label of its row.
        why: what a cell says where nothing was scored.
    """

    metric: str
    margin: float
    prompts: Float[np.ndarray, " photos"]
    random: Float[np.ndarray, " photos"]
    nouns: Float[np.ndarray, " photos"]
    controls: Mapping[str, Float[np.ndarray, " photos"]]
    why: str


def equivalence_table(compared: list[Compared]) -> ResultTable:
    """Return the table of equivalence: the margin fixed beforehand, and the study's own beside."""
    return ResultTable(
        "E1.equivalence",
        "Are image prompts equivalent to their controls?",
        _COLUMNS,
        tuple(_row(found, label) for found in compared for label in found.controls),
        (
            "Paired two one-sided tests on each photo's difference of means over patches. The "
            "margin was fixed beforehand: 10 % of (human nouns - random vectors) in the paper's "
            "numbers, .012 BERTScore and .87 CLIPScore.",
            "Own margin: 10 % of (human nouns - random vectors) in this study's own numbers, for "
            "another backbone may have another range. It is not fixed beforehand, so its verdict "
            "stands beside the other and does not replace it.",
            "Last column: the difference as a share of the same (human nouns - random vectors).",
            "'Not shown equivalent' is not 'different': for that see whether the interval of the "
            "difference leaves out 0.",
        ),
    )


def _row(found: Compared, label: str) -> dict[str, Cell]:
    apart = found.prompts - found.controls[label]
    row: dict[str, Cell] = {
        "metric": found.metric,
        "image prompts minus": label,
        "difference": difference(found.prompts, found.controls[label], why=found.why),
        "margin": f"±{found.margin:g}",
    }
    values = apart[~np.isnan(apart)]
    if len(values) < 2:
        return row
    test = paired_tost(values, found.margin)
    row["90 % interval"] = Number(test.mean, test.low90, test.high90, test.n)
    row["p"] = f"{test.p:.2g}"
    row["verdict"] = _verdict(test.equivalent)
    way = found.nouns - found.random
    own = 0.1 * float(way[~np.isnan(way)].mean()) if not np.isnan(way).all() else 0.0
    if own > 0:
        row["own margin"] = f"±{own:.2g}"
        row["verdict at the own margin"] = _verdict(paired_tost(values, own).equivalent)
    row["of the way to human nouns"] = ratio(apart, way, why=found.why)
    return row


def _verdict(equivalent: bool) -> str:
    return "equivalent" if equivalent else "not shown equivalent"
