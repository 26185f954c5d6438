"""How good a projection is on held-out photos: caption loss, nouns, CIDEr-D and BERTScore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import WeightsError
from molyneux.metrics.cider import CiderScorer
from molyneux.metrics.people import MAN, WOMAN, nouns_of, recall_of
from molyneux.models.generation import continue_greedily
from molyneux.processes import Process, gather
from molyneux.statistics.bootstrap import Estimate, bootstrap
from molyneux.statistics.permutations import derangement
from molyneux.training.batches import TrainingSet
from molyneux.training.loss import caption_ids, caption_nats, count_tokens
from molyneux.vision.layout import Layout, lay_out
from molyneux.words.nouns import find_nouns

if TYPE_CHECKING:
    from molyneux.metrics.bertscore import BertScorer

BATCH = 20
SHOWN = 6
DRAWS = 2000

BRIEF = ("hit", "cider", "woman", "man")
"""Scores of an evaluation beside the loss; see `Evaluator.brief`."""

Backbone = Callable[[], "BertScorer"]


def first_noun(caption: str) -> str | None:
    """Return the caption's first noun, singular, or None."""
    nouns = find_nouns(caption)
    return nouns[0].lemma if nouns else None


@dataclass(frozen=True)
class Seen:
    """What a projection makes of the held-out photos, in their order.

    Attributes:
        nats: cross-entropy of one caption of each photo, summed over its tokens.
        tokens: that caption's length.
        written: the greedy captions.
    """

    nats: np.ndarray
    tokens: np.ndarray
    written: list[str]

    def loss(self) -> float:
        """Return nats per token, over the tokens of all photos."""
        return _ratio(self.nats, self.tokens)


