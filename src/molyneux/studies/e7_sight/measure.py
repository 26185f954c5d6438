"""E7: what does a photo add to words, and which units at its patches carry it?

Not in the paper. Two kinds of words, never pooled. The caption's first noun says how what the model
says gets there: it would pass on wrong pixels too. Nouns that most of the photo's people wrote,
said by the model or not, say whether that is true, beside nouns of other photos, which these people
did not write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from molyneux.neurons.partners import Partner, agreed_nouns
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.sight.forms import sets_of
from molyneux.neurons.sight.measure import MIN_PARTNERS, BehindPhoto, in_order
from molyneux.neurons.sight.patch_sets import PatchSet, change_scores
from molyneux.neurons.sight.reading import asked_of
from molyneux.neurons.sight.words import (
    SightOfWords,
    WordAsked,
    sight_of_words,
    unseen_candidates,
)
from molyneux.neurons.targets import word_tokens
from molyneux.studies.subject import Subject
from molyneux.words.kinds import unrelated_to
from molyneux.words.synonyms import names_one_of

READ = MIN_PARTNERS
"""Partners that each word is compared with: the first that do not show it."""

_WORD = [
    ("kind", pa.string()),
    ("word", pa.string()),
    ("beside", pa.string()),
    ("said", pa.bool_()),
]
GAINS = pa.schema([*_WORD, ("clean", pa.float64()), ("behind", pa.list_(pa.float64()))])
"""A word a row, in nats.

