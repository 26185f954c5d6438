"""E2: the tokens of the top units against the photo and its captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from molyneux.neurons.attribution import VIEWS
from molyneux.neurons.decoding import read_units
from molyneux.neurons.unit_sets import RANKINGS
from molyneux.studies.e2_agreement import NAME
from molyneux.studies.e2_agreement.claims import CLAIMS
from molyneux.studies.e2_agreement.design import FIRST, MATCHED, SCORED
from molyneux.studies.e2_agreement.measure import (
    CONTROLS,
    SCORES,
    UNITS,
    Listed,
    control_units,
    listed_rows,
    places_through_lens,
    summed,
)
from molyneux.studies.experiment import (
    Experiment,
    Headline,
    Needs,
    PhotoRecord,
    Rows,
    TextScorers,
)
from molyneux.studies.texts import score_texts

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.studies.finished import Finished
    from molyneux.studies.results import Result
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.subject import Subject


READ = ("text", "target_place", "others_place")
READ_THROUGH = ("lens_target_place", "lens_others_place")


class Agreement(Experiment):
    """Whether decoded units agree with what people see."""

    name = NAME
    title = "Do the units say it?"
    claims = CLAIMS
    needs = Needs(captions=True)

    def tables(self) -> dict[str, pa.Schema]:
        """Return the tables measured on a photo."""
        return {"e2_units": UNITS, "e2_controls": CONTROLS}

    def measure(self, subject: Subject) -> Rows:
        """Return a photo's listed units and their controls, decoded."""
        if subject.word is None:
            return {"e2_units": [], "e2_controls": []}
        own: list[Listed] = []
        controls: list[Listed] = []
        for view in VIEWS:
            for ranking in RANKINGS:
                units = subject.ranking(view, ranking, subject.settings.units)
                own += listed_rows(subject, view, ranking, units)
                if ranking in MATCHED:
                    matched = subject.matched_by_norm(units)
                    controls += control_units(subject, view, ranking, "matched", matched)
                if (view, ranking) == ("patches", "top"):
                    random = subject.random(units, "E2 random")
                    controls += control_units(subject, view, ranking, "random", random)
        signed = sorted({(listed.unit, listed.sign) for listed in [*own, *controls]})
        token = subject.target.token_id
        texts = dict(
            zip(
                signed,
                read_units(
                    subject.model, signed, token, subject.captioner.decoding, subject.other_nouns
                ),
                strict=True,
            )
        )

        places = places_through_lens(subject, [*own, *controls])

        def rows(listed: Sequence[Listed]) -> list[dict[str, Any]]:
            return [
                one.row
                | dict(zip(READ, texts[one.unit, one.sign], strict=True))
                | dict(zip(READ_THROUGH, places(one), strict=True))
                for one in listed
            ]

        return {"e2_units": rows(own), "e2_controls": rows(controls)}

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the tables of scored texts."""
        return {"e2_scores": SCORES}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: TextScorers
    ) -> Rows:
        """Return how well a photo's units, its controls and another photo's units agree with it."""
        caption = {"rank": 0, "layer": None, "unit": None, "text": own["caption"] or ""}
        lists: dict[tuple[str | None, str, str], list[dict[str, Any]]] = {
            (None, "caption", "own"): [caption]
        }
        sources = {"own": own["e2_units"]}
        if partner["index"] != own["index"]:
            sources["shuffled"] = partner["e2_units"]
        for against, rows in sources.items():
            for row in rows or []:
                if row["ranking"] in SCORED:
                    lists.setdefault((row["view"], row["ranking"], against), []).append(row)
        for row in own["e2_controls"] or []:
            lists.setdefault((row["view"], row["ranking"], row["control"]), []).append(row)
        lists = {key: [r for r in rows if r["rank"] < FIRST] for key, rows in lists.items()}
        texts = [row["text"] for rows in lists.values() for row in rows]
        scores = score_texts(texts, own["captions"] or [], photo, scorers)
        return {
            "e2_scores": [
                {"view": view, "ranking": ranking, "against": against, **summed(rows, scores)}
                for (view, ranking, against), rows in lists.items()
            ]
        }

    def summarise(self, study: Finished) -> Result:
        """Return the paper's table with intervals, the differences, and the direct evidence."""
        from molyneux.studies.e2_agreement.summary import summarise

        return summarise(self, study)

    def headline(self, study: Finished) -> Headline:
        """Return the BERTScores of own minus another photo's units."""
        from molyneux.studies.e2_agreement.summary import headline

        return headline(study)

    def seconds(self, settings: StudySettings, photos: int) -> float:
        """Return 2 s a photo, and 5 s for its texts."""
        return 7.0 * photos
