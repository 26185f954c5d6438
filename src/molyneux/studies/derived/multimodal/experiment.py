"""U: how many units meet every condition of a multimodal neuron."""

from __future__ import annotations

from molyneux.studies.derived.multimodal import NAME
from molyneux.studies.derived.multimodal.units import funnel, unit_conditions
from molyneux.studies.experiment import Experiment, Needs
from molyneux.studies.finished import Finished
from molyneux.studies.results import Result


class MultimodalUnits(Experiment):
    """The conditions a unit meets: listed units of E2, tested by E5 and E6 where they were."""

    name = NAME
    title = "What is a multimodal neuron?"
    needs = Needs(tables=("e2_units",))
    derived = True

    def summarise(self, study: Finished) -> Result:
        """Return how many units are left at each condition; keeps the table `units`."""
        units, pairs = unit_conditions(study)
        study.keep("units", units)
        table = funnel(
            units, pairs, seed=study.settings.seed, words_by_chance=study.model.words_by_chance
        )
        return Result(self.name, self.title, (table,))
