"""What E2 concludes: the paper's table, paired differences from controls, direct word evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from molyneux.neurons.decoding import TOKENS
from molyneux.neurons.unit_sets import QUOTED, RANKINGS
from molyneux.statistics.bootstrap import mean
from molyneux.studies.e2_agreement.design import BEST_OF, FIRST, SCORED
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.results import (
    Cell,
    Figure,
    Number,
    Result,
    ResultTable,
    Series,
    difference,
    over_photos,
)
from molyneux.studies.subject import OTHER_NOUNS
from molyneux.studies.texts import BERT, CLIP, Metric, metric_notes, why_missing

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment, Headline

VIEWS = ("patches", "last")
AGAINST = {
    "own": "own units",
    "shuffled": "another photo's units",
    "matched": "matched units",
    "random": "random units",
}
FIGURES = {
    "max": "maximum",
    **{f"best_{k}": f"best of {k}" for k in reversed(BEST_OF)},
    "mean": "mean",
    "median": "median",
}
NEAR_TOP = 0.002
ABOVE_OTHERS = "above other nouns"
LENS = "lens_"
_SHOWN_PHOTOS = 12
_PAPER = {
    "bert": {"own": ".3848", "shuffled": ".3627", "caption": ".5251", "difference": ".0221"},
    "clip": {"own": "23.43", "shuffled": "21.74", "caption": "23.62", "difference": "1.69"},
}


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E2's tables and figures."""
    scores = _Scores(study)
    tables = [
        *(_score_table(study, scores, metric) for metric in (BERT, CLIP)),
        _difference_table(study, scores),
        _word_table(study),
        *([_word_table(study, LENS)] if _has_lens(study) else []),
        _example_table(study),
    ]
    figures = _best_of_figures(study, scores)
    return Result(experiment.name, experiment.title, tuple(tables), figures)


def headline(study: Finished) -> Headline:
    """Return E2's headline numbers, one value per photo: BERTScores of own minus shuffled units.

    All in the patch view; none where no texts were scored.
    """
    if not study.has("e2_scores"):
        return {}
    columns = study.table("e2_scores")
    found: Headline = {}
    for ranking in QUOTED:
        of_ranking = (columns["view"] == "patches") & (columns["ranking"] == ranking)
        for figure, label in (("bert_max", "largest"), ("bert_mean", "mean")):
            own, shuffled = (
                per_photo(columns["photo"][rows], columns[figure][rows], study.n_photos)
                for rows in (of_ranking & (columns["against"] == a) for a in ("own", "shuffled"))
            )
            found[f"{ranking} - shuffled: {label} BERTScore"] = own - shuffled
    return found


class _Scores:
    """The scored lists of every photo, by view, ranking and whose texts they are."""

    def __init__(self, study: Finished) -> None:
        self.missing = {metric.column: why_missing(study, metric) for metric in (BERT, CLIP)}
        self.n_photos = study.n_photos
        self.table = study.table("e2_scores")
        self.keys = sorted(
            set(zip(*(self.table[c] for c in ("view", "ranking", "against")), strict=True)),
            key=str,
        )

    def has(self, view: str | None, ranking: str, against: str) -> bool:
        """Return whether any photo has this list."""
        return (view, ranking, against) in self.keys

    def of(self, view: str | None, ranking: str, against: str, column: str) -> np.ndarray:
        """Return a column of the photos' lists; NaN for photos without one."""
        chosen = (
            (self.table["view"] == view)
            & (self.table["ranking"] == ranking)
            & (self.table["against"] == against)
        )
        return per_photo(self.table["photo"][chosen], self.table[column][chosen], self.n_photos)

    def number(
        self, view: str | None, ranking: str, against: str, metric: Metric, figure: str
    ) -> Number:
        """Return the mean of a figure of the photos' lists, or why there is none."""
        values, any_score = (
            self.of(view, ranking, against, f"{metric.column}_{f}") for f in (figure, "max")
        )
        few = f"no photo's list has {_least(figure)} units"
        return over_photos(values, why=self._why(metric, any_score, few))

    def minus(self, view: str, ranking: str, against: str, metric: Metric, figure: str) -> Number:
        """Return the mean difference of own units from others, or why there is none."""
        differences, any_score = (
            self.of(view, ranking, "own", f"{metric.column}_{f}")
            - self.of(view, ranking, against, f"{metric.column}_{f}")
            for f in (figure, "max")
        )
        few = f"no photo has {_least(figure)} units in both lists"
        return over_photos(differences, why=self._why(metric, any_score, few))

    def _why(self, metric: Metric, any_score: np.ndarray, few: str) -> str:
        """Return why no photo has a figure: its list may be scored, and yet be too short for it."""
        return self.missing[metric.column] if np.isnan(any_score).all() else few


def _least(figure: str) -> str:
    """Return how many units a list must have for a figure."""
    return figure.removeprefix("best_") if figure.startswith("best_") else "1"


