"""E2: do the units that made the model say a word say it themselves, in what they write?

Schwettmann et al. 2023, section 2.2 and Table 2. The first units of a ranking are decoded, each to
one text of ten tokens, and compared with the human captions and the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from molyneux.neurons.attribution import View
from molyneux.neurons.decoding import read_units
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import UNIT_SETS
from molyneux.statistics.permutations import best_of_k_expectation
from molyneux.studies.e2_agreement.design import BEST_OF
from molyneux.studies.texts import TextScores

if TYPE_CHECKING:
    from molyneux.studies.subject import Subject


UNITS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("score", pa.float64()),
        ("total", pa.float64()),
        ("specific", pa.float64()),
        ("sink", pa.bool_()),
        ("interpretable", pa.bool_()),
        ("peak_patch", pa.int32()),
        ("target_place", pa.float64()),
        ("others_place", pa.float64()),
        ("lens_target_place", pa.float64()),
        ("lens_others_place", pa.float64()),
        ("text", pa.string()),
    ]
)
"""A row per listed unit.

`rank` 0 is the first; `sign` is the direction written at the peak (of the patches that the ranking
looks at), in which the unit is decoded, 0 as if positive; `specific` is null where such a unit
cannot rank; `peak_patch` is null in the view `last`; `target_place` is the share of the vocabulary
that the unit raises above the target, 0 where the target is its first token; `others_place` the
mean of that share over other photos' nouns (`Subject.other_nouns`), null without any. The two
with `lens_` are these through a Jacobian lens: of units at the patches that it reads, where the
study has one, else null.
"""

CONTROLS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("control", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("target_place", pa.float64()),
        ("others_place", pa.float64()),
        ("lens_target_place", pa.float64()),
        ("lens_others_place", pa.float64()),
        ("text", pa.string()),
    ]
)
"""A row per control unit: `matched` or `random`, for the unit of that rank in `e2_units`."""

SCORES = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("against", pa.string()),
        ("units", pa.int32()),
        *(
            (f"{metric}_{figure}", pa.float64())
            for metric in ("bert", "clip")
            for figure in ("max", "mean", "median", *(f"best_{k}" for k in BEST_OF))
        ),
        ("best_unit", pa.string()),
        ("best_text", pa.string()),
    ]
)
"""A row per view, ranking and whose texts: `own`, `shuffled` (the units of another photo),
`matched`, `random`; and the model's caption, in the ranking `caption` without a view. The best
unit is that of the largest BERTScore (of the largest CLIPScore where there are no captions)."""


@dataclass(frozen=True)
class Listed:
    """A unit in a list: what a row of a table is made of, before it is decoded."""

    unit: Unit
    sign: int
    row: dict[str, Any]


def listed_rows(subject: Subject, view: View, ranking: str, units: list[Unit]) -> list[Listed]:
    """Return the rows of a ranking's units, best first, each with its scores."""
    if not units:
        return []
    scores = subject.scores(view, without_sinks=UNIT_SETS[ranking].without_sinks)
    reference = subject.facts.reference
    at = ([u.layer for u in units], [u.unit for u in units])
    score = scores.score[0].cpu()
    sign = scores.sign[0].cpu()
    columns = {
        "score": score[at],
        "total": scores.total[0].cpu()[at],
        "specific": reference.specific(score, view)[at],
        "sink": reference.sinks(view)[at],
        "interpretable": reference.interpretable_as(sign)[at],
        "peak_patch": scores.peak_patch[0].cpu()[at],
        "sign": sign[at],
    }
    values = {name: column.tolist() for name, column in columns.items()}
    listed = []
    for rank, unit in enumerate(units):
        row = {name: column[rank] for name, column in values.items()}
        if row["specific"] == -np.inf:
            row["specific"] = None
        if view == "last":
            row["peak_patch"] = None
        place = {"view": view, "ranking": ranking, "rank": rank}
        listed.append(
            Listed(unit, row["sign"] or 1, {**place, "layer": unit.layer, "unit": unit.unit, **row})
        )
    return listed


def control_units(
    subject: Subject, view: View, ranking: str, control: str, drawn: Sequence[Unit | None]
) -> list[Listed]:
    """Return the rows of the units drawn to compare a ranking with; None has no row."""
    found = [(rank, unit) for rank, unit in enumerate(drawn) if unit is not None]
    signs = subject.signs(view, [unit for _, unit in found])
    return [
        Listed(
            unit,
            sign or 1,
            {
                "view": view,
                "ranking": ranking,
                "control": control,
                "rank": rank,
                "layer": unit.layer,
                "unit": unit.unit,
                "sign": sign,
            },
        )
        for (rank, unit), sign in zip(found, signs, strict=True)
    ]


def summed(rows: Sequence[dict[str, Any]], scores: TextScores) -> dict[str, Any]:
    """Return one list's columns of `SCORES`: what is made of the scores of its texts."""
    found: dict[str, Any] = {"units": len(rows)}
    each = [scores.of(row["text"]) for row in rows]
    best: int | None = None
    for metric in ("bert", "clip"):
        known = [one[metric] for one in each if one[metric] is not None]
        if not known:
            continue
        values = np.array(known)
        found[f"{metric}_max"] = float(values.max())
        found[f"{metric}_mean"] = float(values.mean())
        found[f"{metric}_median"] = float(np.median(values))
        for k in BEST_OF:
            if k <= len(values):
                found[f"{metric}_best_{k}"] = best_of_k_expectation(values, k)
        if best is None:
            best = int(values.argmax())
    if best is not None:
        row = rows[best]
        found["best_text"] = row["text"]
        if row["layer"] is not None:
            sign = "-" if row["sign"] < 0 else ""
            found["best_unit"] = f"{Unit(row['layer'], row['unit'])}{sign}"
    return found


def places_through_lens(
    subject: Subject, listed: Sequence[Listed]
) -> Callable[[Listed], tuple[float | None, float | None]]:
    """Return what gives a listed unit's `lens_target_place` and `lens_others_place`.

    A Jacobian lens was measured at patches: in the last view there is nothing to read through it.
    """
    lens = subject.captioner.lens
    if not isinstance(lens, JacobianLens):
        return lambda _: (None, None)
    signed = sorted(
        {
            (one.unit, one.sign)
            for one in listed
            if one.row["view"] == "patches" and lens.reads(one.unit.layer)
        }
    )
    token = subject.target.token_id
    read = read_units(
        subject.model, signed, token, subject.captioner.decoding, subject.other_nouns, lens
    )
    found = {pair: (place, others) for pair, (_, place, others) in zip(signed, read, strict=True)}

    def places(one: Listed) -> tuple[float | None, float | None]:
        known = one.row["view"] == "patches"
        return found.get((one.unit, one.sign), (None, None)) if known else (None, None)

    return places
