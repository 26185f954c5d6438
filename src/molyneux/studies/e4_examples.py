"""E4's single photos: the best units to look at, and which words could be compared at all."""

from __future__ import annotations

from collections import Counter

import numpy as np

from molyneux.studies.e4_compared import Compared
from molyneux.studies.e4_notes import BY_CATEGORY, KINDS, LISTS, PAPER_IOU, TARGETS
from molyneux.studies.finished import Finished
from molyneux.studies.tables import Cell, Number, ResultTable

EXAMPLES = 10


def examples(compared: Compared, study: Finished) -> ResultTable:
    """Return the units of all photos whose fields agree best with a mask."""
    ids = study.photos["id"].to_pylist()
    best = {r: compared.score(r, "own", "IoU", "best") for r in BY_CATEGORY}
    places = [
        (float(best[ranking][target]), ranking, target)
        for ranking in BY_CATEGORY
        for target in range(len(compared.photo))
        if not np.isnan(best[ranking][target])
    ]
    rows: list[dict[str, Cell]] = []
    for iou, ranking, target in sorted(places, key=lambda p: (-p[0], p[1], p[2]))[:EXAMPLES]:
        row = compared.rows[ranking, "own"][target]
        rows.append(
            {
                "photo": str(ids[compared.photo[target]]),
                "category": str(compared.category[target]),
                "word": KINDS[str(compared.kind[target])],
                "ranking": LISTS[ranking],
                "unit": str(compared.columns["best_unit"][row]),
                "IoU": Number(iou, n=1),
                "best of 20 random units": Number(
                    _finite(compared.score(ranking, "random", "IoU", "best")[target]), n=1
                ),
                "ceiling": Number(float(compared.ceiling[target]), n=1),
                "paper": PAPER_IOU,
            }
        )
    columns = (
        "photo", "category", "word", "ranking", "unit", "IoU", "best of 20 random units",
        "ceiling", "paper",
    )  # fmt: skip
    return ResultTable(
        "E4.examples",
        f"The {EXAMPLES} best units of all photos",
        columns,
        tuple(rows),
        (
            "Picked by their IoU from the first 20 units of both rankings over all photos: how "
            "good it gets, not how good it is. Single photos, so without intervals.",
        ),
    )


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def outcomes_table(study: Finished) -> ResultTable:
    """Return how many words could be compared, and why the others could not."""
    columns = study.table("e4_targets")
    kinds = {**KINDS, "photo": "none"}
    found = Counter(zip(columns["kind"].tolist(), columns["outcome"].tolist(), strict=True))
    rows: list[dict[str, Cell]] = [
        {"word": kinds[kind], "outcome": outcome, "words": count}
        for (kind, outcome), count in sorted(
            found.items(), key=lambda entry: (entry[0][0], -entry[1])
        )
    ]
    return ResultTable(
        "E4.targets",
        "Which words could be compared",
        ("word", "outcome", "words"),
        tuple(rows),
        (TARGETS,),
    )
