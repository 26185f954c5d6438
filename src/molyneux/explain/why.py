"""Why a word was written, or nearly, that nobody named: is this photo like those that show it?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.explain.why_record import Said, SharedUnits, Spread, Why
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import Attribution
from molyneux.neurons.contrast import Behind, totals_behind
from molyneux.neurons.scorers import Context, GradientActivation, Scorer
from molyneux.neurons.sight.absent import absent_candidates
from molyneux.neurons.sight.measure import n_patches
from molyneux.neurons.sight.reading import Asked, Text, read_behind
from molyneux.neurons.sight.shown import (
    UNITS,
    Likeness,
    Showing,
    photos_showing,
    shared_units,
)
from molyneux.neurons.targets import Word
from molyneux.vision.layout import ImagePrompt
from molyneux.words.synonyms import names_one_of

NEARLY = 10
"""Nouns among which one that is not written is nearly so."""


def asks_why(word: Word, named: Collection[str]) -> bool:
    """Whether it is to be said why a word is there: asked for, or written and named by nobody.

    Args:
        named: the nouns that people said of the photo; none where nobody described it.
    """
    return word.span is None or word.asked or (bool(named) and not names_one_of(word.lemma, named))


@dataclass(frozen=True, eq=False)
class Explained:
    """A photo whose words were scored.

    Attributes:
        context: what the scorer was told of it.
        words: all of them; the targets of `attribution` in order.
        behind: what units give the words behind partners; None without any.
        baseline: the names of those partners.
        digest: the photo's hash.
        named: the nouns that people said of it; none where nobody described it.
    """

    seeing: SeeingModel
    scorer: Scorer
    context: Context
    words: Sequence[Word]
    attribution: Attribution
    behind: Behind | None
    baseline: Collection[str]
    digest: str
    named: Collection[str]


def explain_why(photo: Explained, number: int, until: ImagePrompt) -> Why | None:
    """Return why a word was written, or nearly; None where there are no partners to ask.

    Args:
        number: of the word.
        until: the prompt that ends where the word is predicted.
    """
    table = photo.seeing.reference
    if table is None or not table.partners:
        return None
    if any(len(partner.patches) != n_patches(until) for partner in table.partners):
        return None
    word = photo.words[number]
    log_p, rank, nouns = _rank(photo.seeing, word, until)
    showing = photos_showing(table.partners, word.lemma, photo.digest, but=photo.baseline)
    why = Why(
        said=_said(photo.words, word, rank),
        named_by_people=names_one_of(word.lemma, photo.named) if photo.named else None,
        log_probability=log_p,
        rank=rank,
        nouns=nouns,
        described=showing.described,
        named=showing.named,
        score_unit=_unit_of(photo.scorer),
        patches=_by_patch(photo, number),
    )
    if not showing.shown or not showing.others:
        return why
    return _compared(why, photo, number, until, showing)


def _said(words: Sequence[Word], word: Word, rank: int) -> Said:
    if any(one.span is not None and one.target == word.target for one in words):
        return "written"
    return "nearly" if rank <= NEARLY else "asked"


def _rank(seeing: SeeingModel, word: Word, until: ImagePrompt) -> tuple[float, int, int]:
    """Return a word's log-probability, its rank among everyday nouns, and how many those are."""
    model, token = seeing.language_model, word.target.token_id
    others = [one.token_id for one in absent_candidates(model, (), {token})]
    asked = tuple(Asked(one, 0) for one in (token, *others))
    own, *rest = read_behind(model, [until], Text((), asked))[0].tolist()
    return own, 1 + sum(one > own for one in rest), len(asked)


def _unit_of(scorer: Scorer) -> Literal["logit", "nat"] | None:
    if not isinstance(scorer, GradientActivation):
        return None
    return "logit" if scorer.of == "logit" else "nat"


def _by_patch(photo: Explained, number: int) -> tuple[tuple[float, ...], ...] | None:
    grid, given = photo.seeing.encoder.grid, photo.attribution.of_patches
    if given is None or not grid.has_patches:
        return None
    rows = given[number].cpu().reshape(grid.rows, grid.columns).tolist()
    return tuple(tuple(row) for row in rows)


def _compared(why: Why, photo: Explained, number: int, until: ImagePrompt, showing: Showing) -> Why:
    """Return the same with what is behind photos that show the word, and behind others."""
    photos = (*showing.shown, *showing.others)
    totals, log_p = totals_behind(
        photo.scorer,
        photo.seeing.language_model,
        photo.words[number].target,
        replace(photo.context, partners=[one.instead_of(until) for one in photos]),
    )
    here, n = photo.attribution.patches.total[number].cpu(), len(showing.shown)
    usual = None if photo.behind is None else photo.behind.total["patches"][number]
    shared = []
    if usual is not None and bool((here > usual).any()):
        shared.append(_share("contrast", here - usual, totals - usual, n))
    if bool((here > 0).any()):
        shared.append(_share("total", here, totals, n))
    return replace(
        why,
        log_probability_shown=_spread(log_p[:n]),
        log_probability_others=_spread(log_p[n:]),
        shared=tuple(shared),
    )


def _share(
    ranking: Literal["contrast", "total"],
    score: Float[Tensor, "layers d_mlp"],
    others: Float[Tensor, "photos layers d_mlp"],
    n_shown: int,
) -> SharedUnits:
    shares = shared_units(score, others)
    like = Likeness(shares[:n_shown], shares[n_shown:])
    return SharedUnits(
        ranking=ranking,
        units=min(UNITS, int((score > 0).sum())),
        shown=_spread(like.shown),
        others=_spread(like.others),
        among_shown=_among(others[:n_shown]),
        chance=like.p,
        like_shown=like.like_shown,
    )


def _among(scores: Float[Tensor, "photos layers d_mlp"]) -> Spread | None:
    """Return what photos that show the word share among themselves, each with the others."""
    pushed = [k for k in range(len(scores)) if bool((scores[k] > 0).any())]
    if len(pushed) < 2:
        return None
    each = [
        shared_units(scores[k], scores[[other for other in pushed if other != k]]).mean()
        for k in pushed
    ]
    return _spread(torch.stack(each))


def _spread(values: Float[Tensor, " photos"]) -> Spread:
    several = len(values) > 1
    return Spread(
        mean=float(values.double().mean()),
        deviation=float(values.double().std()) if several else None,
        photos=len(values),
    )
