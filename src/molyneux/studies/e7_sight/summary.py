"""What E7 concludes: gain, transplant and mediated share, each beside words that are not there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float

from molyneux.studies.e7_sight.captions import CLEAN, WRITTEN
from molyneux.studies.e7_sight.cells import Cells, difference, fraction, mean
from molyneux.studies.e7_sight.claims import Claims, claim_table
from molyneux.studies.e7_sight.layers import layer_figures, layer_tables
from molyneux.studies.e7_sight.sights import (
    ALL,
    CAPTION,
    CHANGE,
    NOT_SAID,
    PEOPLE,
    RANDOM,
    WORDS,
    Quantity,
    Sights,
    Units,
)
from molyneux.studies.e7_sight.tables import BESIDE, OWN, PERMUTED
from molyneux.studies.finished import Finished, per_photo
from molyneux.studies.results import Cell, Number, Result, ResultTable, over_photos
from molyneux.studies.results import difference as photo_difference

if TYPE_CHECKING:
    from molyneux.studies.experiment import Experiment


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
    "People's nouns: in 60 % of three or more human captions, three of a photo at most, said by "
    "the model or not, read after the prompt's text and an article. Beside each stands one of "
    "another photo's people, with the same article, which nobody wrote here."
)
_BALANCED = (
    " Every noun stands beside others as often as it is asked for, so that what a word gains from "
    "any change cancels."
)
_SETS = (
    "Sets are of units at the patches, all layers but the last: change, those whose activation is "
    "farthest from what it is in reference photos, chosen without any word; random, of the same "
    "layers. Transplant: what the word gains where the photo's values are written into another "
    "photo's patches. Mediated: what it loses where the set is put to the partners' mean. "
    "Fractions are of the gain, ratios of means over photos."
)
_PIXELS = (
    "Permuted: the image prompt of another photo stands in the place of this photo's, and the "
    "caption is that photo's. Of this photo's people's nouns nothing must be left, but for those "
    "that the other photo shows, too, which are left out there; the caption's noun stays as it "
    "is, which is why sight is not claimed from it."
)


def summarise(experiment: Experiment, study: Finished) -> Result:
    """Return E7's tables: its claims first."""
    sights = Sights(study)
    tables = [
        claim_table(_claims(sights), _left_out_share(study)),
        _gain_table(sights),
        _set_table(sights),
        _permuted_table(sights),
        *layer_tables(sights, _PARTNERS),
        _caption_table(study),
        _edit_table(sights),
        _left_out_table(study),
    ]
    return Result(experiment.name, experiment.title, tuple(tables), tuple(layer_figures(sights)))


def headline(study: Finished) -> dict[str, Float[np.ndarray, " photos"]]:
    """Return the transplant of people's nouns minus other photos', a number for each photo."""
    sights = Sights(study)
    own, beside = sights.pair("transplant", PEOPLE, CHANGE)
    with np.errstate(invalid="ignore"):
        means = [_over_partners(cells) for cells in (own, beside)]
    return {"change, 5 %: transplant of people's nouns, photo's - another's": means[0] - means[1]}


def _over_partners(cells: Cells) -> np.ndarray:
    there = ~np.isnan(cells)
    count = there.sum(axis=1)
    found = np.full(len(cells), np.nan)
    np.divide(np.where(there, cells, 0.0).sum(axis=1), count, out=found, where=count > 0)
    return found


def _claims(sights: Sights) -> Claims:
    return Claims(
        people=sights.minus_beside("transplant", PEOPLE, CHANGE),
        people_over_random=sights.minus_random(PEOPLE, over_beside=True),
        people_permuted=sights.minus_beside("transplant", PEOPLE, CHANGE, PERMUTED),
        people_over_permuted=sights.minus_permuted("transplant", PEOPLE, CHANGE),
        not_said=sights.minus_beside("transplant", NOT_SAID, CHANGE),
        not_said_over_random=sights.minus_random(NOT_SAID, over_beside=True),
        not_said_permuted=sights.minus_beside("transplant", NOT_SAID, CHANGE, PERMUTED),
        not_said_over_permuted=sights.minus_permuted("transplant", NOT_SAID, CHANGE),
        mediated=sights.minus_beside("mediated", PEOPLE, CHANGE),
        mediated_permuted=sights.minus_beside("mediated", PEOPLE, CHANGE, PERMUTED),
        mediated_over_permuted=sights.minus_permuted("mediated", PEOPLE, CHANGE),
        caption=sights.minus_beside("transplant", CAPTION, CHANGE),
        caption_over_random=sights.minus_random(CAPTION),
        caption_permuted=sights.minus_beside("transplant", CAPTION, CHANGE, PERMUTED),
        written=_written(sights.study, "random"),
        written_other=_written(sights.study, "other_values"),
    )