`kind` is `caption` (its first noun), `absent` (words that stand beside that noun and that nobody
named), `human`, or `deranged` (another photo's noun that stands beside the human noun `beside`);
`said`: of human nouns and those beside them, whether the caption has the human noun or a synonym.
`behind` is by partner, in the order of the reference table, null for those not compared with.
"""
SETS = pa.schema(
    [
        *_WORD,
        ("set", pa.string()),
        ("fraction", pa.float64()),
        ("layers", pa.list_(pa.int32())),
        ("units", pa.int32()),
        ("mediated", pa.float64()),
        ("transplanted", pa.list_(pa.float64())),
        ("mediated_norm", pa.float64()),
        ("edit_norm", pa.float64()),
    ]
)
"""What editing one set does to one word; `layers` is null for all but the last."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """A word, its kind and that of the words beside it."""

    kind: str
    beside: str
    said: bool | None
    word: WordAsked


def measure(subject: Subject) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a photo's rows of `GAINS` and `SETS`; none for words with fewer than 16 partners.

    A table whose partners are of another grid, or that has none, gives no rows.
    """
    table = subject.facts.reference
    patches = len(subject.projected)
    if table.activation is None or any(len(p.patches) != patches for p in table.partners):
        return [], []
    order = in_order([partner.name for partner in table.partners], subject.sha256)
    partners = [table.partners[place] for place in order]
    article = word_tokens(subject.model, "a")
    caption = list(subject.sentence.token_ids)
    of_caption = list(_caption_word(subject, partners))
    of_people = list(_human_nouns(subject, partners, len(article)))
    gains: list[dict[str, Any]] = []
    sets: list[dict[str, Any]] = []
    # Captions that begin with the article are read in the same pass as what people named.
    one_pass = caption[: len(article)] == article
    passes = (
        [(caption, of_caption + of_people)]
        if one_pass
        else [(caption, of_caption), (article, of_people)]
    )
    for token_ids, asked in passes:
        if asked:
            found = _read(subject, token_ids, asked, partners)
            gains += _gain_rows(found, asked, order)
            sets += _set_rows(found, asked, order)
    return gains, sets


def _fits(partners: Sequence[Partner], *words: str) -> Tensor:
    """Return the first partners that show none of some words; none where they are too few."""
    fits = torch.tensor([not any(map(p.shows, words)) for p in partners], dtype=torch.bool)
    return fits & (fits.cumsum(dim=0) <= READ) & (int(fits.sum()) >= MIN_PARTNERS)


def _caption_word(subject: Subject, partners: Sequence[Partner]) -> Iterator[_Asked]:
    """Yield the caption's first noun; the words beside it are chosen from what nobody named."""
    if subject.word is None:
        return
    word, at = subject.word, asked_of(subject.prompt, subject.target)
    fits = _fits(partners, word.word, word.lemma)
    if not bool(fits.any()):
        return
    written = {each.word for each in subject.sentence.words} | subject.lemmas
    named = written | subject.human_nouns | {*subject.item.categories}
    tokens = [each.target.token_id for each in subject.sentence.words]
    candidates = unseen_candidates(subject.model, named, tokens, partners, fits[None])
    asked = WordAsked(word.lemma, (at.token_id,), at.after, fits, (), tuple(candidates))
    yield _Asked("caption", "absent", None, asked)


def _human_nouns(subject: Subject, partners: Sequence[Partner], after: int) -> Iterator[_Asked]:
    """Yield the nouns that most of the people wrote, each with one of another photo's beside it.

    The other photo is the first partner with such a noun that is related to nothing written or
    annotated here; the next noun takes the next partner.
    """
    written = subject.human_nouns | {*subject.item.categories}
    others = [
        noun for partner in partners for noun in partner.agreed[:1] if unrelated_to(written, [noun])
    ]
    used: set[int] = set()
    for noun in agreed_nouns(subject.item.captions):
        tokens, fits = word_tokens(subject.model, noun), _fits(partners, noun)
        if not tokens or not bool(fits.any()) or tokens[0] in used:
            continue
        used.add(tokens[0])
        beside = _next(subject, others, used, partners, fits)
        if beside is not None:
            said = names_one_of(noun, subject.lemmas)
            asked = WordAsked(noun, (tokens[0],), after, fits, (beside,))
            yield _Asked("human", "deranged", said, asked)


def _next(
    subject: Subject,
    others: list[str],
    used: set[int],
    partners: Sequence[Partner],
    fits: Tensor,
) -> AbsentWord | None:
    """Take the next of other photos' nouns whose first token is not in use."""
    while others:
        noun = others.pop(0)
        tokens = word_tokens(subject.model, noun)
        shown = torch.tensor([partner.shows(noun) for partner in partners], dtype=torch.bool)
        if tokens and tokens[0] not in used and bool((fits & ~shown).any()):
            used.add(tokens[0])
            return AbsentWord(noun, tokens[0])
    return None


def _read(
    subject: Subject,
    token_ids: Sequence[int],
    asked: Sequence[_Asked],
    partners: Sequence[Partner],
) -> tuple[SightOfWords, list[int]]:
    """Return what is found of the words, and the places of the partners that were read."""
    table = subject.facts.reference
    taken = torch.stack([one.word.fits for one in asked]).any(dim=0)
    places = taken.nonzero().flatten().tolist()
    moments = table.require_activation()

    def chosen(photo: BehindPhoto) -> Sequence[PatchSet]:
        z = change_scores(photo.activation, moments.mean, moments.deviation, subject.sink_patches)
        strength = lambda: moments.magnitude * subject.facts.row_norms  # noqa: E731
        return sets_of(subject.settings.sight, z, strength, seed=subject.seed("E7") % 2**31)

    found = sight_of_words(
        subject.model,
        subject.prompt,
        token_ids,
        [replace(one.word, fits=one.word.fits[taken]) for one in asked],
        [partners[place] for place in places],
        chosen,
        draws_in_turn=True,
        seed=subject.seed("E7 permutation") % 2**31,
    )
    return found, places


def _words(found: SightOfWords, asked: Sequence[_Asked]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield what names each row's word, and its place among what was read."""
    for one, read in zip(asked, found.words, strict=True):
        own = {"kind": one.kind, "word": one.word.word, "beside": None, "said": one.said}
        yield own, read.own.start
        for other, place in read.beside:
            named = {"kind": one.beside, "word": other.word, "beside": one.word.word}
            yield {**own, **named}, place


def _by_partner(values: Tensor, places: Sequence[int], order: Sequence[int]) -> list[float | None]:
    """Return values of the partners that were read, in the order of the reference table."""
    row: list[float | None] = [None] * len(order)
    for value, place in zip(values.tolist(), places, strict=True):
        row[order[place]] = None if value != value else float(value)
    return row


def _gain_rows(
    read: tuple[SightOfWords, list[int]], asked: Sequence[_Asked], order: Sequence[int]
) -> list[dict[str, Any]]:
    found, places = read
    behind = found.behind.behind
    return [
        {
            **word,
            "clean": float(found.photo.log_p[place]),
            "behind": _by_partner(behind[place], places, order),
        }
        for word, place in _words(found, asked)
    ]


def _set_rows(
    read: tuple[SightOfWords, list[int]], asked: Sequence[_Asked], order: Sequence[int]
) -> list[dict[str, Any]]:
    found, places = read
    return [
        {
            **word,
            "set": effect.name,
            "fraction": effect.fraction,
            "layers": None if effect.layers is None else list(effect.layers),
            "units": effect.units,
            "mediated": _number(float(effect.mediated[place])),
            "transplanted": _by_partner(effect.transplanted[place], places, order),
            "mediated_norm": _number(effect.mediated_norm),
            "edit_norm": _number(effect.edit_norm),
        }
        for word, place in _words(found, asked)
        for effect in found.effects
    ]


def _number(value: float) -> float | None:
    return None if value != value else value