_DEFINITIONS = (
    f"A unit's text: the {TOKENS} tokens it raises most in the direction it wrote (the sign of its "
    "activation at the peak patch), the space around each removed, joined by spaces.",
    f"Maximum, best of k, mean and median run over the first {FIRST} units of a photo's list, "
    "then the mean over photos is taken. Best of k: the expected maximum of k of them, which "
    "compares lists of different lengths; of one it is the mean.",
    "Another photo's units: its texts against this photo's captions and pixels, of one photo each: "
    "intervals are over photos with the draw that each had. Matched units: of "
    "the same layer, nearest in the norm of the output row, none of the list. Random units: of "
    "the same layer. Rankings: top is the paper's (score), specific compares a unit with itself "
    "on reference photos, interpretable is top among the units with 7 of 10 words.",
)


def _score_table(study: Finished, scores: _Scores, metric: Metric) -> ResultTable:
    paper = _PAPER[metric.column]
    rows: list[dict[str, Cell]] = []
    for view in VIEWS:
        for ranking in SCORED:
            for against, label in AGAINST.items():
                if not scores.has(view, ranking, against):
                    continue
                row: dict[str, Cell] = {"units": ranking, "view": view, "texts": label}
                for figure, name in FIGURES.items():
                    row[name] = scores.number(view, ranking, against, metric, figure)
                if (view, ranking) == ("patches", "top"):
                    row["paper"] = paper.get(against)
                rows.append(row)
    caption = scores.number(None, "caption", "own", metric, "max")
    label = "the model's caption"
    rows.append({"texts": label, "maximum": caption, "paper": paper["caption"]})
    return ResultTable(
        f"E2.{metric.name.lower()}",
        f"{metric.name} of what units write",
        ("units", "view", "texts", *FIGURES.values(), "paper"),
        tuple(rows),
        (
            *_DEFINITIONS,
            "The paper's numbers are maxima over a photo's units in the view of the patches; a "
            "maximum over units is high for units of any kind, so read it beside the controls.",
            *metric_notes(study),
        ),
    )


def _difference_table(study: Finished, scores: _Scores) -> ResultTable:
    shown = ("max", "best_10", "mean", "median")
    rows: list[dict[str, Cell]] = []
    for metric in (BERT, CLIP):
        for view in VIEWS:
            for ranking in SCORED:
                for against in ("shuffled", "matched", "random"):
                    if not scores.has(view, ranking, against):
                        continue
                    row: dict[str, Cell] = {
                        "metric": metric.name,
                        "units": ranking,
                        "view": view,
                        "own units minus": AGAINST[against],
                    }
                    for figure in shown:
                        cell = scores.minus(view, ranking, against, metric, figure)
                        row[FIGURES[figure]] = cell
                    if (view, ranking, against) == ("patches", "top", "shuffled"):
                        row["paper"] = _PAPER[metric.column]["difference"]
                    rows.append(row)
    return ResultTable(
        "E2.differences",
        "Own units minus their controls, photo by photo",
        ("metric", "units", "view", "own units minus", *(FIGURES[f] for f in shown), "paper"),
        tuple(rows),
        (
            "Paired differences over the photos that have both. The paper's is the difference of "
            "its two maxima.",
            *_DEFINITIONS[1:],
            *metric_notes(study),
        ),
    )


def _word_table(study: Finished, through: str = "") -> ResultTable:
    """Return how high nouns stand; `through` is ahead of the columns' names, `lens_` for a lens."""
    own, controls = study.table("e2_units"), study.table("e2_controls")
    rows: list[dict[str, Cell]] = []
    for view in ("patches",) if through else VIEWS:
        for ranking in RANKINGS:
            mine = _places(study, own, view, ranking, through=through)
            there = [k for k in ("matched", "random") if _has(controls, view, ranking, k)]
            kinds: list[str | None] = [*there] or [None]
            for control in kinds:
                row: dict[str, Cell] = {"units": ranking, "view": view}
                for name, values in mine.items():
                    row[name] = over_photos(values)
                if control is not None:
                    other = _places(study, controls, view, ranking, control, through=through)
                    row["control"] = AGAINST[control]
                    for name, values in other.items():
                        row[f"control: {name}"] = over_photos(values)
                        row[f"difference: {name}"] = difference(mine[name], values)
                rows.append(row)
    names = ("percentile", "near top", ABOVE_OTHERS)
    return ResultTable(
        "E2.words_lens" if through else "E2.words",
        "How high the caption's noun stands in what its units write"
        + (", through the Jacobian lens" if through else ""),
        (
            "units",
            "view",
            "control",
            *(f"{part}{name}" for name in names for part in ("", "control: ", "difference: ")),
        ),
        tuple(rows),
        (
            "No captions, no embedding of texts: the place of the target (the first token of the "
            "caption's first noun) in the whole vocabulary, ordered by what a unit writes. "
            "Percentile: the mean share of the vocabulary that is not above it; .5 is chance. "
            f"Near top: the share of units with the target in the top {NEAR_TOP:.1%} of tokens.",
            f"{ABOVE_OTHERS.capitalize()}: the target's percentile minus the mean percentile, in "
            f"the same units, of {OTHER_NOUNS} other photos' nouns (of the reference table, none "
            "in this photo's captions): what of it is this word's and not any noun's. 0 is chance.",
            *(
                (
                    "Through J_l of each unit's layer, instead of the head alone; units of the "
                    "last layer, which J does not read, are left out.",
                )
                if through
                else ()
            ),
            "Units are picked by this word's own gradient, which at the last position holds what a "
            "row writes: there they favour the word by construction, shown or not.",
            f"All listed units ({study.settings.units} a photo). Rankings without sinks leave out "
            "sink units and, in the view of the patches, score without sink patches.",
        ),
    )


