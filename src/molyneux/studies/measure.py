"""The phase in which the language model works: every photo, all experiments at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from molyneux.data.dataset import Item
from molyneux.models.seeing_model import SeeingModel
from molyneux.studies.experiment import Experiment
from molyneux.studies.parts import MEASURED
from molyneux.studies.phases import Phase
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject


def photo_phase(
    captioner: SeeingModel, settings: StudySettings, experiments: Sequence[Experiment]
) -> Phase:
    """Return the phase that captions, attributes and ablates."""
    facts = ModelFacts.of(captioner)
    tables = {name: schema for e in experiments for name, schema in e.tables().items()}

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        subject = Subject(facts, settings, item, item.read(), sha256)
        row: dict[str, Any] = {
            "caption": subject.sentence.caption,
            "noun": subject.word.lemma if subject.word else None,
            "human_nouns": sorted(subject.human_nouns),
        }
        for experiment in experiments:
            row |= experiment.measure(subject)
        return row

    return Phase(MEASURED, tables, measure)
