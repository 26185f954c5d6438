"""E9's tables: each measure of the frozen units, beside every control, over concepts and photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from molyneux.statistics.crossed import crossed_difference, crossed_mean
from molyneux.studies.e8_concepts.photos import LEAST
from molyneux.studies.e9_transfer import NAME
from molyneux.studies.e9_transfer.claims import ABOVE, MEASURES, SETS
from molyneux.studies.results import (
    DRAWS,
    FEW,
    Cell,
    Number,
    Result,
    ResultTable,
    difference,
    over_photos,
)
from molyneux.words.kinds import are_related

CHANCE = "chance"
CONTROLS = ("other", "matched", "fake", "direction", "absent", "centre")
"""Those of every measure, in order; a measure without one of them leaves it out."""
NOTHING = "no photo has one"
NO_MASK = "no photo of these concepts has a mask"
NO_LENS = "the model has no lens, or no concept's word is one token"

Cells = Float[np.ndarray, "concepts photos"]


@dataclass(frozen=True)
class Measured:
    """One measure of one set.

    Attributes:
        roles: of each role, its value in every cell that has one; NaN in others.
        chance: what a measure is without any signal; None where it differs from photo to photo
            and is a role.
    """

    roles: Mapping[str, Cells]
    chance: float | None

    @property
    def own(self) -> Cells:
        """That of the frozen units themselves."""
        return self.roles["own"]

    def controls(self) -> dict[str, Cells]:
        """Return each control, and chance."""
        found = {role: self.roles[role] for role in (*CONTROLS, CHANCE) if role in self.roles}
        if self.chance is not None:
            found[CHANCE] = np.where(np.isnan(self.own), np.nan, self.chance)
        return found


@dataclass(frozen=True)
class Photos:
    """Which photos show which concepts.

    Attributes:
        named: of what they are photos.
        without: in which nothing says that the concept, or what is related to it, is.
    """

    concepts: tuple[str, ...]
    named: Bool[np.ndarray, "concepts photos"]
    without: Bool[np.ndarray, "concepts photos"]

    @classmethod
    def of(cls, rows: pa.Table, concepts: Sequence[str]) -> Photos:
        """Return them from the table `e9_photos`."""
        said = rows.to_pylist()
        related = {c: {d for d in _all(said) if are_related(c, d)} for c in concepts}
        named = [[c in row["named"] for row in said] for c in concepts]
        without = [[related[c].isdisjoint(row["mentioned"]) for row in said] for c in concepts]
        return cls(tuple(concepts), np.array(named), np.array(without))


def _all(said: Sequence[Mapping[str, Any]]) -> set[str]:
    return {concept for row in said for concept in row["mentioned"]}


def summarise(
    title: str,
    tables: Mapping[str, pa.Table],
    counts: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
) -> Result:
    """Return what was measured, over concepts and photos."""
    concepts = [row["concept"] for row in counts if row["measured"]]
    photos = Photos.of(tables["e9_photos"], concepts)
    found = {
        (measure, name): _MAKERS[measure](tables, photos, name)
        for measure in MEASURES
        for name in SETS
    }
    return Result(
        NAME,
        title,
        (
            _transfer_table(found, photos),
            _scaled_table(tables, photos),
            _control_table(found),
            _word_table(tables["e9_photos"], photos),
            _concept_table(found, photos),
            _left_out_table(counts),
        ),
        notes=_notes(manifest, photos),
    )


def _transfer_table(found: Mapping[tuple[str, str], Measured], photos: Photos) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for (measure, name), one in found.items():
        row: dict[str, Cell] = {"measure": measure, "set": name, "own": number(one.own, measure)}
        controls = one.controls()
        beside = {role: number(cells, measure) for role, cells in controls.items()}
        if one.chance is not None:
            beside[CHANCE] = Number(one.chance)
        row |= beside
        known = {r: n.value for r, n in beside.items() if n.value is not None}
        if known:
            strongest = max(known, key=lambda role: known[role])
            row["strongest control"] = beside[strongest]
            row["own is"] = said(one)
        rows.append(row)
    return ResultTable(
        f"{NAME}.transfer",
        "Frozen units on photos of another source, and every control",
        ("measure", "set", "own", *CONTROLS, CHANCE, "strongest control", "own is"),
        tuple(rows),
        (
            "activation: the area under the ROC curve of the mean over units of activation x sign "
            "at the patches, a concept's photos against all that nothing says it is in. ablation: "
            'nats that the concept\'s word loses after "A picture of a" with the units at zero at '
            "the patches. transplant: nats that it gains behind another photo with this photo's "
            "values of the units. reading: the word's percentile among everyday nouns in what the "
            "units write, through the Jacobian lens, minus its mean over the other photos. field: "
            "IoU of the units' mean field, above its 95th percentile, with the concept's mask.",
            "other: another concept's units at the same photos. matched: units of the same layers "
            "and as strong on the concept's photos there that were not found, with the signs they "
            "had there. fake: of activation and field, the same units with signs drawn at random; "
            "of ablation, transplant and reading, the same changes, written by the rows of the "
            "matched units in the place of their own. "
            "direction: random directions of the same norms. absent: another concept's word, which "
            "neither photo shows, by its own units. centre: a map that always looks there. chance: "
            "what there is without any signal; of field, what a map in random order scores.",
            "own is above every control where the 95 % interval of the difference from each lies "
            f"above 0, chance included; open below {FEW} photos.",
            _INTERVALS,
        ),
    )


_INTERVALS = (
    "Intervals: crossed bootstrap over concepts and photos, each concept's mean over its photos "
    "weighing the same; n counts photos. Units, and the other photos, are given."
)


def said(one: Measured) -> str | None:
    """Return whether the frozen units are above every control, or which they are not above."""
    if _count(one.own) < FEW:
        return None
    below = []
    for role, cells in one.controls().items():
        apart = minus(one.own, cells)
        if apart.low is None or apart.low <= 0:
            below.append(role)
    return f"not above {', '.join(below)}" if below else ABOVE


def _control_table(found: Mapping[tuple[str, str], Measured]) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for (measure, name), one in found.items():
        for role, cells in one.controls().items():
            start: dict[str, Cell] = {"measure": measure, "set": name, "control": role}
            rows.append(start | {"own - control": minus(one.own, cells, _why(measure))})
    return ResultTable(
        f"{NAME}.controls",
        "How far frozen units are above each control",
        ("measure", "set", "control", "own - control"),
        tuple(rows),
        ("Each control is a column of E9.transfer.", _INTERVALS),
    )


def _scaled_table(tables: Mapping[str, pa.Table], photos: Photos) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for name in SETS:
        one = _activation(tables, photos, name, column="z")
        row: dict[str, Cell] = {"set": name, "own": number(one.own, "activation")}
        row |= {r: number(c, "activation") for r, c in one.controls().items() if r != CHANCE}
        row[CHANCE] = Number(one.chance)
        rows.append(row | {"own is": said(one)})
    return ResultTable(
        f"{NAME}.activation_scaled",
        "The same AUC with each unit in deviations from reference photos",
        ("set", "own", "other", "matched", "fake", CHANCE, "own is"),
        tuple(rows),
        ("So that few units of large activations do not decide alone.", _INTERVALS),
    )


def _word_table(rows: pa.Table, photos: Photos) -> ResultTable:
    behind, receiver = (_cells(rows, photos, column) for column in ("behind", "behind_receiver"))
    row: dict[str, Cell] = {
        "concepts": len(photos.concepts),
        "behind its photos": number(behind, "ablation"),
        "behind the receivers": number(receiver, "ablation"),
        "difference": minus(behind, receiver),
    }
    return ResultTable(
        f"{NAME}.word",
        "What there is to carry: the concept's word's log-probability, in nats",
        ("concepts", "behind its photos", "behind the receivers", "difference"),
        (row,),
        ('After "A picture of a", nothing edited.', _INTERVALS),
    )


def _concept_table(found: Mapping[tuple[str, str], Measured], photos: Photos) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for (measure, name), one in found.items():
        for place, concept in enumerate(photos.concepts):
            own = one.own[place]
            if np.isnan(own).all():
                continue
            row: dict[str, Cell] = {"measure": measure, "set": name, "concept": concept}
            row["own"] = over_photos(own)
            for role in ("other", "matched"):
                if role in one.roles:
                    row[f"own - {role}"] = difference(own, one.roles[role][place])
            rows.append(row)
    return ResultTable(
        f"{NAME}.concepts",
        "The same, concept by concept",
        ("measure", "set", "concept", "own", "own - other", "own - matched"),
        tuple(rows),
        ("Intervals: bootstrap over the concept's photos alone.",),
    )


def _left_out_table(counts: Sequence[Mapping[str, Any]]) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for row in counts:
        few = [side for side, n in (("there", row["found_on"]), ("here", row["here"])) if n < LEAST]
        rows.append(
            {
                "concept": row["concept"],
                "photos units were found on": row["found_on"],
                "photos here": row["here"],
                "measured": row["measured"],
                "left out": f"fewer than {LEAST} photos {' and '.join(few)}" if few else None,
            }
        )
    return ResultTable(
        f"{NAME}.left_out",
        "Concepts that are measured, and those that are not",
        ("concept", "photos units were found on", "photos here", "measured", "left out"),
        tuple(rows),
        (f"{LEAST} photos on each side are needed.",),
    )


def _notes(manifest: Mapping[str, Any], photos: Photos) -> tuple[str, ...]:
    folder, _ = manifest["settings"]["found"]
    return (
        f"{len(photos.concepts)} concepts, {int(photos.named.any(axis=0).sum())} photos; units, "
        f"signs and words as the run {folder} found them, before any photo here was seen.",
    )


def _count(cells: Cells) -> int:
    return int((~np.isnan(cells)).any(axis=0).sum())


def _why(measure: str) -> str:
    return {"field": NO_MASK, "reading": NO_LENS}.get(measure, NOTHING)


def number(cells: Cells, measure: str) -> Number:
    """Return the mean over concepts of the means over their photos; n counts photos."""
    if not _count(cells):
        return Number.missing(_why(measure))
    found = crossed_mean(cells, draws=DRAWS)
    return Number(found.value, found.low, found.high, _count(cells))


def minus(own: Cells, control: Cells, why: str = NOTHING) -> Number:
    """Return own - control, over the cells that both have."""
    both = ~np.isnan(own) & ~np.isnan(control)
    if not both.any():
        return Number.missing(why)
    one, other = (np.where(both, cells, np.nan) for cells in (own, control))
    found = crossed_difference(one, other, draws=DRAWS)
    return Number(found.value, found.low, found.high, _count(one))


# --- the cells of each measure ----------------------------------------------------------------


def _cells(
    rows: pa.Table, photos: Photos, column: str, keep: Bool[np.ndarray, " rows"] | None = None
) -> Cells:
    """Return a table's column by concept and photo."""
    found = np.full(photos.named.shape, np.nan)
    place = {concept: k for k, concept in enumerate(photos.concepts)}
    concepts = rows["concept"].to_pylist()
    numbers = rows["photo"].to_numpy(zero_copy_only=False)
    values = rows[column].to_numpy(zero_copy_only=False)
    for row in range(len(concepts)) if keep is None else np.flatnonzero(keep):
        if concepts[row] in place:
            found[place[concepts[row]], numbers[row]] = values[row]
    return found


