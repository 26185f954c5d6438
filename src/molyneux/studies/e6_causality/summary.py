"""What E6 concludes of the word: tables and curves over photos, own sets beside their controls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from molyneux.statistics.bootstrap import median
from molyneux.studies.e6_causality.captions import caption_figure, caption_table, caption_values
from molyneux.studies.e6_causality.curves import Curves, curve_figures
from molyneux.studies.e6_causality.design import HEADLINE, INTERVENTIONS, SETS
from molyneux.studies.e6_causality.singles import single_table
from molyneux.studies.finished import Finished
from molyneux.studies.results import Cell, Number, Result, ResultTable, difference, over_photos

PLACES = (("patches", "all"), ("patches", "patches"), ("last", "all"))
"""Which view ranks the units, and at which positions they are silenced."""

PAIRS = (
    ("top", "other"),
    ("top", "random"),
    ("top_no_sinks", "random"),
    ("specific", "other_specific"),
    ("specific", "matched"),
    ("specific", "random"),
    ("specific_no_sinks", "other_specific"),
    ("interpretable", "random"),
)

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment
"""A photo's own set, and the control it is compared with."""

PAPER = {
    "top": "falls by 80 % on average (6400 units, 1.4 % of all)",
    "random": "largely unaffected",
}

EFFECTS = {
    "logprob_change": "log-probability (nats)",
    "margin_change": "margin over best rival (logits)",
    "unrelated_change": "unrelated nouns (nats)",
}
MEAN, MEDIAN = "probability left, mean", "probability left, median"
WHERE = ("view", "silenced", "units")

DEFINITIONS = (
    "Target: the first token of the caption's first noun; photos without a noun are left out. "
    "`view` is where units are scored, `silenced` the positions at which they are set to zero.",
    "`probability left`: the target's probability over its intact probability; the mean is over "
    "photos, and can be carried by a few photos in which the word becomes likelier, so the "
    "median stands beside it. Random sets are averaged over seeds within a photo first.",
    "`margin over best rival`: change of the target's logit minus that of the everyday noun "
    "(single tokens, nouns of the captions included) that the intact model holds likeliest after "
    "the target, one rival a photo.",
    "`unrelated nouns`: mean change of the log-probability of 20 everyday nouns that neither "
    "the captions (the model's and people's) nor the annotations of the photo have.",
    "Controls: `other` and `other_specific` are the lists of a reference photo with another noun; "
    "`matched` has for each specific unit the unit of its layer nearest in activation x row norm; "
    "`random` has units of the same layers as the top ones.",
    "Each photo has one other photo's lists as its control, drawn by its hash among those that the "
    "reference table keeps. Intervals are over photos, each with its draw: they do not count how "
    "few photos the controls come from.",
    "`_no_sinks`: sink units and sink patches left out of the ranking.",
)


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E6's tables and figures."""
    curves = Curves.of(study)
    steps = sorted({step for step in (HEADLINE, curves.last) if step})
    tables = [
        _word(curves, steps),
        _differences(curves, steps),
        _interventions(curves),
        caption_table(study),
        single_table(study),
        _grid(curves),
    ]
    figures = [
        figure
        for view, positions in PLACES
        for figure in curve_figures(curves, view, positions)
        if figure.series
    ]
    moved = caption_figure(study)
    figures += [moved] if moved.series else []
    return Result(experiment.name, experiment.title, tuple(tables), tuple(figures), DEFINITIONS)


def headline(study: Finished) -> dict[str, Float[np.ndarray, " photos"]]:
    """Return E6's headline numbers, one value per photo: what a replication repeats.

    All in the patch view with units silenced at all positions: what is left of the word, and the
    BERTScore of the caption with the original one. None where nothing was silenced.
    """
    if not study.has("e6_curves"):
        return {}
    curves = Curves.of(study)
    found: dict[str, Float[np.ndarray, " photos"]] = {}
    pairs = (("top", "random"), ("specific", "other_specific"))
    for step in sorted({HEADLINE, curves.last}):
        for own, control in pairs:
            left = [curves.values("patches", "all", name, step, "ratio") for name in (own, control)]
            found[f"{own}: probability left at {step} units"] = left[0]
            found[f"{own} - {control}: probability left at {step} units"] = left[0] - left[1]
    if study.has("e6_bertscore"):
        scores, step = study.table("e6_bertscore"), curves.last
        for own, control in pairs:
            moved, stayed = (
                caption_values(scores, name, step, "to_original", study.n_photos)
                for name in (own, control)
            )
            found[f"{own}: caption BERTScore at {step} units"] = moved
            found[f"{own} - {control}: caption BERTScore at {step} units"] = moved - stayed
    return found


def _paper(name: str, step: int, last: int, view: str) -> str | None:
    return PAPER.get(name) if step == last and view == "patches" else None


