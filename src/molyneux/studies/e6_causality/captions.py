"""Captions written again with units switched off, and how far they move from the original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from molyneux.models.generation import continue_greedily
from molyneux.neurons.ablation import batches, silenced
from molyneux.neurons.unit import unit_mask
from molyneux.neurons.unit_sets import DRAWN, QUOTED
from molyneux.studies.e6_causality.curves import line
from molyneux.studies.e6_causality.design import Silenced, headline_steps
from molyneux.studies.experiment import PhotoRecord, TextScorers
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.results import NONE, Cell, Figure, Number, ResultTable, over_photos
from molyneux.studies.subject import Subject
from molyneux.words.nouns import find_nouns

NO_HUMAN = "the photos have no human captions"


SETS = (*QUOTED, "other", "other_specific", *DRAWN)


def captioned_sets(chosen: Sequence[Silenced], grid: Sequence[int]) -> list[Silenced]:
    """Return the sets that captions are written without: 10 and 100 units and the last step of
    the patch view's, and one of the random controls."""
    steps = headline_steps(grid, 10)
    return [
        row
        for row in chosen
        if (row.view, row.positions) == ("patches", "all")
        and row.set in SETS
        and row.seed in (None, 0)
        and row.step in steps
    ]


def ablated_captions(subject: Subject, chosen: Sequence[Silenced]) -> list[dict[str, Any]]:
    """Return the greedy caption with each set off at all positions, throughout generation."""
    assert subject.word is not None
    model, prompt = subject.model, subject.prompt
    rows = []
    for part in batches(chosen, prompt.n_positions):
        masks = torch.stack(
            [unit_mask(list(row.units), model.n_layers, model.d_mlp) for row in part]
        )
        batch = prompt.repeated(len(part))
        with silenced(model, masks, prompt.patches, "all"):
            written = continue_greedily(model, batch)
        for row, ids in zip(part, written, strict=True):
            text = model.decode(ids).strip()
            nouns = {noun.lemma for noun in find_nouns(text)}
            rows.append(
                {
                    "set": row.set,
                    "step": row.step,
                    "text": text,
                    "has_noun": subject.word.lemma in nouns,
                }
            )
    return rows


def score_captions(
    own: PhotoRecord, partner: PhotoRecord, scorers: TextScorers
) -> list[dict[str, Any]]:
    """Return BERTScore F1 of ablated captions with the original one and with the human ones.

    The set `intact` is the original caption; `unrelated` another photo's, which is where a
    caption that has nothing left of the photo would stand (missing where the partner is the photo
    itself). `to_human` is the mean over the human captions, None where there are none; without a
    backbone both are None.
    """
    written = list(own["e6_captions"] or [])
    if not written:
        return []
    human = list(own["captions"] or [])
    labels = [(row["set"], row["step"]) for row in written]
    texts = [row["text"] for row in written]
    more = {"intact": own["caption"]}
    if partner["index"] != own["index"]:
        more["unrelated"] = partner["caption"] or ""
    labels += [(name, 0) for name in more]
    texts += more.values()
    if scorers.bert is None:
        nothing = {"to_original": None, "to_human": None}
        return [{"set": name, "step": step, **nothing} for name, step in labels]
    table = scorers.bert.f1(texts, [own["caption"], *human])
    return [
        {
            "set": name,
            "step": step,
            "to_original": float(values[0]),
            "to_human": float(values[1:].mean()) if human else None,
        }
        for (name, step), values in zip(labels, table, strict=True)
    ]


def caption_values(
    columns: Columns, name: str, step: int, column: str, n_photos: int
) -> Float[np.ndarray, " photos"]:
    """Return a column of a set's captions per photo; NaN where there is none."""
    rows = np.flatnonzero((columns["set"] == name) & (columns["step"] == step))
    values = np.array([np.nan if v is None else float(v) for v in columns[column][rows]])
    return per_photo(columns["photo"][rows], values, n_photos)


def _steps(columns: Columns, name: str) -> list[int]:
    return sorted({int(step) for step in columns["step"][columns["set"] == name]})


def caption_table(study: Finished) -> ResultTable:
    """Return BERTScores of ablated captions, and how many keep the noun."""
    scores, captions = study.table("e6_bertscore"), study.table("e6_captions")
    no_bert = study.manifest.get("bert_missing")
    rows: list[dict[str, Cell]] = []
    for name in ("intact", *SETS, "unrelated"):
        for step in _steps(scores, name):
            to_human = caption_values(scores, name, step, "to_human", study.n_photos)
            to_original = caption_values(scores, name, step, "to_original", study.n_photos)
            kept = caption_values(captions, name, step, "has_noun", study.n_photos)
            rows.append(
                {
                    "set": name,
                    "units": step,
                    "BERTScore with the original": over_photos(to_original, why=no_bert or NONE),
                    "BERTScore with human captions": over_photos(to_human, why=no_bert or NO_HUMAN),
                    "noun kept": over_photos(kept) if name in SETS else None,
                }
            )
    return ResultTable(
        "E6.captions",
        "The caption with units switched off",
        (
            "set",
            "units",
            "BERTScore with the original",
            "BERTScore with human captions",
            "noun kept",
        ),
        tuple(rows),
        (
            "Greedy captions with units of the patch view silenced at all positions, throughout "
            "generation; `random` is one seed. `intact` is the original caption, `unrelated` the "
            "original caption of another photo: where a caption stands that has lost the photo.",
            f"BERTScore: left out here: {no_bert}."
            if no_bert
            else f"BERTScore F1 ({study.manifest.get('bertscore')}); with human captions, the mean "
            "over them.",
            "`noun kept`: share of captions that still have the target noun.",
        ),
    )


def caption_figure(study: Finished) -> Figure:
    """Return the BERTScore with the original caption along the steps, from 1 unit on.

    It has no lines where captions were not compared.
    """
    scores = study.table("e6_bertscore")

    def at(name: str, step: int) -> Number:
        return over_photos(caption_values(scores, name, step, "to_original", study.n_photos))

    lines: list[tuple[str, list[int], list[Number]]] = []
    for name in SETS:
        steps = _steps(scores, name)
        cells = [at(name, step) for step in steps]
        if any(cell.value is not None for cell in cells):
            lines.append((name, steps, cells))
    ends = sorted({step for _, steps, _ in lines for step in steps})
    if ends and _steps(scores, "unrelated"):
        lines.append(("unrelated caption", ends, [at("unrelated", 0)] * len(ends)))
    return Figure(
        "E6.bertscore",
        "BERTScore of the ablated caption with the original one",
        "lines",
        "units switched off",
        "BERTScore F1",
        tuple(line(name, steps, cells) for name, steps, cells in lines),
        ("Patch view, all positions, throughout generation. Bands: 95 % over photos.",),
        log_x=True,
    )
