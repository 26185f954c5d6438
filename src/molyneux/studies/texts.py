"""The phase in which texts are compared: each photo's with its captions, and another photo's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from molyneux.data.dataset import Item
from molyneux.errors import PhotoError, WeightsError
from molyneux.statistics.permutations import derangement
from molyneux.studies.experiment import Experiment, PhotoRecord, TextScorers
from molyneux.studies.finished import Finished
from molyneux.studies.parts import MEASURED, SCORED, Phase, read_part
from molyneux.studies.results import NONE
from molyneux.studies.settings import NO_SCORER, StudySettings

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.studies.experiment import TextScorers


NOT_ASKED_FOR = "not asked for"


def load_scorers(settings: StudySettings, note: Any) -> TextScorers:
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
    return TextScorers(bert, clip, no_clip, no_bert)


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
    scorers: TextScorers,
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


@dataclass(frozen=True)
class Metric:
    """A way to score texts, with the paper's numbers and the margin that follows from them.

    Attributes:
        margin: 10 % of (nouns of the human captions - random vectors) in the paper's numbers.
    """

    name: str
    column: str
    paper: dict[str, str]
    margin: float


def why_missing(study: Finished, metric: Metric) -> str:
    """Return what a cell says where a metric could not be computed."""
    if missing := study.manifest.get(f"{metric.column}_missing"):
        return str(missing)
    if metric is BERT and not any(study.photos["captions"].to_pylist()):
        return "no human captions"
    return NONE


def metric_notes(study: Finished) -> tuple[str, str]:
    """Return which models are behind the two scores."""
    no_bert, no_clip = (study.manifest.get(f"{m.column}_missing") for m in (BERT, CLIP))
    backbone = study.manifest.get("bertscore") or "unnamed backbone"
    bert = (
        f"BERTScore: F1 of {backbone}, the mean over a photo's human captions. The paper does not "
        "name its backbone: its numbers compare with each other and not with ours."
    )
    clip = f"CLIPScore: {study.settings.clip}, 100 x cosine of text and photo."
    return (
        f"BERTScore: left out here: {no_bert}." if no_bert else bert,
        f"CLIPScore: left out here: {no_clip}." if no_clip else clip,
    )


BERT = Metric(
    "BERTScore",
    "bert",
    {"random": ".3286", "prompts": ".3291", "caption_nouns": ".5251", "human_nouns": ".4470"},
    0.012,
)
CLIP = Metric(
    "CLIPScore",
    "clip",
    {"random": "19.22", "prompts": "19.17", "caption_nouns": "23.62", "human_nouns": "27.89"},
    0.87,
)


@dataclass(frozen=True)
class TextScores:
    """The scores of a photo's texts, each scored once.

    Attributes:
        bert: BERTScore F1, the mean over the human captions; None where there are none, or no
            backbone.
        clip: 100 x cosine with the photo; None where there are no CLIP weights.
    """

    bert: dict[str, float] | None
    clip: dict[str, float] | None

    def of(self, text: str) -> dict[str, float | None]:
        """Return the columns `bert` and `clip` of one text."""
        return {
            "bert": None if self.bert is None else self.bert[text],
            "clip": None if self.clip is None else self.clip[text],
        }


def score_texts(
    texts: Iterable[str], captions: Sequence[str], photo: Image.Image, scorers: TextScorers
) -> TextScores:
    """Return the scores of all distinct texts against one photo and its human captions."""
    distinct = sorted(set(texts))
    bert = clip = None
    if captions and scorers.bert is not None:
        f1 = scorers.bert.f1(distinct, list(captions)).mean(axis=1)
        bert = dict(zip(distinct, map(float, f1), strict=True))
    if scorers.clip is not None:
        cosine = np.asarray(scorers.clip.score(photo, distinct))
        clip = dict(zip(distinct, map(float, cosine), strict=True))
    return TextScores(bert, clip)
