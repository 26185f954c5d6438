"""How well scores agree with what units do: by one photo's units, then over photos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from molyneux.statistics.correlation import pearson, spearman
from molyneux.studies.compare.design import (
    EVERY,
    GRID,
    MEAN,
    NECESSITY,
    RESAMPLE,
    STRONG,
    SUFFICIENCY,
    TOP,
    UNIFORM,
    ZERO,
)
from molyneux.studies.compare.few import is_of_few
from molyneux.studies.compare.gathered import MeasuredPhoto

LEAST = 3
"""Units of which a correlation is taken."""
RECALLED = 0.01
TRUTHS = (
    (UNIFORM, ZERO, "logit"),
    (UNIFORM, MEAN, "logit"),
    (UNIFORM, RESAMPLE, "logit"),
    (UNIFORM, ZERO, "log_probability"),
    (STRONG, ZERO, "logit"),
    (TOP, ZERO, "logit"),
    (EVERY, ZERO, "logit"),
)
"""Sample, what its units are put to, and what of the word is read."""
BANDS = ("first third", "middle third", "last third")
"""Of the layers, the last one left out."""


def agreement(
    score: Float[np.ndarray, " units"], effect: Float[np.ndarray, " units"]
) -> dict[str, float]:
    """Return how scores and effects of one photo's units go together.

    `spearman` and `pearson`; `slope`: of the least-squares line of effects on scores, 1 where a
    score is the effect; `sign`: the share of units that do something whose score has their sign.
    NaN for fewer than three units, or where either is the same of all.
    """
    known = np.isfinite(score) & np.isfinite(effect)
    score, effect = score[known], effect[known]
    acts = effect != 0
    found = dict.fromkeys(("spearman", "pearson", "slope"), np.nan)
    if len(score) >= LEAST and np.ptp(score) > 0 and np.ptp(effect) > 0:
        around = score - score.mean()
        found = {
            "spearman": spearman(score, effect),
            "pearson": pearson(score, effect),
            "slope": float(around @ (effect - effect.mean()) / (around @ around)),
        }
    same = np.sign(score[acts]) == np.sign(effect[acts])
    return {**found, "sign": float(same.mean()) if acts.any() else np.nan, "units": len(score)}


def agreement_rows(photo: MeasuredPhoto) -> Iterator[dict[str, Any]]:
    """Yield a photo's agreement of every scorer, ranking, word, sample and truth; and by layer."""
    for (scorer, ranking, target), score in photo.scores.items():
        own = {"photo": photo.index, "scorer": scorer, "ranking": ranking, "word": target}
        if is_of_few(score):
            score = np.where(score == 0, np.nan, score)
        for sample, put_to, of in TRUTHS:
            effect = photo.exact.get((put_to, target, of))
            places = photo.samples.get(sample)
            if effect is None or places is None or not np.isfinite(effect[places]).any():
                continue
            row = {**own, "sample": sample, "truth": truth_name(put_to, of)}
            yield {**row, "layers": "all", **agreement(score[places], effect[places])}
            if sample in (UNIFORM, EVERY) and (put_to, of) == (ZERO, "logit"):
                for name, within in _layers(photo, sample, places):
                    chosen = places[within]
                    yield {**row, "layers": name, **agreement(score[chosen], effect[chosen])}


def truth_name(put_to: str, of: str) -> str:
    """Return what a truth is called in tables: what units are put to, and what is read."""
    return put_to if of == "logit" else f"{put_to} (log-probability)"


def _layers(
    photo: MeasuredPhoto, sample: str, places: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    layer = places // photo.d_mlp
    if sample == EVERY:
        for number in range(photo.n_layers - 1):
            yield f"L{number}", layer == number
        return
    band = layer * len(BANDS) // max(1, photo.n_layers - 1)
    for number, name in enumerate(BANDS):
        yield name, band == number


def recall_rows(photo: MeasuredPhoto) -> Iterator[dict[str, Any]]:
    """Yield, of a photo whose every unit was measured, how many of the 1 % that give the word most
    are among the first 1 % of each ranking: a share."""
    places = photo.samples.get(EVERY)
    if places is None:
        return
    n = max(1, round(RECALLED * len(places)))
    for (scorer, ranking, target), score in photo.scores.items():
        effect = photo.exact.get((ZERO, target, "logit"))
        if effect is None:
            continue
        true, said = (
            set(np.argsort(-values[places], kind="stable")[:n].tolist())
            for values in (effect, score)
        )
        yield {
            "photo": photo.index,
            "scorer": scorer,
            "ranking": ranking,
            "word": target,
            "recall": len(true & said) / n,
        }


def area_rows(photo: MeasuredPhoto) -> Iterator[dict[str, Any]]:
    """Yield the areas of each ranking, in nats: means over the grid.

    `necessity`: what the word loses where the first units are put to the mean; `sufficiency`: what
    it has, beyond all units at the mean, where the first ones alone are left; `whole`: what all
    units take.
    """
    for scorer, rows in photo.areas.items():
        for ranking, target in dict.fromkeys((row["ranking"], row["target"]) for row in rows):
            at = {
                (row["set"], row["share"]): row["log_probability"]
                for row in rows
                if (row["ranking"], row["target"]) == (ranking, target)
            }
            clean, none = at[NECESSITY, 0.0], at[SUFFICIENCY, 0.0]
            yield {
                "photo": photo.index,
                "scorer": scorer,
                "ranking": ranking,
                "word": target,
                "necessity": float(np.mean([clean - at[NECESSITY, share] for share in GRID])),
                "sufficiency": float(np.mean([at[SUFFICIENCY, share] - none for share in GRID])),
                "whole": clean - none,
            }
