"""E7: what a photo adds to words, and which units carry it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from molyneux.errors import UsageError
from molyneux.studies.e7_sight import NAME
from molyneux.studies.e7_sight.claims import verdicts
from molyneux.studies.e7_sight.deranged import Deranged
from molyneux.studies.e7_sight.measure import measure
from molyneux.studies.e7_sight.tables import TABLES
from molyneux.studies.experiment import Experiment, Headline, Needs, Rows
from molyneux.studies.results import Result, Verdict
from molyneux.studies.subject import ModelFacts, Subject

if TYPE_CHECKING:
    from molyneux.data.selection import Selection
    from molyneux.studies.finished import Finished
    from molyneux.studies.settings import StudySettings


class Sight(Experiment):
    """E7: what units that were chosen without any word carry of what a photo adds to its words."""

    name = NAME
    title = "Was it seen? What the photo adds to words, and which units carry it"
    needs = Needs(partners=True)
    _deranged: Deranged | None = None

    def check(
        self, settings: StudySettings, selection: Selection, labelled: Selection | None
    ) -> None:
        """Refuse to measure nothing.

        Raises:
            UsageError: `sight` is `none`.
        """
        if settings.sight == "none":
            raise UsageError("E7 measures sight; give --sight short or full, or leave E7 out")

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables of words, of sets, of captions, and of what was left out."""
        return dict(TABLES)

    def begin(self, facts: ModelFacts, selection: Selection) -> None:
        """Take the nouns that stand beside people's from the study's own photos."""
        self._deranged = Deranged(facts.captioner.language_model, selection)

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows."""
        return measure(subject, self._deranged.of(subject.item) if self._deranged else {})

    def summarise(self, study: Finished) -> Result:
        """Return tables over photos and partners, the claims first."""
        from molyneux.studies.e7_sight.summary import summarise

        return summarise(self, study)

    def verdicts(self, result: Result) -> list[Verdict]:
        """Return its claims, whose rules are stricter than one interval's."""
        return verdicts(result)

    def headline(self, study: Finished) -> Headline:
        """Return what sight is claimed from, a number for each photo."""
        from molyneux.studies.e7_sight.summary import headline

        return headline(study)

    def seconds(self, settings: StudySettings, photos: int) -> float | None:
        """Return 17 s a photo in the short form; of the full one it is not known."""
        return 17.0 * photos if settings.sight == "short" else None