def _has_lens(study: Finished) -> bool:
    """Return whether units were read through a Jacobian lens too."""
    places = study.table("e2_units").get(f"{LENS}target_place")
    return places is not None and not bool(np.isnan(places.astype(float)).all())


def _has(controls: Columns, view: str, ranking: str, control: str) -> bool:
    found = (controls["view"] == view) & (controls["ranking"] == ranking)
    return bool((found & (controls["control"] == control)).any())


def _places(
    study: Finished,
    table: Columns,
    view: str,
    ranking: str,
    control: str | None = None,
    *,
    through: str = "",
) -> dict[str, np.ndarray]:
    """Return percentile and share near the top of each photo's units."""
    chosen = (table["view"] == view) & (table["ranking"] == ranking)
    if control is not None:
        chosen &= table["control"] == control
    if through:
        chosen &= ~np.isnan(table[f"{through}target_place"].astype(float))
    photo, place = table["photo"][chosen], table[f"{through}target_place"][chosen].astype(float)
    others = table.get(f"{through}others_place")  # studies begun before it was measured have none
    others = np.full(len(place), np.nan) if others is None else others[chosen].astype(float)
    return {
        "percentile": per_photo(photo, 1 - place, study.n_photos),
        "near top": per_photo(photo, np.where(place < NEAR_TOP, 1.0, 0.0), study.n_photos),
        ABOVE_OTHERS: per_photo(photo, others - place, study.n_photos),
    }


def _example_table(study: Finished) -> ResultTable:
    table = study.table("e2_scores")
    ids, captions = study.photos["id"].to_pylist(), study.photos["caption"].to_pylist()
    kinds = {("patches", "top"): "top, patches", ("last", "specific"): "specific, last"}
    rows: list[dict[str, Cell]] = []
    for number in range(min(_SHOWN_PHOTOS, study.n_photos)):
        row: dict[str, Cell] = {"photo": str(ids[number]), "caption": captions[number]}
        for (view, ranking), label in kinds.items():
            chosen = np.flatnonzero(
                (table["photo"] == number)
                & (table["view"] == view)
                & (table["ranking"] == ranking)
                & (table["against"] == "own")
            )
            if len(chosen):
                row[label] = table["best_unit"][chosen[0]]
                row[f"{label}: text"] = table["best_text"][chosen[0]]
        rows.append(row)
    return ResultTable(
        "E2.examples",
        "The best unit of the first photos",
        ("photo", "caption", *(f"{k}{part}" for k in kinds.values() for part in ("", ": text"))),
        tuple(rows),
        (
            f"The unit of the largest score among the first {FIRST}: by BERTScore, or by CLIPScore "
            "where there are no human captions. A trailing - is the negative direction. The photos "
            "are the first of the data set, not chosen.",
        ),
    )


def _best_of_figures(study: Finished, scores: _Scores) -> tuple[Figure, ...]:
    figures = []
    for metric in (BERT, CLIP):
        columns = ["mean", *(f"best_{k}" for k in BEST_OF)]
        series = []
        for view, ranking in (("patches", "top"), ("last", "specific")):
            for against in ("own", "shuffled", "matched"):
                if not scores.has(view, ranking, against):
                    continue
                numbers: list[Number] = [
                    over_photos(scores.of(view, ranking, against, f"{metric.column}_{c}"), mean)
                    for c in columns
                ]
                if any(number.value is not None for number in numbers):
                    series.append(
                        Series(
                            f"{ranking}, {view}: {AGAINST[against]}",
                            (1.0, *map(float, BEST_OF)),
                            tuple(number.value for number in numbers),
                            tuple(number.low for number in numbers),
                            tuple(number.high for number in numbers),
                        )
                    )
        if series:
            figures.append(
                Figure(
                    f"E2.best_of_k_{metric.column}",
                    f"{metric.name} of the best of k units",
                    "lines",
                    "k",
                    metric.name,
                    tuple(series),
                    ("The expected maximum over k of a photo's units; it rises for any units.",),
                    log_x=True,
                )
            )
    return tuple(figures)
