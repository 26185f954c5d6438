"""What E7 concludes: gain, transplant and mediated share, each beside words that are not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from molyneux.statistics.bootstrap import Estimate
from molyneux.statistics.crossed import crossed_difference, crossed_mean, crossed_ratio
from molyneux.studies.finished import Columns, Finished
from molyneux.studies.results import DRAWS, Cell, Number, Result, ResultTable

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment

NONE = "no photo has one"
NO_GAIN = "these photos add nothing to these words"
_BESIDE = {"caption": "absent", "human": "deranged"}
_PARTNERS = (
    "In nats, of the word's first token. Compared with photos of the reference table that show "
    "neither the word nor a synonym; intervals draw photos and these partners, both. A photo "
    "counts once, with the mean of its words."
)
_CAPTION = (
    "The caption's first noun is read after the caption so far. It would be carried as well if "
    "every photo were given another one's pixels: that it is true is for people's nouns to say. "
    "Beside it stand everyday nouns, related to nothing that anybody named here, that are as "
    "likely behind the partners; they were chosen before the photo was looked at."
)
_HUMAN = (
    "People's nouns: in 60 % of three or more human captions, said by the model or not, read "
    "after the prompt's text and an article. Beside each stands another photo's, which nobody "
    "wrote here."
)
_SETS = (
    "Sets are of units at the patches, all layers but the last: change, those whose activation is "
    "farthest from what it is in reference photos, chosen without any word; random, of the same "
    "layers. Transplant: what the word gains where the photo's values are written into another "
    "photo's patches. Mediated: what it loses where the set is put to the partners' mean. "
    "Fractions are of the gain, ratios of means over photos."
)


@dataclass(frozen=True)
class Words:
    """Some of a study's words, with the kind of those beside them.

    Attributes:
        label: as people read it.
        said: only those that the caption says, or does not; all for None.
    """

    label: str
    kind: str
    said: bool | None = None

    def rows(self, columns: Columns, *, beside: bool = False) -> Bool[np.ndarray, " rows"]:
        """Return which rows of a table are of these words, or of those beside them."""
        wanted = _BESIDE[self.kind] if beside else self.kind
        return np.array(
            [
                kind == wanted and (self.said is None or said == self.said)
                for kind, said in zip(columns["kind"], columns["said"], strict=True)
            ],
            dtype=bool,
        )


WORDS = (
    Words("people's nouns", "human"),
    Words("people's nouns, said", "human", True),
    Words("people's nouns, not said", "human", False),
    Words("the caption's first noun", "caption"),
)


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E7's tables."""
    tables = (_gain_table(study), _set_table(study))
    return Result(experiment.name, experiment.title, tables)


def _per_photo(
    study: Finished, columns: Columns, rows: Bool[np.ndarray, " rows"], values: np.ndarray
) -> Float[np.ndarray, "photos partners"]:
    """Return each photo's mean over its words, by partner; NaN where it has none."""
    total = np.zeros((study.n_photos, values.shape[1]))
    count = np.zeros_like(total)
    for row in np.flatnonzero(rows):
        there = ~np.isnan(values[row])
        total[columns["photo"][row], there] += values[row, there]
        count[columns["photo"][row], there] += 1
    found = np.full(total.shape, np.nan)
    np.divide(total, count, out=found, where=count > 0)
    return found


def _cells(column: np.ndarray) -> Float[np.ndarray, "rows partners"]:
    """Return a column of lists as a table; a column of numbers as a table of one column."""
    if len(column) and isinstance(column[0], list | np.ndarray):
        return np.array([np.asarray(one, dtype=float) for one in column])
    return np.asarray(column, dtype=float).reshape(len(column), -1 if len(column) else 1)


def _gains(columns: Columns) -> Float[np.ndarray, "rows partners"]:
    clean: np.ndarray = np.asarray(columns["clean"], dtype=float)
    return np.asarray(clean[:, None] - _cells(columns["behind"]))


def _number(estimate: Callable[[], Estimate], why: str = NONE) -> Number:
    """Return an estimate as a table's number; missing where no photo has what it takes."""
    try:
        found = estimate()
    except ValueError:
        return Number.missing(why)
    low, high = (end if np.isfinite(end) else None for end in (found.low, found.high))
    return Number(found.value, low, high, found.n)


def _mean(cells: np.ndarray) -> Number:
    return _number(lambda: crossed_mean(cells, draws=DRAWS))


def _difference(own: np.ndarray, beside: np.ndarray) -> Number:
    return _number(lambda: crossed_difference(own, beside, draws=DRAWS))


def _fraction(part: np.ndarray, gain: np.ndarray) -> Number:
    return _number(lambda: crossed_ratio(part, gain, draws=DRAWS), NO_GAIN)


def _gain_table(study: Finished) -> ResultTable:
    columns = study.table("e7_gains")
    gains = _gains(columns)
    rows: list[dict[str, Cell]] = []
    for words in WORDS:
        own, beside = (
            _per_photo(study, columns, words.rows(columns, beside=other), gains)
            for other in (False, True)
        )
        rows.append(
            {
                "words": words.label,
                "gain": _mean(own),
                "gain, words beside": _mean(beside),
                "difference": _difference(own, beside),
            }
        )
    return ResultTable(
        "E7.gain",
        "What the photo adds to words",
        ("words", "gain", "gain, words beside", "difference"),
        tuple(rows),
        (_PARTNERS, _HUMAN, _CAPTION),
    )


def _set_table(study: Finished) -> ResultTable:
    gained, columns = study.table("e7_gains"), study.table("e7_sets")
    gains = _gains(gained)
    transplanted = _cells(columns["transplanted"])
    mediated = _cells(columns["mediated"])
    layers = [None if one is None else tuple(int(k) for k in one) for one in columns["layers"]]
    kinds = list(dict.fromkeys(zip(columns["set"], columns["fraction"], layers, strict=True)))
    rows: list[dict[str, Cell]] = []
    for words in WORDS:
        gain = _per_photo(study, gained, words.rows(gained), gains)
        for name, fraction, of in kinds:
            in_set = np.array(
                [
                    (one, share, at) == (name, fraction, of)
                    for one, share, at in zip(
                        columns["set"], columns["fraction"], layers, strict=True
                    )
                ],
                dtype=bool,
            )
            own, beside = (words.rows(columns, beside=other) & in_set for other in (False, True))
            put, put_beside = (_per_photo(study, columns, at, transplanted) for at in (own, beside))
            lost, lost_beside = (
                _per_photo(study, columns, at, mediated)[:, 0] for at in (own, beside)
            )
            rows.append(
                {
                    "words": words.label,
                    "set": str(name),
                    "share of units": f"{fraction:.0%}",
                    "layers": "all" if of is None else f"L{of[0]} to L{of[-1]}",
                    "transplant": _mean(put),
                    "words beside": _mean(put_beside),
                    "transplant minus beside": _difference(put, put_beside),
                    "of the gain": _fraction(put, gain),
                    "mediated": _mean(lost),
                    "mediated minus beside": _difference(lost, lost_beside),
                    "mediated of the gain": _fraction(lost, gain),
                }
            )
    columns_ = (
        *("words", "set", "share of units", "layers", "transplant", "words beside"),
        *("transplant minus beside", "of the gain", "mediated", "mediated minus beside"),
        "mediated of the gain",
    )
    return ResultTable(
        "E7.sets",
        "What units chosen without a word carry of it",
        columns_,
        tuple(rows),
        (_PARTNERS, _SETS, _HUMAN, _CAPTION),
    )
