"""What one scorer says of every unit of a photo, what it took, and what its own first units do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from molyneux.data.dataset import Item
from molyneux.neurons.attribution import Attribution
from molyneux.neurons.scorers import Scorer
from molyneux.neurons.unit import Unit, top_units
from molyneux.studies.compare.design import (
    COST,
    EFFECTS,
    N_TOP,
    RANKED_BY,
    SCORES,
    TARGETS,
    TOP,
    ZERO,
    effect_rows,
    phase_of,
)
from molyneux.studies.compare.few import ranked
from molyneux.studies.compare.memory import Peak
from molyneux.studies.compare.photo import ComparedPhoto
from molyneux.studies.compare.truth import EXACT, TRUTH, Opened
from molyneux.studies.parts import Phase, finished_parts, read_some

SCORED = "scores"
"""Of a scorer's phases, and of the table of its scores."""
TOOK = "cost"
_MEASURED = pa.schema([(EXACT, pa.list_(pa.struct(list(EFFECTS))))])


def score_phase(folder: Path, scorer: Scorer, opened: Opened) -> Phase:
    """Return the phase that scores a photo's units, and measures the first ones exactly.

    Those that the truth or another scorer's phase measured already are not measured again: what a
    unit does hangs on no scorer.
    """

    record = scorer.record()

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        photo = opened(item, sha256)
        row: dict[str, Any] = {SCORED: [], EXACT: [], TOOK: []}
        if not photo.has_word:
            return row
        attribution, cost = _timed(photo, scorer)
        row[TOOK] = [{"scorer": json.dumps(record, sort_keys=True), **cost}]
        row[SCORED] = score_rows(attribution)
        known = measured_units(folder, index)
        units = [unit for unit in first_units(attribution) if unit not in known]
        found = photo.effects(units)
        assert found is not None
        row[EXACT] = effect_rows(TOP, units, ZERO, found.logit, found.log_probability)
        return row

    tables = {SCORED: SCORES, EXACT: EFFECTS, TOOK: COST}
    return Phase(phase_of(SCORED, record), tables, measure)


def _timed(photo: ComparedPhoto, scorer: Scorer) -> tuple[Attribution, dict[str, Any]]:
    context, targets = photo.context(scorer), photo.targets
    cost, n_layers = scorer.cost, photo.model.n_layers
    with Peak(photo.model.device) as peak:
        started, cpu = time.perf_counter(), time.process_time()
        found = scorer.score(photo.model, photo.subject.until, targets, context=context)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return found, {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mib": peak.mib,
        "forward": cost.forward + cost.forward_each_layer * n_layers,
        "backward": cost.backward + cost.backward_each_layer * n_layers,
        "threads": torch.get_num_threads(),
    }


def score_rows(attribution: Attribution) -> list[dict[str, Any]]:
    """Return what is kept of a scorer's scores at the patches: of both words, both rankings."""
    kept = attribution.patches
    return [
        {
            "target": target,
            "ranking": ranking,
            "values": getattr(kept, ranking)[place].float().flatten().cpu().numpy(),
        }
        for place, target in zip(range(len(attribution.targets)), TARGETS, strict=False)
        for ranking in RANKED_BY
    ]


def first_units(attribution: Attribution) -> list[Unit]:
    """Return the word's first units by either ranking, ascending, each once.

    None is of the last layer, where nothing at a patch reaches the word.
    """
    found: set[Unit] = set()
    for ranking in RANKED_BY:
        score = getattr(attribution.patches, ranking)[0, :-1].cpu()
        found.update(top_units(torch.from_numpy(ranked(score.numpy())), N_TOP))
    return sorted(found)


def measured_units(folder: Path, index: int) -> set[Unit]:
    """Return the units of a photo whose effect at zero lies in some phase's part."""
    return {
        Unit(row["layer"], row["unit"])
        for phase in phases_with_effects(folder)
        if index in finished_parts(folder, phase)
        for row in read_some(folder, phase, index, _MEASURED)[EXACT] or ()
        if row["put_to"] == ZERO
    }


def phases_with_effects(folder: Path) -> Iterable[str]:
    """Return the truth's phase, and those of the scorers that were measured."""
    there = sorted(path.name for path in (folder / "parts").glob(f"{SCORED}-*") if path.is_dir())
    return [TRUTH, *there]
