"""How well each scorer finds units that are known to carry a word, where they were planted.

    python benchmarks/planted_truth.py > benchmarks/results/planted_truth.json
    python benchmarks/planted_truth.py --scorer relp --toys 20

A small transformer of random weights, in which some units are written for each word, beside others
that a method may take for them (`molyneux.fixtures.planted`). For each toy and word: the area under
the ROC curve, and the share of planted units among as many first ones; of the exact effect of each
unit, and of every scorer by its sum and by its maximum over patches. Means over words, then over
toys with a 95 % interval. No weights are fetched. A scorer of another package is named by
`--scorer`, or is found among all if the package is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from source import source_record

from molyneux.errors import UsageError
from molyneux.fixtures.planted import Found, PlantedToy, planted_toy
from molyneux.neurons.scorers import find_scorer
from molyneux.statistics.bootstrap import bootstrap
from molyneux.studies.compare.run import chosen_scorers

EXACT = "exact effects"


def rows_of(toy: PlantedToy, scorers: list[str]) -> dict[tuple[str, str], list[Found]]:
    """Return what was found of each word, by method and ranking."""
    found = {(EXACT, "total"): toy.exactly()}
    for name in scorers:
        try:
            scored = toy.scored(find_scorer(name))
        except UsageError as error:
            print(f"no {name}: {error}", file=sys.stderr)
            continue
        found |= {(name, ranking): each for ranking, each in scored.items()}
    return found


def summary(toys: list[dict[tuple[str, str], list[Found]]]) -> list[dict[str, Any]]:
    """Return a row for each method and ranking, the best one first."""
    rows = []
    for method, ranking in toys[0]:
        row: dict[str, Any] = {"scorer": method, "ranking": ranking, "toys": len(toys)}
        for name in ("auroc", "first"):
            each = [np.mean([getattr(one, name) for one in toy[method, ranking]]) for toy in toys]
            interval = bootstrap(np.array(each), draws=2000)
            row |= {
                name: interval.value,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["first"], -row["auroc"]))


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--toys", type=int, default=5)
    parser.add_argument("--scorer", action="append")
    asked = parser.parse_args(arguments)
    scorers = list(chosen_scorers(asked.scorer or ()))
    toys = []
    for seed in range(asked.toys):
        toys.append(rows_of(planted_toy(seed), scorers))
        print(f"toy {seed + 1} of {asked.toys}", file=sys.stderr)
    print(json.dumps({"source": source_record(), "rows": summary(toys)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
