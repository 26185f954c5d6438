"""R: what subsets of the photos say of the other experiments' headline numbers."""

from __future__ import annotations

from molyneux.studies.derived.replication import NAME
from molyneux.studies.derived.replication.summary import replicate
from molyneux.studies.experiment import Experiment, load_experiments
from molyneux.studies.finished import Finished
from molyneux.studies.results import Result


class Replication(Experiment):
    """Every experiment's headline numbers on disjoint random subsets, and by control seed."""

    name = NAME
    title = "Replication"
    derived = True

    def summarise(self, study: Finished) -> Result | None:
        """Return the numbers on subsets and their spread; None where no subset is asked for."""
        subsets = study.settings.subsets
        if subsets == 0:
            return None
        found = [(e.name, e.headline(study)) for e in load_experiments(study.settings.experiments)]
        found = [(name, numbers) for name, numbers in found if numbers]
        return Result(self.name, self.title, replicate(study, found, subsets)) if found else None
