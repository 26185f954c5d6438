"""E4: where units look, against the mask of what they name."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from molyneux.neurons.receptive_fields import NO_GRID
from molyneux.studies.e4_fields import NAME
from molyneux.studies.e4_fields.claims import CLAIMS
from molyneux.studies.e4_fields.measure import (
    FIELDS,
    TARGETS,
    compare,
    find_goals,
    outcome_row,
    unit_lists,
)
from molyneux.studies.e4_fields.summary import summarise
from molyneux.studies.experiment import Experiment, Needs, Rows
from molyneux.studies.finished import Finished
from molyneux.studies.results import Result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import Subject


class Fields(Experiment):
    """E4: where the units look."""

    name = NAME
    title = "What do they look at? Receptive fields against segmentations"
    claims = CLAIMS
    needs = Needs(masks=True)

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables of fields and of targets."""
        return {"e4_fields": FIELDS, "e4_targets": TARGETS}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows: none without a noun in its caption, nor without patches."""
        if not subject.captioner.encoder.grid.has_patches:
            return {"e4_fields": [], "e4_targets": [outcome_row("photo", None, NO_GRID)]}
        if subject.word is None:
            return {
                "e4_fields": [],
                "e4_targets": [outcome_row("caption", None, "the caption has no noun")],
            }
        goals, outcomes = find_goals(subject)
        rows: list[dict[str, Any]] = []
        if goals:
            activation = subject.attribution.activation.cpu()
            grid = subject.captioner.encoder.grid
            lists = unit_lists(subject, [goal.target for goal in goals])
            rows = compare(activation, grid, goals, lists)
        return {"e4_fields": rows, "e4_targets": outcomes}

    def summarise(self, study: Finished) -> Result:
        """Return how well fields and masks agree, beside every control."""
        return summarise(self, study)

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 1 to 3 s a photo."""
        return 2.0 * photos
