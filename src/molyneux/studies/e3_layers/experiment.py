"""E3: which layers the top units lie in, and how many write words."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from molyneux.neurons.attribution import VIEWS
from molyneux.neurons.unit_sets import UNIT_SETS
from molyneux.studies.e3_layers import NAME
from molyneux.studies.e3_layers.claims import CLAIMS
from molyneux.studies.e3_layers.measure import LAYERS, LISTS
from molyneux.studies.e3_layers.summary import summarise
from molyneux.studies.experiment import Experiment, Rows
from molyneux.studies.finished import Finished
from molyneux.studies.results import Result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import Subject


class Layers(Experiment):
    """E3: where the units are."""

    name = NAME
    title = "Where are they? Layers of the units that the word comes from"
    claims = CLAIMS

    def tables(self) -> dict[str, pa.Schema]:
        """Return the table of each photo's lists of units."""
        return {"e3_layers": LAYERS}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's lists: none without a noun in its caption."""
        if subject.word is None:
            return {"e3_layers": []}
        rows: list[dict[str, Any]] = []
        for view in VIEWS:
            for ranking in LISTS:
                units = subject.ranking(view, ranking, subject.settings.units)
                layers, numbers = [u.layer for u in units], [u.unit for u in units]
                found = subject.scores(view, without_sinks=UNIT_SETS[ranking].without_sinks)
                words = subject.facts.reference.interpretable_as(found.sign[0].cpu())
                rows.append(
                    {
                        "view": view,
                        "ranking": ranking,
                        "units": [
                            layer * subject.model.d_mlp + k
                            for layer, k in zip(layers, numbers, strict=True)
                        ],
                        "words": words[layers, numbers].int().tolist() if units else [],
                    }
                )
        return {"e3_layers": rows}

    def summarise(self, study: Finished) -> Result:
        """Return where the units are and how many are interpretable."""
        return summarise(self, study)

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 0.1 s a photo."""
        return 0.1 * photos