@dataclass(frozen=True)
class Evaluator:
    """Scores projections on held-out photos; several processes share the photos among them.

    Attributes:
        end_token: whether the end of a caption is one of its tokens, as in training.
    """

    model: LanguageModel
    layout: Layout
    data: TrainingSet
    process: Process = field(default_factory=Process)
    end_token: bool = False

    @cached_property
    def references(self) -> list[tuple[str, ...]]:
        """The captions of each usable photo."""
        return [self.data.examples.rows[i].captions for i in self.data.usable()]

    @cached_property
    def nouns(self) -> list[set[str]]:
        """The nouns of each usable photo's captions."""
        return [nouns_of(captions) for captions in self.references]

    @cached_property
    def cider(self) -> CiderScorer:
        """CIDEr-D with the idf of these photos' captions."""
        return CiderScorer(self.references)

    def brief(self, linear: nn.Linear) -> dict[str, Any]:
        """Return what is logged at every evaluation.

        `loss_held_out` (nats per token, of one caption of each photo), `hit` (share
        of photos whose greedy caption's first noun is among the nouns of the photo's captions),
        `cider` (CIDEr-D), `woman` and `man` (recall: see `recall_of`; None without such photos) and
        a few captions to read.
        """
        seen = self.see(linear)
        written = seen.written
        return {
            "woman": self.recall_of(WOMAN, written),
            "man": self.recall_of(MAN, written),
            "loss_held_out": seen.loss(),
            "hit": float(np.mean(self._hits(written, range(len(written))))),
            "cider": float(self.cider.score(written).mean()),
            "captions": written[:: max(1, len(written) // SHOWN)][:SHOWN],
        }

    def recall_of(self, words: frozenset[str], written: Sequence[str]) -> float | None:
        """Return the share of `molyneux.metrics.people.recall_of`; None without such photos."""
        said = recall_of(words, self.references, written)
        return sum(said) / len(said) if said else None

    def whole(self, linear: nn.Linear, backbone: Backbone | None, seed: int = 0) -> dict[str, Any]:
        """Return every score with its bootstrap interval over photos and its control.

        The control of a photo's caption is the caption of another photo, that of its loss the
        loss with another photo's features: photos are deranged, none stays its own.

        Args:
            backbone: loads what BERTScore needs; None for no BERTScore.
        """
        seen = self.see(linear)
        n = len(seen.written)
        others = derangement(n, seed) if n > 1 else None
        swapped = self.see(linear, others, captions=False) if others else None
        order: Sequence[int] = range(n)

        def both(score: Callable[[list[str]], np.ndarray]) -> dict[str, Any]:
            shuffled = None if others is None else [seen.written[i] for i in others]
            return _with_control(
                bootstrap(score(seen.written), draws=DRAWS, seed=seed),
                None if shuffled is None else bootstrap(score(shuffled), draws=DRAWS, seed=seed),
            )

        found = {
            "photos": n,
            "loss": _with_control(
                _per_token(seen, seed), None if swapped is None else _per_token(swapped, seed)
            ),
            "hit": both(lambda texts: self._hits(texts, order)),
            "cider": both(self.cider.score),
        }
        if backbone is None:
            found["bertscore"] = {"skipped": "it was not asked for"}
        elif self.process.is_first:
            try:
                scorer = backbone()
            except WeightsError as error:
                found["bertscore"] = {"skipped": str(error)}
            else:
                found["bertscore"] = {
                    **both(lambda texts: self._bert(scorer, texts)),
                    "backbone": scorer.name,
                }
        return dict(gather(found, self.process)[0])

    @torch.no_grad()
    def see(
        self, linear: nn.Linear, shown: Sequence[int] | None = None, captions: bool = True
    ) -> Seen:
        """Return what a projection makes of the photos.

        Args:
            shown: which photo's features each caption is given; its own if None.
            captions: whether captions are written, which takes the longest.
        """
        usable = self.data.usable()
        places = range(len(usable)) if shown is None else shown
        own: list[tuple[int, list[float], list[int], list[str]]] = []
        starts = range(0, len(usable), BATCH)
        for number in range(self.process.rank, len(starts), self.process.world):
            part = range(starts[number], min(starts[number] + BATCH, len(usable)))
            rows = [int(self.data.first[usable[places[i]]]) for i in part]
            features = torch.from_numpy(self.data.features.take(rows))
            prompts = linear(features.to(self.model.device))
            texts = [texts[len(texts) // 2] for texts in (self.references[i] for i in part)]
            ids = caption_ids(self.model, texts, self.end_token)
            nats = caption_nats(self.model, self.layout, prompts, ids)
            written: list[str] = []
            if captions and not nats.isfinite().all():
                written = [""] * len(part)  # it has diverged: the loss says so, and ends the run
            elif captions:
                prompt = lay_out(self.model, self.layout, prompts)
                rows_written = continue_greedily(self.model, prompt)
                written = [self.model.decode(row).strip() for row in rows_written]
            own.append((number, nats.double().tolist(), count_tokens(ids).tolist(), written))
        every = sorted(one for each in gather(own, self.process) for one in each)
        return Seen(
            np.array([x for _, nats, _, _ in every for x in nats]),
            np.array([x for _, _, tokens, _ in every for x in tokens]),
            [text for _, _, _, written in every for text in written],
        )

    def _hits(self, written: Sequence[str], photos: Sequence[int]) -> np.ndarray:
        firsts = [first_noun(text) for text in written]
        hits = [noun in self.nouns[photo] for noun, photo in zip(firsts, photos, strict=True)]
        return np.array(hits, dtype=float)

    def _bert(self, scorer: BertScorer, texts: Sequence[str]) -> np.ndarray:
        pairs = zip(texts, self.references, strict=True)
        return np.array([scorer.f1([text], list(given)).mean() for text, given in pairs])


def said_of_people(scores: dict[str, Any]) -> str:
    """Return the recall of people's words of an evaluation, to be read."""
    parts = [f"{word} {scores[word]:.2f}" for word in ("woman", "man") if scores[word] is not None]
    return ", ".join(parts) or "no photo of a woman or man"


def _ratio(nats: np.ndarray, tokens: np.ndarray) -> float:
    return float(nats.sum() / tokens.sum())


def _per_token(seen: Seen, seed: int) -> Estimate:
    return bootstrap(seen.nats, seen.tokens, statistic=_ratio, draws=DRAWS, seed=seed)


def _with_control(own: Estimate, control: Estimate | None) -> dict[str, Any]:
    return {**_plain(own), "control": None if control is None else _plain(control)}


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