def _by_role(
    rows: pa.Table, photos: Photos, column: str, name: str, **more: str
) -> dict[str, Cells]:
    """Return a set's cells of each role there is."""
    kept = np.asarray(rows["set"].to_pylist(), dtype=object) == name
    for key, value in more.items():
        kept &= np.asarray(rows[key].to_pylist(), dtype=object) == value
    roles = np.asarray(rows["role"].to_pylist(), dtype=object)
    return {
        role: _cells(rows, photos, column, kept & (roles == role))
        for role in ("own", *CONTROLS, CHANCE)
        if (kept & (roles == role)).any()
    } or {"own": np.full(photos.named.shape, np.nan)}


def _activation(
    tables: Mapping[str, pa.Table], photos: Photos, name: str, column: str = "mean"
) -> Measured:
    values = _by_role(tables["e9_activation"], photos, column, name)
    roles = {role: placements(cells, photos) for role, cells in values.items()}
    # Another concept's units, at this concept's photos: the mean over those other concepts.
    others = []
    for k, concept in enumerate(photos.concepts):
        each = [
            _placed(values["own"][j], photos.named[k], photos.without[k])
            for j, other in enumerate(photos.concepts)
            if not are_related(concept, other)
        ]
        others.append(np.mean(each, axis=0) if each else np.full(photos.named.shape[1], np.nan))
    roles["other"] = np.stack(others)
    return Measured(roles, 0.5)


