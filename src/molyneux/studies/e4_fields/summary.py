"""What E4 concludes: how well receptive fields agree with masks, beside every control."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from molyneux.neurons.receptive_fields import NO_GRID
from molyneux.studies.e4_fields.figures import category_figure, overall_figure
from molyneux.studies.e4_fields.targets import (
    BY_CATEGORY,
    CEILING,
    CELLS,
    CONTROLS,
    FIELD,
    KINDS,
    LISTS,
    MAPS,
    MEAN_OF_20,
    MEASURES,
    NOTHING,
    PAPER_IOU,
    SINGLE,
    SINKS,
    TARGETS,
    FieldTargets,
)
from molyneux.studies.finished import Finished
from molyneux.studies.results import Cell, Number, Result, ResultTable

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment

EXAMPLES = 10


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E4's tables and figures; a note alone for an encoder without patches."""
    outcomes = Counter(study.table("e4_targets")["outcome"].tolist())
    if outcomes and set(outcomes) == {NO_GRID}:
        note = f"Not measured: {NO_GRID}, so that no unit has a receptive field."
        return Result(experiment.name, experiment.title, (), (), (note,))
    compared = FieldTargets.of(study)
    tables = [outcomes_table(study)]
    if len(compared.photo) == 0:
        return Result(experiment.name, experiment.title, tuple(tables), (), (NOTHING,))
    tables += [
        _scores(compared, "single", "E4.single", "Single units", SINGLE),
        _scores(compared, "set", "E4.set", "The mean of the first 20 units", MEAN_OF_20),
        _kinds(compared),
        _maps(compared),
        _best(compared),
        _categories(compared),
        examples(compared, study),
    ]
    figures = (overall_figure(compared), category_figure(compared))
    return Result(experiment.name, experiment.title, tuple(tables), figures)


def _other(ranking: str) -> str:
    return "specific" if ranking.startswith("specific") else "top"


def _against(compared: FieldTargets, ranking: str, measure: str, what: str) -> dict[str, Cell]:
    """Return what a list scores, and by how much more than each control."""
    own = compared.score(ranking, "own", measure, what)
    drawn = compared.score(ranking, "random", measure, what)
    other = compared.score(_other(ranking), "other", measure, what)
    maps = {name: compared.score("", name, measure, "set") for name in MAPS}
    return {
        "units": compared.number(own),
        "random units": compared.number(drawn),
        "minus random units": compared.number(own - drawn),
        "minus other photo's units": compared.number(own - other),
        **{f"minus {name}": compared.number(own - values) for name, values in maps.items()},
    }


def _paper(measure: str) -> str | None:
    return PAPER_IOU if measure == "IoU" else None


def _scores(compared: FieldTargets, what: str, name: str, title: str, note: str) -> ResultTable:
    rows: list[dict[str, Cell]] = [
        {
            "measure": measure,
            "ranking": LISTS[ranking],
            **_against(compared, ranking, measure, what),
            "paper": _paper(measure),
        }
        for measure in MEASURES
        for ranking in LISTS
    ]
    notes = (note, FIELD, CEILING, TARGETS, CONTROLS, SINKS, CELLS)
    return ResultTable(name, title, tuple(rows[0]), tuple(rows), notes)


def _kinds(compared: FieldTargets) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for kind, said in KINDS.items():
        some = compared.only(compared.kind == kind)
        for measure in ("IoU", "AUPRC"):
            for what in ("single", "set"):
                for ranking in BY_CATEGORY:
                    rows.append(
                        {
                            "word": said,
                            "measure": measure,
                            "of": "single units" if what == "single" else "mean of 20",
                            "ranking": LISTS[ranking],
                            **_against(some, ranking, measure, what),
                            "paper": _paper(measure) if kind == "caption" else None,
                        }
                    )
    return ResultTable(
        "E4.words",
        "Words the model wrote, and words it was asked for",
        tuple(rows[0]),
        tuple(rows),
        (TARGETS, SINGLE, MEAN_OF_20, FIELD, CONTROLS, CELLS),
    )


def _maps(compared: FieldTargets) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for measure in MEASURES:
        scores = {name: compared.score("", name, measure, "set") for name in MAPS}
        rows.append(
            {
                "measure": measure,
                **{name: compared.number(values) for name, values in scores.items()},
                "mask's area share": compared.number(compared.area),
                "IoU's ceiling": compared.number(compared.ceiling),
                "paper": None,
            }
        )
    return ResultTable(
        "E4.maps",
        "Maps that need no unit of the word",
        tuple(rows[0]),
        tuple(rows),
        (CONTROLS, CEILING),
    )


