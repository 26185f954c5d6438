"""E2: do the units that made the model say a word say it themselves, in what they write?

Schwettmann et al. 2023, section 2.2 and Table 2. The first units of a ranking are decoded, each to
one text of ten tokens, and compared with the human captions and the photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from molyneux.adapters.language_model import LanguageModel
from molyneux.models.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.attribution import VIEWS, View
from molyneux.neurons.decoding import unit_logits
from molyneux.neurons.unit import Unit
from molyneux.statistics.permutations import best_of_k_expectation
from molyneux.studies.experiment import Experiment, PhotoRecord, Rows, Scorers
from molyneux.studies.subject import RANKINGS
from molyneux.studies.text_scores import TextScores, score_texts, text_of

if TYPE_CHECKING:
    from PIL import Image

    from molyneux.studies.finished import Finished
    from molyneux.studies.subject import Subject
    from molyneux.studies.tables import Result

TOKENS = 10
_UNITS = 256  # decoded at once: 50 MB of logits
FIRST = 50  # of a list's units are compared with captions: the paper's maxima run over about 50
SCORED = RANKINGS
MATCHED = ("top", "specific")
BEST_OF = (5, 10, 50)

UNITS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("score", pa.float64()),
        ("total", pa.float64()),
        ("specific", pa.float64()),
        ("sink", pa.bool_()),
        ("interpretable", pa.bool_()),
        ("peak_patch", pa.int32()),
        ("target_place", pa.float64()),
        ("text", pa.string()),
    ]
)
"""A row per listed unit.

`rank` 0 is the first; `sign` is the direction written at the peak (of the patches that the ranking
looks at), in which the unit is decoded, 0 as if positive; `specific` is null where such a unit
cannot rank; `peak_patch` is null in the view `last`; `target_place` is the share of the vocabulary
that the unit raises above the target, 0 where the target is its first token.
"""

CONTROLS = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("control", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("sign", pa.int32()),
        ("target_place", pa.float64()),
        ("text", pa.string()),
    ]
)
"""A row per control unit: `matched` or `random`, for the unit of that rank in `e2_units`."""

SCORES = pa.schema(
    [
        ("view", pa.string()),
        ("ranking", pa.string()),
        ("against", pa.string()),
        ("units", pa.int32()),
        *(
            (f"{metric}_{figure}", pa.float64())
            for metric in ("bert", "clip")
            for figure in ("max", "mean", "median", *(f"best_{k}" for k in BEST_OF))
        ),
        ("best_unit", pa.string()),
        ("best_text", pa.string()),
    ]
)
"""A row per view, ranking and whose texts: `own`, `shuffled` (the units of another photo),
`matched`, `random`; and the model's caption, in the ranking `caption` without a view. The best
unit is that of the largest BERTScore (of the largest CLIPScore where there are no captions)."""


@dataclass(frozen=True)
class Listed:
    """A unit in a list: what a row of a table is made of, before it is decoded."""

    unit: Unit
    sign: int
    row: dict[str, Any]


class Agreement(Experiment):
    """Whether decoded units agree with what people see."""

    name = "E2"
    title = "Do the units say it?"

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
                own += _listed(subject, view, ranking, units)
                if ranking in MATCHED:
                    matched = subject.matched_by_norm(units)
                    controls += _controls(subject, view, ranking, "matched", matched)
                if (view, ranking) == ("patches", "top"):
                    random = subject.random(units, "E2 random")
                    controls += _controls(subject, view, ranking, "random", random)
        signed = sorted({(listed.unit, listed.sign) for listed in [*own, *controls]})
        token = subject.target.token_id
        texts = dict(
            zip(
                signed,
                read_units(subject.model, signed, token, subject.captioner.decoding),
                strict=True,
            )
        )

        def rows(listed: Sequence[Listed]) -> list[dict[str, Any]]:
            return [
                one.row
                | dict(zip(("text", "target_place"), texts[one.unit, one.sign], strict=True))
                for one in listed
            ]

        return {"e2_units": rows(own), "e2_controls": rows(controls)}

    def text_tables(self) -> dict[str, pa.Schema]:
        """Return the tables of scored texts."""
        return {"e2_scores": SCORES}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Image.Image, scorers: Scorers
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
                {"view": view, "ranking": ranking, "against": against, **_summed(rows, scores)}
                for (view, ranking, against), rows in lists.items()
            ]
        }

    def summarise(self, study: Finished) -> Result:
        """Return the paper's table with intervals, the differences, and the direct evidence."""
        from molyneux.studies.e2_summary import summarise_agreement

        return summarise_agreement(self.title, study)


