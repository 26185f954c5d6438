"""What is a multimodal neuron? One row per unit, and how many units are left at each condition.

A unit counts as multimodal if it is in the top units of a photo, writes words, is specific to a
photo, is selective on photos it was not found on, and takes more from the word by itself than
other photos' units do. Conditions that were not tested on a unit are kept apart: they are neither
met nor failed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from molyneux.studies.finished import Columns, Finished
from molyneux.studies.results import Cell, ResultTable

VIEW = "patches"
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
        ("multimodal", pa.bool_()),
    ]
)
"""`n_top`, `n_specific`: photos with the unit among the listed top or specific ones of the patch
view; `specific`: its mean specific score where it is listed there; `sign`: the direction it
writes in most often; `tokens`: what it writes; `selective`, `n_classes`: on confirmation photos;
`effect`: the mean logit that the word loses without it, over `n_effect` photos; `above_other`:
whether that exceeds the 95th percentile of other photos' units. Null: not tested."""

CONDITIONS = ("top", "interpretable", "specific", "selective", "above_other")
TITLES = {
    "top": "in the top units of a photo",
    "interpretable": "and writes words",
    "specific": "and specific to a photo",
    "selective": "and selective on held-out photos",
    "above_other": "and its effect exceeds other photos' units'",
}


def unit_conditions(study: Finished) -> pa.Table:
    """Return a row per unit that is listed for a photo or tested: see `SCHEMA`.

    The threshold of `above_other` (logits) and the effects behind it are in the metadata.
    """
    d_mlp = study.model.d_mlp
    listed = _table(study, "e2_units", ("photo", "layer", "unit", "sign"))
    tested = _found(_table(study, "e5_units", ("layer", "unit", "role")))
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
        "multimodal": [all_met(row) for row in zip(*met.values(), strict=True)],
    }
    arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
    metadata = {"threshold": "" if not n_other else repr(threshold), "n_other": str(n_other)}
    return pa.table(arrays, schema=SCHEMA.with_metadata(metadata))


def all_met(conditions: tuple[bool | None, ...]) -> bool | None:
    """Return whether all are met: False if one is failed, else None if one was not tested."""
    if False in conditions:
        return False
    return None if None in conditions else True


def funnel(units: pa.Table) -> ResultTable:
    """Return how many units meet one condition after another.

    At each step, of the units that met all before: `left` meet this one too, `failed` do not,
    `untested` are known to be neither and go no further.
    """
    columns = {name: units[name].to_pylist() for name in SCHEMA.names}
    met: dict[str, list[bool | None]] = {
        "top": [count > 0 for count in columns["n_top"]],
        "specific": [count > 0 for count in columns["n_specific"]],
        **{name: columns[name] for name in ("interpretable", "selective", "above_other")},
    }
    sink = np.array(columns["sink"], dtype=bool)
    left = np.ones(units.num_rows, dtype=bool)

    def row(step: str, failed: int, untested: int) -> dict[str, Cell]:
        return {
            "condition": step,
            "left": int(left.sum()),
            "of these sinks": int((left & sink).sum()),
            "failed": failed,
            "untested": untested,
        }

    rows = [row("listed for a photo, or tested", 0, 0)]
    for name in CONDITIONS:
        yes = np.array([value is True for value in met[name]], dtype=bool)
        no = np.array([value is False for value in met[name]], dtype=bool)
        failed, untested = int((left & no).sum()), int((left & ~yes & ~no).sum())
        left &= yes
        rows.append(row(TITLES[name], failed, untested))
    open_ones = sum(value is None for value in columns["multimodal"])
    metadata = {k.decode(): v.decode() for k, v in (units.schema.metadata or {}).items()}
    threshold = metadata.get("threshold")
    return ResultTable(
        "U.funnel",
        "Multimodal units: how many are left at each condition",
        ("condition", "left", "of these sinks", "failed", "untested"),
        tuple(rows),
        (
            f"{sum(v is True for v in columns['multimodal'])} units meet all five conditions. "
            f"{open_ones} more fail none, but one or more of the conditions were not tested on "
            "them: they may or may not be multimodal.",
            "`untested` units met the conditions before and go no further. Selectivity is tested "
            "on the units chosen in E5, effects on the first ten units of each photo's rankings.",
            f"Effects are compared with the {PERCENTILE}th percentile of "
            f"{metadata.get('n_other', 0)} effects of other photos' specific units: "
            + (f"{float(threshold):.4f} logits." if threshold else "none was measured."),
            "Top and specific: patch view. Interpretable: in the direction written most often.",
        ),
    )


def _table(study: Finished, name: str, needed: tuple[str, ...]) -> Columns:
    """Return a table's columns; those needed, empty, where the study did not measure it."""
    if study.has(name):
        return study.table(name)
    empty: Columns = {column: np.zeros(0, dtype=int) for column in needed}
    return empty | {"view": np.zeros(0, dtype=object), "ranking": np.zeros(0, dtype=object)}


def _found(tested: Columns) -> Columns:
    """Return the rows of units found in the patch view: not those that stand in as controls."""
    rows = (tested["view"] == VIEW) & (tested["role"] == "found")
    return {name: column[rows] for name, column in tested.items()}


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
    others = silenced["ranking"] == "other_specific"
    pairs = np.stack([place[~others], silenced["photo"][~others].astype(int)])
    _, first = np.unique(pairs, axis=1, return_index=True)
    at = place[~others][first]
    count = np.bincount(at, minlength=n)
    total = np.bincount(at, weights=silenced["effect"][~others][first], minlength=n)
    mean = np.divide(total, count, out=np.zeros(n), where=count > 0)
    control = silenced["effect"][others]
    threshold = float(np.percentile(control, PERCENTILE)) if len(control) else np.nan
    return mean, count, threshold, len(control)
