"""E6, *Do they cause it?*: what is left of a photo's word when units are switched off.

Schwettmann et al. 2023, sections 3.3 and 4.3: the word's probability and the caption along a grid
of set sizes. Beside the paper's random units: another photo's units, units matched in strength,
silencing at the patches alone, replacing instead of zeroing, and what happens to other words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from molyneux.explain.curves import ablation_grid
from molyneux.neurons.ablation import Positions, ablated_logits
from molyneux.neurons.unit import Unit
from molyneux.studies.e6_captions import ablated_captions, captioned_sets, score_captions
from molyneux.studies.e6_effects import Measured, effects
from molyneux.studies.e6_replacement import blank_activation, replaced_logits
from molyneux.studies.e6_sets import HEADLINE, Silenced, design
from molyneux.studies.experiment import Experiment, PhotoRecord, Rows, Scorers
from molyneux.studies.subject import Subject
from molyneux.studies.tables import Result

if TYPE_CHECKING:
    from torch import Tensor

    from molyneux.studies.finished import Finished

SINGLES = 10
"""Units of each ranking that are switched off one at a time."""

POSITIONS: tuple[Positions, Positions] = ("all", "patches")
REPLACED = ("top", "specific", "other_specific", "random")

CURVES = pa.schema(
    [
        ("view", pa.string()),
        ("positions", pa.string()),
        ("intervention", pa.string()),
        ("set", pa.string()),
        ("seed", pa.int32()),
        ("step", pa.int32()),
        ("share", pa.float64()),
        ("probability", pa.float64()),
        ("ratio", pa.float64()),
        ("logprob_change", pa.float64()),
        ("margin_change", pa.float64()),
        ("unrelated_change", pa.float64()),
        ("rank", pa.int32()),
    ]
)
"""A silenced set a row; `intact` is the empty one, at step 0 of each of the positions."""

CAPTIONS = pa.schema(
    [
        ("set", pa.string()),
        ("step", pa.int32()),
        ("text", pa.string()),
        ("has_noun", pa.bool_()),
    ]
)
UNITS = pa.schema(
    [
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("effect", pa.float64()),
        ("total", pa.float64()),
    ]
)
BERTSCORE = pa.schema(
    [
        ("set", pa.string()),
        ("step", pa.int32()),
        ("to_original", pa.float64()),
        ("to_human", pa.float64()),
    ]
)


class Causality(Experiment):
    """E6: the word and the caption without the units."""

    name = "E6"
    title = "Do they cause it? Words and captions with units switched off"

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables of silenced sets, of ablated captions and of single units."""
        return {"e6_curves": CURVES, "e6_captions": CAPTIONS, "e6_units": UNITS}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's rows: none without a noun in its caption."""
        if subject.word is None:
            return {name: [] for name in self.tables()}
        model = subject.model
        grid = subject.settings.grid or tuple(ablation_grid("full", model.n_units))
        chosen = design(subject, grid)
        singles = single_units(subject)
        alone = list(dict.fromkeys((unit,) for _, _, unit in singles))
        logits: dict[tuple[str, tuple[Unit, ...]], Tensor] = {}
        for positions in POSITIONS:
            wanted = [_sorted(row.units) for row in chosen if row.positions == positions]
            more = alone if positions == "patches" else []
            logits |= _silence(subject, positions, [(), *wanted, *more])
        intact = logits["all", ()]
        at = Measured.of(subject, intact)
        curves = []
        for positions in POSITIONS:
            values = effects(logits[positions, ()], logits[positions, ()], at)
            row = Silenced("patches", positions, "intact", None, 0, ())
            curves.append(self._row(subject, row, "zero", values))
        for row in chosen:
            found = logits[row.positions, _sorted(row.units)]
            values = effects(found, logits[row.positions, ()], at)
            curves.append(self._row(subject, row, "zero", values))
        curves += self._replaced(subject, chosen, logits["patches", ()], at)
        total = subject.scores("patches").total[0]
        lost = logits["patches", ()][at.target]
        units = [
            {
                "ranking": ranking,
                "rank": rank,
                "layer": unit.layer,
                "unit": unit.unit,
                "effect": float(lost - logits["patches", (unit,)][at.target]),
                "total": float(total[unit.layer, unit.unit]),
            }
            for ranking, rank, unit in singles
        ]
        captions = ablated_captions(subject, captioned_sets(chosen, grid))
        return {"e6_curves": curves, "e6_captions": captions, "e6_units": units}

    def _replaced(
        self, subject: Subject, chosen: list[Silenced], intact: Tensor, at: Measured
    ) -> list[dict[str, Any]]:
        rows = [
            row
            for row in chosen
            if (row.view, row.positions, row.step) == ("patches", "patches", HEADLINE)
            and row.set in REPLACED
            and row.seed in (None, 0)
        ]
        if not rows:
            return []
        activation = subject.attribution.activation.cpu()
        values = {
            "patch_mean": activation.mean(dim=1, keepdim=True).expand_as(activation),
            "blank": blank_activation(subject),
        }
        tried = [(kind, row) for kind in values for row in rows]
        found = replaced_logits(
            subject.model, subject.until, [(row.units, values[kind]) for kind, row in tried]
        )
        return [
            self._row(subject, row, kind, effects(logits, intact, at))
            for (kind, row), logits in zip(tried, found, strict=True)
        ]

    def _row(
        self, subject: Subject, row: Silenced, intervention: str, values: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "view": row.view,
            "positions": row.positions,
            "intervention": intervention,
            "set": row.set,
            "seed": row.seed,
            "step": row.step,
            "share": row.step / subject.model.n_units,
            **values,
        }

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the table of captions compared with the original and the human ones."""
        return {"e6_bertscore": BERTSCORE}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: Scorers
    ) -> Rows:
        """Return the BERTScores of a photo's ablated captions."""
        return {"e6_bertscore": score_captions(own, partner, scorers)}

    def summarise(self, study: Finished) -> Result:
        """Return tables and curves over photos."""
        from molyneux.studies.e6_summary import summarise

        return summarise(study, self.title)


def single_units(subject: Subject) -> list[tuple[str, int, Unit]]:
    """Return the units that are switched off one at a time: ranking, place in it, unit."""
    lists = {name: subject.ranking("patches", name, SINGLES) for name in ("top", "specific")}
    for other in subject.others[:1]:
        lists["other_specific"] = other.units["patches", "specific"][:SINGLES]
    return [
        (name, place, unit) for name, units in lists.items() for place, unit in enumerate(units)
    ]


def _sorted(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    return tuple(sorted(units))


def _silence(
    subject: Subject, positions: Positions, sets: list[tuple[Unit, ...]]
) -> dict[tuple[str, tuple[Unit, ...]], Tensor]:
    """Return the logits without each distinct set; the same units in another order are one set."""
    tried = list(dict.fromkeys(sets))
    logits = ablated_logits(subject.model, subject.until, tried, positions=positions)
    return {(positions, units): row for units, row in zip(tried, logits, strict=True)}
