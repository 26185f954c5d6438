"""How good a projection is on held-out photos: caption loss, and whether it names what is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.models.generation import continue_greedily
from molyneux.training.loop import TrainingSet
from molyneux.training.loss import caption_ids, caption_loss
from molyneux.vision.layout import Layout, lay_out
from molyneux.words.nouns import find_nouns

BATCH = 20
SHOWN = 6


def first_noun(caption: str) -> str | None:
    """Return the caption's first noun, singular, or None."""
    nouns = find_nouns(caption)
    return nouns[0].lemma if nouns else None


def noun_set(captions: list[str] | tuple[str, ...]) -> set[str]:
    """Return all nouns of some captions, singular."""
    return {noun.lemma for caption in captions for noun in find_nouns(caption)}


def held_out_evaluation(
    model: LanguageModel, layout: Layout, data: TrainingSet
) -> Callable[[nn.Linear], dict[str, Any]]:
    """Return a function that scores a projection on held-out photos.

    It gives `loss_held_out` (nats per token, the mean over photos of one caption each),
    `hit` (share of photos whose greedy caption's first noun is among the nouns of the photo's
    captions) and a few captions to read.
    """
    usable = data.usable()
    captions = [data.examples[i].captions for i in usable]
    features = torch.from_numpy(data.features[data.first[usable]].astype(np.float32))

    @torch.no_grad()
    def evaluate(linear: nn.Linear) -> dict[str, Any]:
        losses, written = [], []
        for start in range(0, len(usable), BATCH):
            part = slice(start, start + BATCH)
            prompts = linear(features[part].to(model.device))
            texts = [texts[len(texts) // 2] for texts in captions[part]]
            loss = caption_loss(model, layout, prompts, caption_ids(model, texts))
            losses.append((float(loss), len(texts)))
            rows = continue_greedily(model, lay_out(model, layout, prompts), max_tokens=12)
            written += [model.decode(row).strip() for row in rows]
        hits = [
            first_noun(text) in noun_set(given)
            for text, given in zip(written, captions, strict=True)
        ]
        return {
            "loss_held_out": sum(loss * n for loss, n in losses) / len(usable),
            "hit": sum(hits) / len(hits),
            "captions": written[:: max(1, len(written) // SHOWN)][:SHOWN],
        }

    return evaluate
