"""The phase in which texts are compared: each photo's with its captions, and another photo's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, WeightsError
from molyneux.statistics.permutations import derangement
from molyneux.studies.experiment import Experiment, PhotoRecord, Scorers
from molyneux.studies.parts import MEASURED, SCORED, read_part
from molyneux.studies.phases import Phase
from molyneux.studies.settings import NO_SCORER, StudySettings

NOT_ASKED_FOR = "not asked for"


def load_scorers(settings: StudySettings, note: Any) -> Scorers:
    """Return what compares texts; where no CLIP weights can be had, the reason instead of them.

    Raises:
        WeightsError: the BERTScore backbone cannot be had.
    """
    from molyneux.metrics.bertscore import load_bert_scorer
    from molyneux.metrics.clipscore import load_clip_scorer

    bert = clip = no_bert = no_clip = None
    if settings.bertscore == NO_SCORER:
        no_bert = f"{NOT_ASKED_FOR} (bertscore: {NO_SCORER})"
    else:
        bert = load_bert_scorer(settings.bertscore, note=note)
    if settings.clip == NO_SCORER:
        no_clip = f"{NOT_ASKED_FOR} (clip: {NO_SCORER})"
    else:
        try:
            clip = load_clip_scorer(settings.clip, note=note)
        except WeightsError as error:
            no_clip = str(error)
    return Scorers(bert, clip, no_clip, no_bert)


def partners(good: Sequence[int], seed: int) -> dict[int, int]:
    """Return for each photo the one that serves as its control: a permutation without fixed
    points (of one photo alone, that photo)."""
    if len(good) < 2:
        return {index: index for index in good}
    places = derangement(len(good), seed)
    return {index: good[place] for index, place in zip(good, places, strict=True)}


def text_phase(
    folder: Path,
    settings: StudySettings,
    experiments: Sequence[Experiment],
    good: Sequence[int],
    scorers: Scorers,
) -> Phase:
    """Return the phase that scores the texts measured in the first."""
    tables = {name: schema for e in experiments for name, schema in e.text_tables().items()}
    partner = partners(good, settings.seed)

    def measure(index: int, item: Item, sha256: str) -> dict[str, Any]:
        if index not in partner:
            raise PhotoError("it could not be measured")
        own = PhotoRecord(read_part(folder, MEASURED, index))
        other = PhotoRecord(read_part(folder, MEASURED, partner[index]))
        photo = item.read()
        row: dict[str, Any] = {"caption": own["caption"], "noun": own["noun"]}
        for experiment in experiments:
            row |= experiment.score(own, other, photo, scorers)
        return row

    return Phase(SCORED, tables, measure)