def _cells(
    curves: Curves,
    view: str,
    positions: str,
    name: str,
    step: int,
    *,
    intervention: str = "zero",
    seed: int | None = None,
) -> dict[str, Cell]:
    def values(column: str) -> Float[np.ndarray, " photos"]:
        return curves.values(
            view, positions, name, step, column, intervention=intervention, seed=seed
        )

    ratio = values("ratio")
    return {
        MEAN: over_photos(ratio),
        MEDIAN: over_photos(ratio, median),
        **{label: over_photos(values(column)) for column, label in EFFECTS.items()},
    }


def _measured(curves: Curves, steps: list[int]) -> Iterator[tuple[str, str, str, int]]:
    for view, positions in PLACES:
        for step in steps:
            for name in SETS:
                if step in curves.steps(view, positions, name):
                    yield view, positions, name, step


def _word(curves: Curves, steps: list[int]) -> ResultTable:
    rows = []
    for view, positions, name, step in _measured(curves, steps):
        rows.append(
            {
                "view": view,
                "silenced": positions,
                "units": step,
                "set": name,
                **_cells(curves, view, positions, name, step),
                "median rank": over_photos(
                    curves.values(view, positions, name, step, "rank"), median
                ),
                "paper": _paper(name, step, curves.last, view),
            }
        )
    columns = (*WHERE, "set", MEAN, MEDIAN, *EFFECTS.values(), "median rank", "paper")
    return ResultTable(
        "E6.word",
        "The word with units switched off",
        columns,
        tuple(rows),
        ("`median rank` is the target's place among all tokens, 1 the likeliest.",),
    )


def _differences(curves: Curves, steps: list[int]) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    columns = {"ratio": "probability left", **EFFECTS}
    for view, positions in PLACES:
        for step in steps:
            for own, control in PAIRS:
                cells: dict[str, Cell] = {}
                for column, label in columns.items():
                    cells[label] = difference(
                        curves.values(view, positions, own, step, column),
                        curves.values(view, positions, control, step, column),
                    )
                if any(isinstance(c, Number) and c.value is not None for c in cells.values()):
                    rows.append(
                        {
                            "view": view,
                            "silenced": positions,
                            "units": step,
                            "own": own,
                            "control": control,
                            **cells,
                        }
                    )
    return ResultTable(
        "E6.differences",
        "A photo's own units against controls",
        (*WHERE, "own", "control", *columns.values()),
        tuple(rows),
        (
            "Own minus control within each photo, then the mean over photos. Below 0 for "
            "`probability left`, log-probability and margin: the photo's own units matter more.",
            "`unrelated nouns` near 0: the own set harms other words as the control does.",
        ),
    )


def _interventions(curves: Curves) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for name in SETS:
        for kind in INTERVENTIONS:
            key = ("patches", "patches", kind, name, HEADLINE)
            replaced = ("patches", "patches", INTERVENTIONS[-1], name, HEADLINE)
            if key not in curves.rows or replaced not in curves.rows:
                continue
            # One random seed was replaced, so zeroing is shown for that seed too.
            seed = 0 if name == "random" else None
            cells = _cells(
                curves, "patches", "patches", name, HEADLINE, intervention=kind, seed=seed
            )
            rows.append({"set": name, "units": HEADLINE, "set to": kind, **cells})
    return ResultTable(
        "E6.interventions",
        "Zeroing the units, or giving them other activations",
        ("set", "units", "set to", MEAN, MEDIAN, *EFFECTS.values()),
        tuple(rows),
        (
            "Patch view, changed at the patches. `patch_mean`: the unit's mean over the photo's "
            "patches, which keeps how strongly it fires and loses where. `blank`: its activation "
            "at the same patch while an even picture of the photo's mean colour is shown. The "
            "paper sets units to zero, which many of them never are. `random`: the first seed.",
        ),
    )


def _grid(curves: Curves) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for view, positions in PLACES:
        for name in SETS:
            for step in curves.steps(view, positions, name):
                ratio = curves.values(view, positions, name, step, "ratio")
                lost = curves.values(view, positions, name, step, "logprob_change")
                rows.append(
                    {
                        "view": view,
                        "silenced": positions,
                        "units": step,
                        "share of all (%)": f"{100 * curves.share(step):.3f}",
                        "set": name,
                        MEAN: over_photos(ratio),
                        MEDIAN: over_photos(ratio, median),
                        EFFECTS["logprob_change"]: over_photos(lost),
                        "paper": _paper(name, step, curves.last, view),
                    }
                )
    columns = (
        *WHERE,
        "share of all (%)",
        "set",
        MEAN,
        MEDIAN,
        EFFECTS["logprob_change"],
        "paper",
    )
    return ResultTable("E6.grid", "Every step of the grid", columns, tuple(rows))
