"""What a comparison concludes: a row for each scorer, ranking and truth, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molyneux.studies.compare.agreement import agreement_rows, area_rows, recall_rows
from molyneux.studies.compare.design import EVERY, UNIFORM, WORD, ZERO
from molyneux.studies.compare.gathered import MeasuredPhoto
from molyneux.studies.results import Cell, Number, Result, ResultTable, over_photos, ratio

NAME, TITLE = "scorers", "Scorers beside exact effects"
Key = tuple[str, ...]
_PER = ("scorer", "ranking", "word")
_TRUTH = (*_PER, "sample", "truth")


@dataclass
class Gathered:
    """Rows of all photos, without the scores that they were made of."""

    agreement: list[dict[str, Any]] = field(default_factory=list)
    recall: list[dict[str, Any]] = field(default_factory=list)
    areas: list[dict[str, Any]] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)
    photos: int = 0
    whole: int = 0

    def add(self, photo: MeasuredPhoto) -> None:
        """Take a photo."""
        self.agreement += agreement_rows(photo)
        self.recall += recall_rows(photo)
        self.areas += area_rows(photo)
        self.costs += photo.costs.values()
        self.photos += 1
        self.whole += EVERY in photo.samples


def document_rows(found: Gathered) -> list[dict[str, Any]]:
    """Return the rows of `--json`: Spearman's correlation with its interval over photos."""
    seconds = {key[0]: mean_of(rows, "seconds") for key, rows in grouped(found.costs, ("scorer",))}
    rows = []
    for key, own in grouped(_all_layers(found.agreement), _TRUTH):
        row = dict(zip(_TRUTH, key, strict=True))
        rank = _number(own, "spearman")
        rows.append(
            {
                **row,
                "spearman": rank.value,
                "low": rank.low,
                "high": rank.high,
                "pearson": mean_of(own, "pearson"),
                "slope": mean_of(own, "slope"),
                "sign_agreement": mean_of(own, "sign"),
                "seconds": seconds.get(key[0]),
                "n": rank.n or 0,
            }
        )
    return rows


