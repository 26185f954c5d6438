"""What is left of a word without a scorer's first units, and what they keep of it alone.

Units are put to their mean over reference photos, so that both begin and end at the same two
values: the unchanged pass, and the one in which no unit at the patches knows the photo.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.data.dataset import Item
from molyneux.neurons.ablation import Intervention, intervened_logits
from molyneux.neurons.scorers import Scorer
from molyneux.studies.compare.design import (
    GRID,
    KEPT,
    NECESSITY,
    SCORES,
    SUFFICIENCY,
    TARGETS,
    phase_of,
)
from molyneux.studies.compare.few import is_of_few
from molyneux.studies.compare.photo import ComparedPhoto
from molyneux.studies.compare.scored import SCORED
from molyneux.studies.compare.truth import Opened
from molyneux.studies.parts import Phase, read_some

AREAS = "areas"
_SCORED = pa.schema([(SCORED, pa.list_(pa.struct(list(SCORES))))])


def area_phase(folder: Path, scorer: Scorer, opened: Opened) -> Phase:
    """Return the phase that goes along the grid with each ranking of a scorer, for each word."""

    record = scorer.record()

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        photo = opened(item, sha256)
        scores = read_some(folder, phase_of(SCORED, record), index, _SCORED)[SCORED]
        if not photo.has_word or any(is_of_few(one["values"]) for one in scores):
            return {AREAS: []}
        return {AREAS: area_rows(photo, scores)}

    return Phase(phase_of(AREAS, record), {AREAS: KEPT}, measure)


def area_rows(photo: ComparedPhoto, scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a photo: each ranking's own word where sets of its first units are put
    to the mean, and where all others are."""
    model = photo.model
    size = (model.n_layers, model.d_mlp)
    every = torch.ones(size, dtype=torch.bool)
    rows: list[dict[str, Any]] = []
    masks: list[Tensor] = []
    for one in scores:
        values = torch.from_numpy(np.asarray(one["values"], dtype=np.float32)).reshape(size)
        own = {"ranking": one["ranking"], "target": one["target"]}
        for share in GRID:
            first = first_share(values, share)
            for name, mask in ((NECESSITY, first), (SUFFICIENCY, every & ~first)):
                rows.append({**own, "set": name, "share": share, "units": int(first.sum())})
                masks.append(mask)
        for name, ends in ((NECESSITY, (0.0, 1.0)), (SUFFICIENCY, (1.0, 0.0))):
            for share, mask in zip(ends, (~every, every), strict=True):
                units = round(share * every[:-1].sum().item())
                rows.append({**own, "set": name, "share": share, "units": units})
                masks.append(mask)
    distinct: dict[bytes, int] = {}
    places = [distinct.setdefault(mask.numpy().tobytes(), len(distinct)) for mask in masks]
    tried = [masks[places.index(place)] for place in range(len(distinct))]
    interventions = [Intervention(mask, "patches", photo.mean) for mask in tried]
    log_p = intervened_logits(model, photo.subject.until, interventions).log_softmax(dim=-1)
    token = dict(zip(TARGETS, photo.tokens, strict=False))
    for row, place in zip(rows, places, strict=True):
        row["log_probability"] = float(log_p[place, token[row["target"]]])
    return rows


def first_share(score: Tensor, share: float) -> Bool[Tensor, "layers d_mlp"]:
    """Return the first units of a ranking, a share of those of all layers but the last.

    At least one; ties go to the lower layer and number.
    """
    ranked = score[:-1].flatten().double()
    n = max(1, round(share * len(ranked)))
    order = ranked.sort(descending=True, stable=True).indices[:n]
    mask = torch.zeros(score.shape, dtype=torch.bool)
    mask[:-1].view(-1)[order] = True
    return mask
