"""Every ranking of one word's units, and their controls, without lists, maps or ablations."""

from __future__ import annotations

from collections.abc import Mapping

from molyneux.models.captioned import Captioned
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import VIEWS, View
from molyneux.neurons.contrast import score_behind, stand_ins
from molyneux.neurons.rankings import Ranked, rank_units
from molyneux.neurons.scorers import DEFAULT_SCORER, Context
from molyneux.neurons.targets import ask_for


def rank_word(
    seeing: SeeingModel,
    captioned: Captioned,
    word: str,
    digest: str,
    *,
    contrast: bool = True,
) -> Mapping[View, Ranked]:
    """Return the rankings of a word's units in each view: as `explain_photo` lists them.

    A word of the caption is scored where it stands; another where the first noun is predicted.

    Args:
        digest: the photo's SHA-256, which decides which other photos are controls.
        contrast: whether the word is scored behind other photos as well, without which there is
            no ranking `contrast`; that takes most of the time.

    Raises:
        UsageError: the word is empty, or begins with a blank token.
        AdapterError: the model overflows in its dtype.
    """
    model, sentence = seeing.language_model, captioned.sentence
    table = seeing.reference
    if table is not None and not table.fits(DEFAULT_SCORER):
        table = None
    place = next((n for n, one in enumerate(sentence.words) if one.word == word.lower()), None)
    if place is None:
        sentence, found = ask_for(model, captioned.prompt, sentence, word)
    else:
        found = sentence.words[place]
    lemmas = {each.lemma for each in (*sentence.words, found)}
    until = sentence.up_to(model, captioned.prompt, found.target.position)
    baseline = stand_ins(table, until, lemmas, digest) if contrast else ()
    context = Context(
        reference=table, partners=tuple(partner.instead_of(until) for partner in baseline)
    )
    scored = DEFAULT_SCORER.score(model, until, [found.target], context=context)
    behind = None
    if context.partners:
        behind = score_behind(DEFAULT_SCORER, model, [found.target], context)
    others = [] if table is None else table.others_than(lemmas, digest)
    return {
        view: rank_units(
            model,
            scored,
            0,
            view,
            reference=table,
            other=next(iter(others), None),
            behind=behind,
            sinks=captioned.sinks,
            at_first_noun=not place,
        )
        for view in VIEWS
    }