def headline(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows to be read first, the best one ahead: uniform units put to zero."""
    chosen = [
        row for row in rows if (row["word"], row["sample"], row["truth"]) == (WORD, UNIFORM, ZERO)
    ]
    return sorted(chosen, key=lambda row: np.inf if row["spearman"] is None else -row["spearman"])


def summarise(found: Gathered) -> Result:
    """Return the tables of a comparison."""
    tables = (_truth_table(found), _layer_table(found), _area_table(found), _recall_table(found))
    return Result(NAME, TITLE, (*(table for table in tables if table.rows), _cost_table(found)))


def grouped(
    rows: Iterable[dict[str, Any]], names: Sequence[str]
) -> Iterator[tuple[Key, list[dict[str, Any]]]]:
    """Yield rows that agree in some columns, in the order in which they first come."""
    found: dict[Key, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    yield from found.items()


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    """Return the mean of a column, without what is missing; None where nothing is there."""
    values = np.array([row[name] for row in rows if row[name] is not None], dtype=float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _number(rows: Sequence[dict[str, Any]], name: str) -> Number:
    return over_photos(np.array([row.get(name) for row in rows], dtype=float))


def _all_layers(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["layers"] == "all")


def _ordered(rows: list[dict[str, Cell]], by: str) -> tuple[dict[str, Cell], ...]:
    """Return rows with those of the highest number first; those without one last."""

    def place(row: dict[str, Cell]) -> float:
        cell = row[by]
        return -cell.value if isinstance(cell, Number) and cell.value is not None else np.inf

    return tuple(sorted(rows, key=place))


def _truth_table(found: Gathered) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    truths = [key for key, _ in grouped(_all_layers(found.agreement), ("word", "sample", "truth"))]
    of_row = dict(grouped(_all_layers(found.agreement), ("word", "sample", "truth", *_PER[:2])))
    for truth in truths:
        block: list[dict[str, Cell]] = [
            {
                "scorer": key[3],
                "ranking": key[4],
                "word": key[0],
                "sample": key[1],
                "truth": key[2],
                "Spearman": _number(own, "spearman"),
                "Pearson": _number(own, "pearson"),
                "slope": _number(own, "slope"),
                "sign": _number(own, "sign"),
            }
            for key, own in of_row.items()
            if key[:3] == truth
        ]
        rows += _ordered(block, "Spearman")
    return ResultTable(
        f"{NAME}.truth",
        "Agreement with exact effects",
        (*_TRUTH, "Spearman", "Pearson", "slope", "sign"),
        tuple(rows),
        (
            "Exact effect of a unit: the word's logit (or log-probability) minus that with the "
            "unit, at all patches, put to zero, to its mean over reference photos, or to its "
            "values at another photo's patches (resample). Correlations are over the units of one "
            "photo, then averaged; intervals are bootstraps over photos.",
            "`total` sums a scorer's numbers over patches, `score` takes the largest. `sign`: the "
            "share of units that do something whose score has their sign. `slope`: of the line of "
            "effects on scores, 1 where a score is the effect.",
            "uniform: units of all layers but the last, each as likely; strong: drawn from the "
            "1 % of each layer that write most; top: the first 20 of every scorer, by either "
            "ranking; all: every unit. No scorer has a part in uniform and strong.",
            "absent: an everyday noun that nobody named in the photo, nearest in probability "
            "behind other photos: its effects against its own scores.",
        ),
    )


def _layer_table(found: Gathered) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    by_layer = (row for row in found.agreement if row["layers"] != "all")
    names = (*_PER[:2], "sample", "layers")
    for key, own in grouped((row for row in by_layer if row["word"] == WORD), names):
        rows.append({**dict(zip(names, key, strict=True)), "Spearman": _number(own, "spearman")})
    return ResultTable(
        f"{NAME}.layers",
        "Agreement within layers",
        (*names, "Spearman"),
        tuple(rows),
        ("As above, put to zero, of the units of some layers by themselves.",),
    )


def _area_table(found: Gathered) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for key, own in grouped(found.areas, _PER):
        necessity, sufficiency, whole = (
            np.array([row[name] for row in own], dtype=float)
            for name in ("necessity", "sufficiency", "whole")
        )
        rows.append(
            {
                **dict(zip(_PER, key, strict=True)),
                "necessity (nats)": over_photos(necessity),
                "sufficiency (nats)": over_photos(sufficiency),
                "all units (nats)": over_photos(whole),
                "necessity, share": ratio(necessity, whole),
                "sufficiency, share": ratio(sufficiency, whole),
            }
        )
    columns = ("necessity (nats)", "sufficiency (nats)", "all units (nats)")
    return ResultTable(
        f"{NAME}.areas",
        "Sets of first units",
        (*_PER, *columns, "necessity, share", "sufficiency, share"),
        _ordered(rows, columns[0]),
        (
            "At the patches units are put to their mean over reference photos: the first .1, .3, "
            "1, 3, 10 and 30 % of a ranking (necessity), or all others (sufficiency: keep only "
            "these). Means over the six. Necessity: what the word's log-probability loses; "
            "sufficiency: what it has beyond that with all units at the mean. Each word by its own "
            "scores. Shares are of what all units take.",
            "That an absent word's first units take that word, too, is why necessity of units "
            "picked by a word's own scores is no evidence of sight.",
        ),
    )


def _recall_table(found: Gathered) -> ResultTable:
    rows: list[dict[str, Cell]] = [
        {**dict(zip(_PER, key, strict=True)), "recall": _number(own, "recall")}
        for key, own in grouped(found.recall, _PER)
    ]
    return ResultTable(
        f"{NAME}.recall",
        "The true first 1 %",
        (*_PER, "recall"),
        _ordered(rows, "recall"),
        (
            "On photos of which every unit was measured: the share of the 1 % of units that give "
            "the word most, exactly, which are among the first 1 % of a ranking. Chance is .01.",
        ),
    )


def _cost_table(found: Gathered) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for (scorer,), own in grouped(found.costs, ("scorer",)):
        rows.append(
            {
                "scorer": scorer,
                "forward": Number(own[0]["forward"]),
                "backward": Number(own[0]["backward"]),
                "seconds": _number(own, "seconds"),
                "processor seconds": _number(own, "cpu_seconds"),
                "peak (MiB)": _number(own, "peak_mib"),
            }
        )
    columns = ("seconds", "processor seconds", "peak (MiB)")
    return ResultTable(
        f"{NAME}.cost",
        "What a photo costs",
        ("scorer", "forward", "backward", *columns),
        tuple(reversed(_ordered(rows, "processor seconds"))),
        (
            "Both words of a photo at once. `forward` and `backward` are passes of the model. The "
            "memory is what the process takes at its height beyond what it had before. Seconds are "
            "longer where the machine does other work; processor seconds are not, or less so.",
        ),
    )