def _gain_table(sights: Sights) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for words in WORDS:
        own, beside = sights.pair("gain", words)
        rows.append(
            {
                "words": words.label,
                "gain": mean(own),
                "gain, words beside": mean(beside),
                "difference": difference(own, beside),
                "paper": None,
            }
        )
    return ResultTable(
        "E7.gain",
        "What the photo adds to words",
        ("words", "gain", "gain, words beside", "difference", "paper"),
        tuple(rows),
        (_PARTNERS, _human_note(sights), _CAPTION),
    )


def _human_note(sights: Sights) -> str:
    """Return what people's nouns are, and whether each is as often asked for as it is beside."""
    of_own = sights.gains.table.filter(pc.equal(sights.gains.table["pixels"], OWN))
    words = {
        kind: Counter(
            row["word"]
            for row in of_own.filter(pc.equal(of_own["kind"], kind))
            .group_by(["photo", "word", "beside"])
            .aggregate([])
            .to_pylist()
        )
        for kind in ("human", BESIDE["human"])
    }
    balanced = words["human"] == words[BESIDE["human"]]
    return _HUMAN + _BALANCED if balanced else _HUMAN


def _set_table(sights: Sights) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    measured = [units for units in sights.measured() if units.layers == ALL]
    for words in WORDS:
        gain = sights.cells("gain", words)
        for units in measured:
            put, put_beside = sights.pair("transplant", words, units)
            lost, lost_beside = sights.pair("mediated", words, units)
            control = Units("random", units.fraction, units.layers)
            is_own = units.name == "change" and control in measured
            rows.append(
                {
                    "words": words.label,
                    "set": units.name,
                    "share of units": f"{units.fraction:.0%}",
                    "transplant": mean(put),
                    "words beside": mean(put_beside),
                    "transplant minus beside": difference(put, put_beside),
                    "minus random units": difference(
                        put, sights.cells("transplant", words, control)
                    )
                    if is_own
                    else None,
                    "transplant of the gain": fraction(put, gain),
                    "mediated": mean(lost),
                    "mediated, beside": mean(lost_beside),
                    "mediated minus beside": difference(lost, lost_beside),
                    "mediated of the gain": fraction(lost, gain),
                    "paper": None,
                }
            )
    columns = (
        *("words", "set", "share of units", "transplant", "words beside"),
        *("transplant minus beside", "minus random units", "transplant of the gain"),
        *("mediated", "mediated, beside", "mediated minus beside", "mediated of the gain"),
        "paper",
    )
    return ResultTable(
        "E7.sets",
        "What units chosen without a word carry of it",
        columns,
        tuple(rows),
        (_PARTNERS, _SETS, _human_note(sights), _CAPTION),
    )


def _permuted_table(sights: Sights) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    asked: list[tuple[Quantity, Units | None]] = [("gain", None)]
    asked += [("transplant", CHANGE), ("transplant", RANDOM)]
    asked += [("mediated", CHANGE), ("mediated", RANDOM)]
    for words in WORDS:
        for what, units in asked:
            rows.append(
                {
                    "words": words.label,
                    "of": what,
                    "set": None if units is None else f"{units.name}, {units.fraction:.0%}",
                    "minus words beside, own pixels": sights.minus_beside(what, words, units),
                    "permuted": sights.minus_beside(what, words, units, PERMUTED),
                    "own minus permuted": sights.minus_permuted(what, words, units)
                    if words.kind == "human"
                    else None,
                    "words, own pixels": mean(sights.cells(what, words, units)),
                    "words, permuted": mean(sights.cells(what, words, units, PERMUTED)),
                }
            )
    return ResultTable(
        "E7.permuted",
        "The same words behind another photo's pixels",
        (
            *("words", "of", "set", "minus words beside, own pixels", "permuted"),
            *("own minus permuted", "words, own pixels", "words, permuted"),
        ),
        tuple(rows),
        (_PIXELS, _PARTNERS),
    )


