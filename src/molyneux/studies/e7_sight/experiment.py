"""E7: what a photo adds to words, and which units carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from molyneux.studies.e7_sight import NAME
from molyneux.studies.e7_sight.measure import GAINS, SETS, measure
from molyneux.studies.experiment import Experiment, Rows
from molyneux.studies.results import Result
from molyneux.studies.subject import Subject

if TYPE_CHECKING:
    from molyneux.studies.finished import Finished


class Sight(Experiment):
    """E7: what units that were chosen without any word carry of what a photo adds to its words."""

    name = NAME
    title = "Was it seen? What the photo adds to words, and which units carry it"
    of_paper = False

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables of words and of sets."""
        return {"e7_gains": GAINS, "e7_sets": SETS}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows."""
        gains, sets = measure(subject)
        return {"e7_gains": gains, "e7_sets": sets}

    def summarise(self, study: Finished) -> Result:
        """Return tables over photos and partners."""
        from molyneux.studies.e7_sight.summary import summarise

        return summarise(self, study)
