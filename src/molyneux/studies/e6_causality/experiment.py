"""E6: words and captions with units switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from molyneux.neurons.ablation import Intervention, ablation_grid, intervened_logits
from molyneux.neurons.unit import Unit
from molyneux.studies.e6_causality import NAME
from molyneux.studies.e6_causality.captions import ablated_captions, captioned_sets, score_captions
from molyneux.studies.e6_causality.claims import CLAIMS
from molyneux.studies.e6_causality.design import HEADLINE, Silenced, design
from molyneux.studies.e6_causality.measure import (
    BERTSCORE,
    CAPTIONS,
    CURVES,
    POSITIONS,
    REPLACED,
    UNITS,
    Measured,
    blank_activation,
    effects,
    in_order,
    silence,
)
from molyneux.studies.e6_causality.singles import single_units
from molyneux.studies.experiment import Experiment, Headline, PhotoRecord, Rows, TextScorers
from molyneux.studies.results import Result
from molyneux.studies.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from molyneux.studies.finished import Finished
    from molyneux.studies.settings import StudySettings


class Causality(Experiment):
    """E6: the word and the caption without the units."""

    name = NAME
    title = "Do they cause it? Words and captions with units switched off"
    claims = CLAIMS

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
            wanted = [in_order(row.units) for row in chosen if row.positions == positions]
            more = alone if positions == "patches" else []
            logits |= silence(subject, positions, [(), *wanted, *more])
        intact = logits["all", ()]
        at = Measured.of(subject, intact)
        curves = []
        for positions in POSITIONS:
            values = effects(logits[positions, ()], logits[positions, ()], at)
            row = Silenced("patches", positions, "intact", None, 0, ())
            curves.append(self._row(subject, row, "zero", values))
        for row in chosen:
            found = logits[row.positions, in_order(row.units)]
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
        given = [Intervention(row.units, "patches", values[kind]) for kind, row in tried]
        found = intervened_logits(subject.model, subject.until, given)
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
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: TextScorers
    ) -> Rows:
        """Return the BERTScores of a photo's ablated captions."""
        return {"e6_bertscore": score_captions(own, partner, scorers)}

    def summarise(self, study: Finished) -> Result:
        """Return tables and curves over photos."""
        from molyneux.studies.e6_causality.summary import summarise

        return summarise(self, study)

    def headline(self, study: Finished) -> Headline:
        """Return what is left of the word, and how far the caption moved."""
        from molyneux.studies.e6_causality.summary import headline

        return headline(study)

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 30 s a photo, nearly all of it 272 forward rows."""
        return 30.0 * photos