def _best(compared: FieldTargets) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for measure in ("IoU", "AUPRC"):
        for ranking, label in LISTS.items():
            own = compared.score(ranking, "own", measure, "best")
            drawn = compared.score(ranking, "random", measure, "best")
            rows.append(
                {
                    "measure": measure,
                    "ranking": label,
                    "units per list": compared.number(compared.column(ranking, "own", "n")),
                    "best of 20": compared.number(own),
                    "best of 20 random units": compared.number(drawn),
                    "difference": compared.number(own - drawn),
                    "paper": _paper(measure),
                }
            )
    return ResultTable(
        "E4.best",
        "The best of 20 units",
        tuple(rows[0]),
        tuple(rows),
        (
            "The maximum runs over the first 20 units of a list, for each word by itself. Choosing "
            "the best of 20 with the mask in hand raises random units too, hence the control.",
            "The paper's range is of the examples its supplement shows, chosen by eye.",
            FIELD,
            TARGETS,
        ),
    )


def _categories(compared: FieldTargets) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for category in sorted(set(compared.category.tolist())):
        some = compared.only(compared.category == category)
        for ranking in BY_CATEGORY:
            row: dict[str, Cell] = {
                "category": str(category),
                "photos": len(set(some.photo.tolist())),
                "ranking": LISTS[ranking],
                "area share": some.number(some.area),
            }
            for measure in MEASURES:
                for what, of in (("single", "single units"), ("set", "mean of 20")):
                    own = some.score(ranking, "own", measure, what)
                    row[f"{measure}, {of}"] = some.number(own)
                    if measure != "IoU / ceiling":
                        drawn = some.score(ranking, "random", measure, what)
                        row[f"{measure}, {of}, minus random"] = some.number(own - drawn)
            row["AUPRC, centre"] = some.number(some.score("", "centre", "AUPRC", "set"))
            row["paper"] = PAPER_IOU
            rows.append(row)
    return ResultTable(
        "E4.categories",
        "By category",
        tuple(rows[0]),
        tuple(rows),
        (
            "Categories with one photo or more; of a single photo there is no interval. With this "
            "many rows some intervals leave out 0 by chance.",
            SINGLE,
            MEAN_OF_20,
            FIELD,
            CEILING,
            TARGETS,
        ),
    )


def examples(compared: FieldTargets, study: Finished) -> ResultTable:
    """Return the units of all photos whose fields agree best with a mask."""
    ids = study.photos["id"].to_pylist()
    best = {r: compared.score(r, "own", "IoU", "best") for r in BY_CATEGORY}
    places = [
        (float(best[ranking][target]), ranking, target)
        for ranking in BY_CATEGORY
        for target in range(len(compared.photo))
        if not np.isnan(best[ranking][target])
    ]
    rows: list[dict[str, Cell]] = []
    for iou, ranking, target in sorted(places, key=lambda p: (-p[0], p[1], p[2]))[:EXAMPLES]:
        row = compared.rows[ranking, "own"][target]
        rows.append(
            {
                "photo": str(ids[compared.photo[target]]),
                "category": str(compared.category[target]),
                "word": KINDS[str(compared.kind[target])],
                "ranking": LISTS[ranking],
                "unit": str(compared.columns["best_unit"][row]),
                "IoU": Number(iou, n=1),
                "best of 20 random units": Number(
                    _finite(compared.score(ranking, "random", "IoU", "best")[target]), n=1
                ),
                "ceiling": Number(float(compared.ceiling[target]), n=1),
                "paper": PAPER_IOU,
            }
        )
    columns = (
        "photo", "category", "word", "ranking", "unit", "IoU", "best of 20 random units",
        "ceiling", "paper",
    )  # fmt: skip
    return ResultTable(
        "E4.examples",
        f"The {EXAMPLES} best units of all photos",
        columns,
        tuple(rows),
        (
            "Picked by their IoU from the first 20 units of both rankings over all photos: how "
            "good it gets, not how good it is. Single photos, so without intervals.",
        ),
    )


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def outcomes_table(study: Finished) -> ResultTable:
    """Return how many words could be compared, and why the others could not."""
    columns = study.table("e4_targets")
    kinds = {**KINDS, "photo": "none"}
    found = Counter(zip(columns["kind"].tolist(), columns["outcome"].tolist(), strict=True))
    rows: list[dict[str, Cell]] = [
        {"word": kinds[kind], "outcome": outcome, "words": count}
        for (kind, outcome), count in sorted(
            found.items(), key=lambda entry: (entry[0][0], -entry[1])
        )
    ]
    return ResultTable(
        "E4.targets",
        "Which words could be compared",
        ("word", "outcome", "words"),
        tuple(rows),
        (TARGETS,),
    )
