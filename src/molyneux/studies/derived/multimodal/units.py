"""What is a multimodal neuron? One row per unit, and how many units are left at each condition.

A unit counts as multimodal if, for one and the same photo and the word its caption says first, it
is in the photo's top units, writes words, is specific to the photo, takes more from that word by
itself than other photos' units do, and is selective for what the word names on photos it was not
found on.
Conditions that were not tested are kept apart: they are neither met nor failed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from molyneux.studies.derived.multimodal.together import CONDITIONS, DRAWS, FAILED, MET, Pairs
from molyneux.studies.finished import Columns, Finished
from molyneux.studies.results import Cell, Number, ResultTable

VIEW = "patches"
OTHERS = "other_specific"
PERCENTILE = 95

SCHEMA = pa.schema(
    [
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("n_top", pa.int32()),
        ("n_specific", pa.int32()),
        ("specific", pa.float64()),
        ("sign", pa.int32()),
        ("tokens", pa.string()),
        ("sink", pa.bool_()),
        ("interpretable", pa.bool_()),
        ("selective", pa.bool_()),
        ("n_classes", pa.int32()),
        ("effect", pa.float64()),
        ("n_effect", pa.int32()),
        ("above_other", pa.bool_()),
        ("apart", pa.bool_()),
        ("n_multimodal", pa.int32()),
        ("multimodal", pa.bool_()),
    ]
)
"""`n_top`, `n_specific`: photos with the unit among the listed top or specific ones of the patch
view; `specific`: its mean specific score where it is listed there; `sign`: the direction it
writes in most often; `tokens`: what it writes; `selective`, `n_classes`: on confirmation photos;
`effect`: the mean logit that the word loses without it, over `n_effect` photos; `above_other`:
whether that exceeds the 95th percentile of other photos' units; `apart`: whether each condition is
met somewhere, be it on different photos; `n_multimodal`: photos for which all are met at once;
`multimodal`: whether there is one. Null: not tested."""

TITLES = {
    "top": "in the top units of a photo",
    "interpretable": "and 7 of its 10 tokens are words",
    "specific": "and specific to that photo",
    "above_other": "and its effect on that photo's word exceeds other photos' units'",
    "selective": "and selective, on held-out photos, for the class which that word names",
}
SAME, JOINED, SWAPPED, APART = (
    "left",
    "conditions of different photos joined",
    "conditions of like units swapped",
    "each met on any photo",
)


def unit_conditions(study: Finished) -> tuple[pa.Table, Pairs]:
    """Return a row per unit that is listed for a photo or tested (see `SCHEMA`), and its pairs.

    The threshold of `above_other` (logits) and the effects behind it are in the metadata.
    """
    d_mlp = study.model.d_mlp
    listed = _table(study, "e2_units", ("photo", "layer", "unit", "sign"))
    tested = _found(_table(study, "e5_units", ("layer", "unit", "role", "sign")))
    silenced = _table(study, "e6_units", ("photo", "layer", "unit", "effect"))

    def numbers(columns: Columns) -> Int[np.ndarray, " rows"]:
        found: Int[np.ndarray, " rows"] = (
            columns["layer"].astype(np.int64) * d_mlp + columns["unit"]
        )
        return found

    ids = [numbers(columns) for columns in (listed, tested, silenced)]
    units = np.unique(np.concatenate(ids))
    n = len(units)
    in_listed, in_tested, in_silenced = (np.searchsorted(units, found) for found in ids)

    def photos_with(ranking: str) -> np.ndarray:
        rows = (listed["view"] == VIEW) & (listed["ranking"] == ranking)
        pairs = np.unique(np.stack([in_listed[rows], listed["photo"][rows]]), axis=1)
        return np.bincount(pairs[0].astype(int), minlength=n)

    n_top, n_specific = photos_with("top"), photos_with("specific")
    sign = _majority_sign(in_listed, listed["sign"], n)
    layer, unit = units // d_mlp, units % d_mlp
    interpretable = study.model.interpretable[(sign > 0).astype(int), layer, unit]
    effect, n_effect, threshold, n_other = _effects(silenced, in_silenced, n)
    selective, n_classes = _selective(tested, in_tested, n)
    above = [
        bool(value > threshold) if count and n_other else None
        for value, count in zip(effect, n_effect, strict=True)
    ]
    met: dict[str, list[bool | None]] = {
        "top": [bool(count) for count in n_top],
        "interpretable": [bool(word) for word in interpretable],
        "specific": [bool(count) for count in n_specific],
        "selective": selective,
        "above_other": above,
    }
    pairs = Pairs.of(
        study,
        _rows(listed, listed["view"] == VIEW),
        tested,
        _rows(silenced, silenced["ranking"] != OTHERS),
        threshold,
    )
    n_multimodal, multimodal = _together(pairs, units)
    columns = {
        "layer": layer,
        "unit": unit,
        "n_top": n_top,
        "n_specific": n_specific,
        "specific": _mean_specific(listed, in_listed, n),
        "sign": sign,
        "tokens": _tokens(listed, in_listed, sign),
        "sink": study.model.sinks[VIEW][layer, unit],
        "interpretable": interpretable,
        "selective": selective,
        "n_classes": n_classes,
        "effect": [float(v) if c else None for v, c in zip(effect, n_effect, strict=True)],
        "n_effect": n_effect,
        "above_other": above,
        "apart": [all_met(row) for row in zip(*met.values(), strict=True)],
        "n_multimodal": n_multimodal,
        "multimodal": multimodal,
    }
    arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
    metadata = {"threshold": "" if not n_other else repr(threshold), "n_other": str(n_other)}
    return pa.table(arrays, schema=SCHEMA.with_metadata(metadata)), pairs


def all_met(conditions: tuple[bool | None, ...]) -> bool | None:
    """Return whether all are met: False if one is failed, else None if one was not tested."""
    if False in conditions:
        return False
    return None if None in conditions else True


def _together(pairs: Pairs, units: np.ndarray) -> tuple[np.ndarray, list[bool | None]]:
    """Return for how many photos each unit meets all at once, and whether for any."""
    answers = np.stack([pairs.ask(c, pairs.photo, pairs.unit, pairs.sign) for c in CONDITIONS])
    whole, failed = (answers == MET).all(axis=0), (answers == FAILED).any(axis=0)
    at = np.searchsorted(units, pairs.unit)
    count = np.bincount(at[whole], minlength=len(units))
    unsure = np.bincount(at[~whole & ~failed], minlength=len(units))
    return count, [
        True if met else (None if maybe else False)
        for met, maybe in zip(count, unsure, strict=True)
    ]


def funnel(
    units: pa.Table, pairs: Pairs, *, seed: int = 0, words_by_chance: float | None = None
) -> ResultTable:
    """Return how many units meet one condition after another, for one and the same photo.

    At each step, of the units that met all before for some photo: `left` meet this one too for
    that photo, `failed` do not, `untested` are known to be neither and go no further. Beside
    `left` stand the same counts where the conditions do not belong together, and how many units
    meet each condition on some photo or other.

    Args:
        seed: of the photos that are joined.
        words_by_chance: how often ten random tokens hold 7 words, where that is known.
    """
    columns = {name: units[name].to_pylist() for name in SCHEMA.names}
    sinks = _numbers(units, pairs, np.array(columns["sink"], dtype=bool))
    apart = _apart(columns)
    joined, swapped = np.array(pairs.joined(seed)), pairs.swapped()
    n_photos = len(np.unique(pairs.photo))
    alone = len({pairs.nouns[photo] for photo in pairs.photo.tolist()}) < 2
    before = _numbers(units, pairs, np.ones(units.num_rows, dtype=bool))
    rows: list[dict[str, Cell]] = [
        {
            "condition": "listed for a photo, or tested",
            SAME: len(before),
            APART: len(before),
            "of these sinks": len(sinks),
        }
    ]
    for k, (name, (left, unknown)) in enumerate(zip(CONDITIONS, pairs.own(), strict=True)):
        now = set(pairs.unit[left].tolist())
        gone = before - now
        untested = gone & set(pairs.unit[unknown].tolist())
        draws = joined[:, k]
        low, high = np.quantile(draws, [0.025, 0.975])
        rows.append(
            {
                "condition": TITLES[name],
                SAME: len(now),
                JOINED: Number.missing("no two photos have different words")
                if alone
                else Number(float(draws.mean()), float(low), float(high), n_photos),
                SWAPPED: swapped[k],
                APART: apart[k],
                "of these sinks": len(now & sinks),
                "failed": len(gone) - len(untested),
                "untested": len(untested),
            }
        )
        before = now
    open_ones = sum(value is None for value in columns["multimodal"])
    metadata = {k.decode(): v.decode() for k, v in (units.schema.metadata or {}).items()}
    threshold = metadata.get("threshold")
    return ResultTable(
        "U.funnel",
        "Multimodal units: how many are left at each condition, for one photo and its word",
        ("condition", SAME, JOINED, SWAPPED, APART, "of these sinks", "failed", "untested"),
        tuple(rows),
        (
            f"{sum(v is True for v in columns['multimodal'])} units meet all five conditions for "
            f"one and the same photo and word. {open_ones} more fail none for some photo, but one "
            "or more of the conditions were not tested there: they may or may not be multimodal. "
            f"{sum(v is True for v in columns['apart'])} meet each condition somewhere, be it on "
            "different photos: that is no multimodal unit.",
            f"`{JOINED}`: the same count where specific, effect and selective are asked of three "
            f"other photos whose word is another; mean and 95 % of {DRAWS} orders of the photos. "
            f"`{SWAPPED}`: the same count where each condition is asked of another unit listed for "
            "the photo in the layer, the nearest in the norm of its output row, the next nearest "
            "for the next condition. What is not below both is met by chance.",
            "`untested` units met the conditions before for a photo, and go no further. "
            "Selectivity is tested on the units chosen in E5 and asked of the class that the "
            "photo's word names, untested where it names none; effects are tested on the first "
            "ten units of each photo's rankings.",
            f"Effects are compared with the {PERCENTILE}th percentile of "
            f"{metadata.get('n_other', 0)} effects of other photos' specific units: "
            + (f"{float(threshold):.4f} logits." if threshold else "none was measured."),
            "Top and specific: patch view. Words: in the direction written for that photo; of "
            f"`{APART}`, the direction written most often, and any class."
            + (
                f" Ten random tokens hold 7 words in {words_by_chance:.0%} of draws."
                if words_by_chance is not None
                else ""
            ),
        ),
    )


def _numbers(units: pa.Table, pairs: Pairs, chosen: np.ndarray) -> set[int]:
    """Return some units of the table by their number through the layers."""
    layer, unit = (units[name].to_numpy().astype(np.int64) for name in ("layer", "unit"))
    return set((layer * pairs.d_mlp + unit)[chosen].tolist())


def _apart(columns: dict[str, list[Any]]) -> list[int]:
    """Return how many units are left at each condition, where each is met on any photo."""
    met = columns | {
        "top": [count > 0 for count in columns["n_top"]],
        "specific": [count > 0 for count in columns["n_specific"]],
    }
    left = np.ones(len(columns["unit"]), dtype=bool)
    counts = []
    for name in CONDITIONS:
        left = left & np.array([value is True for value in met[name]], dtype=bool)
        counts.append(int(left.sum()))
    return counts


def _table(study: Finished, name: str, needed: tuple[str, ...]) -> Columns:
    """Return a table's columns; those needed, empty, where the study did not measure it."""
    if study.has(name):
        return study.table(name)
    empty: Columns = {column: np.zeros(0, dtype=int) for column in needed}
    return empty | {"view": np.zeros(0, dtype=object), "ranking": np.zeros(0, dtype=object)}