def _listed(subject: Subject, view: View, ranking: str, units: list[Unit]) -> list[Listed]:
    if not units:
        return []
    scores = subject.scores(view, without_sinks=ranking.endswith("_no_sinks"))
    reference = subject.facts.reference
    at = ([u.layer for u in units], [u.unit for u in units])
    score = scores.score[0].cpu()
    sign = scores.sign[0].cpu()
    columns = {
        "score": score[at],
        "total": scores.total[0].cpu()[at],
        "specific": reference.specific(score, view)[at],
        "sink": reference.sinks(view)[at],
        "interpretable": reference.interpretable_as(sign)[at],
        "peak_patch": scores.peak_patch[0].cpu()[at],
        "sign": sign[at],
    }
    values = {name: column.tolist() for name, column in columns.items()}
    listed = []
    for rank, unit in enumerate(units):
        row = {name: column[rank] for name, column in values.items()}
        if row["specific"] == -np.inf:
            row["specific"] = None
        if view == "last":
            row["peak_patch"] = None
        place = {"view": view, "ranking": ranking, "rank": rank}
        listed.append(
            Listed(unit, row["sign"] or 1, {**place, "layer": unit.layer, "unit": unit.unit, **row})
        )
    return listed


def _controls(
    subject: Subject, view: View, ranking: str, control: str, drawn: Sequence[Unit | None]
) -> list[Listed]:
    found = [(rank, unit) for rank, unit in enumerate(drawn) if unit is not None]
    signs = subject.signs(view, [unit for _, unit in found])
    return [
        Listed(
            unit,
            sign or 1,
            {
                "view": view,
                "ranking": ranking,
                "control": control,
                "rank": rank,
                "layer": unit.layer,
                "unit": unit.unit,
                "sign": sign,
            },
        )
        for (rank, unit), sign in zip(found, signs, strict=True)
    ]


@torch.no_grad()
def read_units(
    model: LanguageModel,
    signed: Sequence[tuple[Unit, int]],
    token_id: int,
    decoding: Decoding = DEFAULT_DECODING,
) -> list[tuple[str, float]]:
    """Return each unit's text, and the share of the vocabulary it raises above a token.

    The same as `decode_units` and `token_ranks`, from one product with the unembedding.
    """
    unembedding = model.unembedding().float()
    texts: dict[int, str] = {}
    found: list[tuple[str, float]] = []
    for start in range(0, len(signed), _UNITS):
        part = signed[start : start + _UNITS]
        units = [unit for unit, _ in part]
        signs = [sign if decoding.written else 1 for _, sign in part]
        logits = unit_logits(model, units, signs, decoding.final_norm, decoding.bias, unembedding)
        raised = logits.topk(min(TOKENS, logits.shape[1]), dim=1).indices.tolist()
        above = (logits > logits[:, token_id, None]).sum(dim=1)
        for tokens, place in zip(raised, above.tolist(), strict=True):
            for token in tokens:
                if token not in texts:
                    texts[token] = model.token_text(token)
            text = text_of(texts[token] for token in tokens)
            found.append((text, place / logits.shape[1]))
    return found


def _summed(rows: Sequence[dict[str, Any]], scores: TextScores) -> dict[str, Any]:
    """Return one list's columns of `SCORES`: what is made of the scores of its texts."""
    found: dict[str, Any] = {"units": len(rows)}
    each = [scores.of(row["text"]) for row in rows]
    best: int | None = None
    for metric in ("bert", "clip"):
        known = [one[metric] for one in each if one[metric] is not None]
        if not known:
            continue
        values = np.array(known)
        found[f"{metric}_max"] = float(values.max())
        found[f"{metric}_mean"] = float(values.mean())
        found[f"{metric}_median"] = float(np.median(values))
        for k in BEST_OF:
            if k <= len(values):
                found[f"{metric}_best_{k}"] = best_of_k_expectation(values, k)
        if best is None:
            best = int(values.argmax())
    if best is not None:
        row = rows[best]
        found["best_text"] = row["text"]
        if row["layer"] is not None:
            sign = "-" if row["sign"] < 0 else ""
            found["best_unit"] = f"{Unit(row['layer'], row['unit'])}{sign}"
    return found
