"""What a comparison measured, read back from its run folder one photo after another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from molyneux.neurons.scorers import scorer_text
from molyneux.studies.compare.areas import AREAS
from molyneux.studies.compare.design import (
    EVERY,
    N_TOP,
    RANKED_BY,
    STRONG,
    TOP,
    UNIFORM,
    WORD,
    phase_of,
)
from molyneux.studies.compare.every_unit import phase_of_layer
from molyneux.studies.compare.few import ranked
from molyneux.studies.compare.scored import SCORED, phases_with_effects
from molyneux.studies.compare.scored import TOOK as COST_OF
from molyneux.studies.compare.truth import EXACT, TRUTH, WORDS_OF
from molyneux.studies.parts import finished_parts, read_part

Values = Float[np.ndarray, " units"]
"""Of every unit, layer after layer; NaN where there is none."""


@dataclass(frozen=True, eq=False)
class MeasuredPhoto:
    """One photo: what its units do, and what each scorer says of them.

    Attributes:
        words: rows of `WORDS`.
        rows: rows of `EFFECTS`, as they were measured.
        exact: by what a unit is put to, the word, and `logit` or `log_probability`.
        scores: by scorer, ranking and word.
        samples: by name, the places of its units among all.
        areas: rows of `KEPT`, by scorer.
        costs: a row of `COST`, by scorer.
    """

    index: int
    id: str
    sha256: str
    caption: str
    words: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    exact: Mapping[tuple[str, str, str], Values]
    scores: Mapping[tuple[str, str, str], Values]
    samples: Mapping[str, Int[np.ndarray, " sampled"]]
    areas: Mapping[str, list[dict[str, Any]]]
    costs: Mapping[str, dict[str, Any]]
    n_layers: int
    d_mlp: int


def read_photos(folder: Path, n_layers: int, d_mlp: int) -> Iterator[MeasuredPhoto]:
    """Yield the photos that have a word, with all that was measured of them so far.

    Raises:
        RunError: a part is damaged.
    """
    phases = {
        text: (phase_of(SCORED, record), phase_of(AREAS, record))
        for text, record in scorers_in(folder).items()
    }
    there = {
        phase: set(finished_parts(folder, phase)) for pair in phases.values() for phase in pair
    }
    layers = [phase_of_layer(layer) for layer in range(n_layers - 1)]
    done = [set(finished_parts(folder, phase)) for phase in layers]
    every = set.intersection(*done) if done else set()
    for index in finished_parts(folder, TRUTH):
        part = read_part(folder, TRUTH, index)
        if part.get("error") or not part[WORDS_OF]:
            continue
        rows = list(part[EXACT])
        scores: dict[tuple[str, str, str], Values] = {}
        areas, costs = {}, {}
        for name, (scored, in_sets) in phases.items():
            if index in there[scored]:
                own = read_part(folder, scored, index)
                rows += own[EXACT]
                costs[name] = {**own[COST_OF][0], "scorer": name}
                for one in own[SCORED]:
                    key = (name, one["ranking"], one["target"])
                    scores[key] = np.asarray(one["values"], dtype=float)
            if index in there[in_sets]:
                areas[name] = read_part(folder, in_sets, index)[AREAS]
        if index in every:
            rows += [row for phase in layers for row in read_part(folder, phase, index)[EXACT]]
        yield MeasuredPhoto(
            index,
            part["id"],
            part["sha256"],
            part["caption"],
            part[WORDS_OF],
            rows,
            _exact(rows, n_layers * d_mlp, d_mlp),
            scores,
            _samples(rows, scores, (n_layers - 1) * d_mlp, d_mlp, whole=index in every),
            areas,
            costs,
            n_layers,
            d_mlp,
        )


def scorers_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of the scorers that were measured on some photo, by their one text."""
    found = {}
    for phase in phases_with_effects(folder):
        if phase != TRUTH:
            for index in finished_parts(folder, phase):
                cost = read_part(folder, phase, index)[COST_OF]
                if cost:
                    record = json.loads(cost[0]["scorer"])
                    found[scorer_text(record)] = record
                    break
    return dict(sorted(found.items()))


def _exact(
    rows: list[dict[str, Any]], n_units: int, d_mlp: int
) -> dict[tuple[str, str, str], Values]:
    found: dict[tuple[str, str, str], Values] = {}
    for row in rows:
        place = row["layer"] * d_mlp + row["unit"]
        for of in ("logit", "log_probability"):
            key = (row["put_to"], row["target"], of)
            if key not in found:
                found[key] = np.full(n_units, np.nan)
            found[key][place] = row[of]
    return found


def _samples(
    rows: list[dict[str, Any]],
    scores: Mapping[tuple[str, str, str], Values],
    reach: int,
    d_mlp: int,
    *,
    whole: bool,
) -> dict[str, Int[np.ndarray, " sampled"]]:
    """Return the places of each sample's units; of `top`, the first of every scorer.

    Args:
        reach: units of all layers but the last.
        whole: whether every unit was measured.
    """
    found = {
        name: np.unique(
            [row["layer"] * d_mlp + row["unit"] for row in rows if row["sample"] == name]
        ).astype(int)
        for name in (UNIFORM, STRONG)
    }
    first = [
        [place for place in np.argsort(-values, kind="stable")[:N_TOP] if values[place] > -np.inf]
        for values in (
            ranked(values[:reach])
            for (_, ranking, target), values in scores.items()
            if ranking in RANKED_BY and target == WORD
        )
    ]
    if first:
        found[TOP] = np.unique(np.concatenate(first)).astype(int)
    if whole:
        found[EVERY] = np.arange(reach)
    return found