def _found(tested: Columns) -> Columns:
    """Return the rows of units found in the patch view: not those that stand in as controls."""
    return _rows(tested, (tested["view"] == VIEW) & (tested["role"] == "found"))


def _rows(columns: Columns, chosen: np.ndarray) -> Columns:
    return {name: column[chosen] for name, column in columns.items()}


def _majority_sign(place: np.ndarray, sign: np.ndarray, n: int) -> Int[np.ndarray, " units"]:
    """Return the direction of most rows, 1 where they are even or there is none."""
    total = np.bincount(place, weights=np.sign(sign), minlength=n)
    return np.where(total < 0, -1, 1)


def _mean_specific(listed: Columns, place: np.ndarray, n: int) -> list[float | None]:
    if "specific" not in listed:
        return [None] * n
    values = np.asarray(listed["specific"], dtype=float)
    rows = (listed["view"] == VIEW) & (listed["ranking"] == "specific") & ~np.isnan(values)
    total = np.bincount(place[rows], weights=values[rows], minlength=n)
    count = np.bincount(place[rows], minlength=n)
    return [float(t / c) if c else None for t, c in zip(total, count, strict=True)]


def _tokens(listed: Columns, place: np.ndarray, sign: np.ndarray) -> list[str | None]:
    """Return what each unit writes in its direction, where that was decoded."""
    found: list[str | None] = [None] * len(sign)
    if "text" not in listed:
        return found
    direction = np.where(listed["sign"] < 0, -1, 1)
    for row, (at, way) in enumerate(zip(place.tolist(), direction.tolist(), strict=True)):
        if found[at] is None and way == sign[at]:
            found[at] = listed["text"][row]
    return found


