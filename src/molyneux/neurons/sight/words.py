"""Words read behind one photo and its partners, each beside words that are not there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.partners import Partner
from molyneux.neurons.sight.absent import ABSENT, AbsentWord, absent_candidates, nearest_absent
from molyneux.neurons.sight.gain import Gain
from molyneux.neurons.sight.measure import (
    TRANSPLANTS,
    BehindPartners,
    BehindPhoto,
    Effect,
    PartnerPrompt,
    gains,
    measure_sets,
    n_patches,
    read_partners,
    read_photo,
)
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.sight.patch_sets import PatchSet
from molyneux.neurons.sight.reading import Asked, Text
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True, eq=False)
class WordAsked:
    """A word to be read behind photos, and what it is compared with.

    Attributes:
        tokens: its first, and as many that follow as the text holds.
        after: how many tokens of the text stand ahead of it.
        fits: which partners do not show it.
        beside: words read in its place whatever their probability: another photo's.
        candidates: words of which those nearest in probability are read.
    """

    word: str
    tokens: tuple[int, ...]
    after: int
    fits: Bool[Tensor, " partners"]
    beside: tuple[AbsentWord, ...] = ()
    candidates: tuple[AbsentWord, ...] = ()


@dataclass(frozen=True, eq=False)
class WordRead:
    """Where a word and those beside it stand among what was asked for.

    Attributes:
        own: the places of its tokens.
        beside: words and their places: those given, then the absent ones that were chosen.
    """

    asked: WordAsked
    own: range
    beside: tuple[tuple[AbsentWord, int], ...]


@dataclass(frozen=True, eq=False)
class SightOfWords:
    """What was found of all words of one text behind one photo.

    Attributes:
        gains: of each asked token, by its place.
        effects: of each set; their numbers are by place too.
    """

    words: tuple[WordRead, ...]
    photo: BehindPhoto
    behind: BehindPartners
    sets: tuple[PatchSet, ...]
    gains: tuple[Gain, ...]
    effects: tuple[Effect, ...]


def unseen_candidates(
    model: LanguageModel,
    present: Collection[str],
    tokens: Collection[int],
    partners: Sequence[Partner],
    fits: Bool[Tensor, "words partners"],
) -> list[AbsentWord]:
    """Return the `absent_candidates` that of every word's partners one at least does not show."""
    found = []
    for one in absent_candidates(model, present, tokens):
        if bool((fits & _hidden(one, partners)).any(dim=1).all()):
            found.append(one)
    return found


def sight_of_words(
    model: LanguageModel,
    prompt: ImagePrompt,
    token_ids: Sequence[int],
    words: Sequence[WordAsked],
    partners: Sequence[Partner],
    sets_of: Callable[[BehindPhoto], Sequence[PatchSet]],
    *,
    transplants: int = TRANSPLANTS,
    draws_in_turn: bool = False,
    seed: int = 0,
    passes: Passes | None = None,
    own_passes: Passes | None = None,
) -> SightOfWords:
    """Return what a photo adds to words of a text, and what sets of units carry of it.

    Partners that show a word beside another are left out of it, and of nothing else.

    Args:
        prompt: the photo's.
        token_ids: the text behind it.
        partners: in the order in which they are taken.
        sets_of: told what is behind the photo, once everything else is settled.
        transplants: into how many partners the photo's values are written.
        draws_in_turn: see `measure_sets`.
        passes: partners' that are kept for other photos.
        own_passes: this photo's and edited ones, kept for other texts under the same sets.

    Raises:
        UsageError: a partner has more or fewer patches than the photo.
    """
    asked: list[Asked] = []
    fits: list[Tensor] = []
    edits_of: list[int] = []
    spans: list[tuple[range, range, range]] = []

    def ask(token: int, after: int, own: Tensor) -> None:
        asked.append(Asked(token, after))
        fits.append(own)

    for word in words:
        edges = [len(asked)]
        for step, token in enumerate(word.tokens):
            ask(token, word.after + step, word.fits)
        for others in (word.beside, word.candidates):
            edges.append(len(asked))
            for one in others:
                ask(one.token_id, word.after, word.fits & _hidden(one, partners))
        edges.append(len(asked))
        edits_of += [edges[0]] * (edges[-1] - edges[0])
        own, given, candidates = (range(*pair) for pair in pairwise(edges))
        spans.append((own, given, candidates))
    behind = read_partners(
        model,
        [PartnerPrompt(partner.instead_of(prompt), partner.name) for partner in partners],
        Text(tuple(token_ids), tuple(asked)),
        patches=n_patches(prompt),
        fits=torch.stack(fits),
        edits_of=edits_of,
        transplants=transplants,
        passes=passes,
    )
    log_p = behind.behind
    kept: list[int] = []
    read: list[WordRead] = []
    for word, (own, given, candidates) in zip(words, spans, strict=True):
        start = len(kept)
        names = [one.word for one in word.candidates]
        chosen = (
            nearest_absent(log_p[own.start], log_p[list(candidates)], names, ABSENT)
            if names
            else []
        )
        kept += [*own, *given, *(candidates[k] for k in chosen)]
        others = (*word.beside, *(word.candidates[k] for k in chosen))
        places = range(start, start + len(own))
        beside = tuple((one, places.stop + k) for k, one in enumerate(others))
        read.append(WordRead(word, places, beside))
    behind = behind.asking(kept)
    photo = read_photo(model, prompt, behind.text, passes=own_passes)
    sets = tuple(sets_of(photo))
    effects = measure_sets(
        model, photo, behind, sets, draws_in_turn=draws_in_turn, seed=seed, passes=own_passes
    )
    found = tuple(gains(photo, behind))
    return SightOfWords(tuple(read), photo, behind, sets, found, tuple(effects))


def _hidden(word: AbsentWord, partners: Sequence[Partner]) -> Bool[Tensor, " partners"]:
    """Return which partners do not show a word."""
    return torch.tensor([not partner.shows(word.word) for partner in partners], dtype=torch.bool)