def _named(study: Finished, name: str, column: str) -> np.ndarray:
    """Return of each photo whether its caption with a set names a noun; NaN where there is none."""
    columns = study.table("e7_captions")
    rows = np.flatnonzero(columns["set"] == name)
    values = np.array([np.nan if v is None else float(v) for v in columns[column][rows]])
    return per_photo(columns["photo"][rows], values, study.n_photos)


def _written(study: Finished, control: str) -> Number:
    """Return how many more captions name the noun with the set's values than with a control's."""
    own, other = (_named(study, name, "names_noun") for name in ("change", control))
    return photo_difference(own, other)


def _caption_table(study: Finished) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    labels = {"names_noun": "names the caption's noun", "names_human": "names a noun of people's"}
    for name in (CLEAN, *WRITTEN):
        row: dict[str, Cell] = {"written into another photo": name}
        for column, label in labels.items():
            own = _named(study, name, column)
            row[label] = over_photos(own)
            if name not in ("change", CLEAN):
                row[f"{label}: change minus this"] = photo_difference(
                    _named(study, "change", column), own
                )
        rows.append(row)
    return ResultTable(
        "E7.captions",
        "What is written behind another photo with this photo's values in its patches",
        (
            "written into another photo",
            *(x for label in labels.values() for x in (label, f"{label}: change minus this")),
            "paper",
        ),
        tuple(rows),
        (
            "Behind the first partner, which does not show the caption's noun: its caption as it "
            "is (none), with this photo's values of the 5 % of units that change most, of as many "
            "random ones, and with a third photo's values of the former. Shares of captions that "
            "name this photo's noun, or one of its people's, or a synonym.",
        ),
    )


def _edit_table(sights: Sights) -> ResultTable:
    rows: list[dict[str, Cell]] = []
    for units in sights.measured():
        wanted = {"set": units.name, "fraction": units.fraction, "layers": units.layers}
        at = sights.sets.where(pixels=OWN, **wanted)
        row: dict[str, Cell] = {
            "set": units.name,
            "share of units": f"{units.fraction:.0%}",
            "layers": units.layers,
        }
        for column, label in (
            ("units", "units"),
            ("edit_norm", "norm of the transplant"),
            ("mediated_norm", "norm of the mean put in"),
        ):
            values = sights.sets.numbers(column)
            cells = sights.sets.cells(at, values, sights.study.n_photos, 1)
            row[label] = over_photos(cells[:, 0])
        rows.append(row)
    return ResultTable(
        "E7.edits",
        "How large the edits are",
        (
            *("set", "share of units", "layers", "units", "norm of the transplant"),
            "norm of the mean put in",
        ),
        tuple(rows),
        (
            "Norm: over patches and layers, the root of the summed squares of what the set writes "
            "more or less into the residual stream.",
        ),
    )


def _reasons(study: Finished) -> Counter[tuple[str, str]]:
    columns = study.table("e7_left_out")
    return Counter(zip(columns["kind"].tolist(), columns["why"].tolist(), strict=True))


def _left_out_share(study: Finished) -> str:
    """Return, of photos that were left out as a whole, how many and why."""
    whole = [(why, n) for (kind, why), n in sorted(_reasons(study).items()) if kind == "photo"]
    return "; ".join(f"photos left out: {n} ({why})" for why, n in whole)


def _left_out_table(study: Finished) -> ResultTable:
    rows: list[dict[str, Cell]] = [
        {"left out": kind, "why": why, "how many": n}
        for (kind, why), n in sorted(_reasons(study).items())
    ]
    return ResultTable(
        "E7.left_out",
        "What was left out, and why",
        ("left out", "why", "how many"),
        tuple(rows),
        (
            "Photos, captions' first nouns (caption), people's nouns (human), and those of the "
            "latter that are not asked for behind another photo's pixels (permuted). Not left out, "
            "but with a partner's noun beside them: deranged.",
        ),
    )