def _selective(
    tested: Columns, place: np.ndarray, n: int
) -> tuple[list[bool | None], list[int | None]]:
    """Return whether each unit is selective in any list or direction, and for how many classes."""
    selective: list[bool | None] = [None] * n
    classes: list[int | None] = [None] * n
    for row, at in enumerate(place.tolist()):
        value, count = tested["selective"][row], tested["n_classes"][row]
        if value is not None:
            selective[at] = bool(value) or bool(selective[at])
        if count is not None and not np.isnan(float(count)):
            classes[at] = max(int(count), classes[at] or 0)
    return selective, classes


def _effects(
    silenced: Columns, place: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Return mean effect and photos of each unit on its own photos, the threshold that other
    photos' units give, and how many of these there are. A unit counts once a photo."""
    others = silenced["ranking"] == OTHERS
    pairs = np.stack([place[~others], silenced["photo"][~others].astype(int)])
    _, first = np.unique(pairs, axis=1, return_index=True)
    at = place[~others][first]
    count = np.bincount(at, minlength=n)
    total = np.bincount(at, weights=silenced["effect"][~others][first], minlength=n)
    mean = np.divide(total, count, out=np.zeros(n), where=count > 0)
    control = silenced["effect"][others]
    threshold = float(np.percentile(control, PERCENTILE)) if len(control) else np.nan
    return mean, count, threshold, len(control)