def placements(values: Cells, photos: Photos) -> Cells:
    """Return the share of the photos without a concept that each photo of it is above.

    Of equal ones half. The mean over the concept's photos is the area under the ROC curve
    (Hanley and McNeil 1982; the placements of DeLong et al. 1988).
    """
    rows = zip(values, photos.named, photos.without, strict=True)
    return np.stack([_placed(*row) for row in rows])


def _placed(
    values: Float[np.ndarray, " photos"],
    named: Bool[np.ndarray, " photos"],
    without: Bool[np.ndarray, " photos"],
) -> Float[np.ndarray, " photos"]:
    found = np.full(len(values), np.nan)
    others = values[without & ~np.isnan(values)]
    own = named & ~np.isnan(values)
    if len(others):
        above = (values[own, None] > others).mean(axis=1)
        found[own] = above + (values[own, None] == others).mean(axis=1) / 2
    return found


def _reading(tables: Mapping[str, pa.Table], photos: Photos, name: str) -> Measured:
    values = _by_role(tables["e9_reading"], photos, "percentile", name)
    roles = {}
    for role, cells in values.items():
        without = np.where(photos.without, cells, np.nan)
        known = (~np.isnan(without)).sum(axis=1, keepdims=True)
        total = np.where(np.isnan(without), 0.0, without).sum(axis=1, keepdims=True)
        mean = np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
        roles[role] = np.where(photos.named, cells - mean, np.nan)
    return Measured(roles, 0.0)


def _effect(kind: str) -> Any:
    def made(tables: Mapping[str, pa.Table], photos: Photos, name: str) -> Measured:
        return Measured(_by_role(tables["e9_effects"], photos, "nats", name, kind=kind), 0.0)

    return made


def _field(tables: Mapping[str, pa.Table], photos: Photos, name: str) -> Measured:
    return Measured(_by_role(tables["e9_fields"], photos, "iou", name), None)


_MAKERS = {
    "activation": _activation,
    "ablation": _effect("ablation"),
    "transplant": _effect("transplant"),
    "reading": _reading,
    "field": _field,
}
