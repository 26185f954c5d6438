"""Captions written again with units switched off, and how far they move from the original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from molyneux.models.generation import continue_greedily
from molyneux.neurons.ablation import batches, silenced
from molyneux.neurons.unit import unit_mask
from molyneux.studies.e6_sets import Silenced, headline_steps
from molyneux.studies.experiment import PhotoRecord, Scorers
from molyneux.studies.subject import Subject
from molyneux.words.nouns import find_nouns

SETS = ("top", "specific", "other", "other_specific", "random")


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
    own: PhotoRecord, partner: PhotoRecord, scorers: Scorers
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
