"""One word of a photo: its lists of units, their heat maps, and what is left without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from molyneux.explain.case import Case, is_ablated
from molyneux.explain.curves import Absent, ablation_curves
from molyneux.explain.document import AblatedCaptions, Curves, Ranking, UnitLists, UnitRow
from molyneux.explain.document import Word as ExplainedWord
from molyneux.explain.own_minus_others import OTHERS, own_minus_others
from molyneux.explain.tried import Tried
from molyneux.models.generation import continue_greedily
from molyneux.models.seeing_model import SeeingModel
from molyneux.models.trust import Trust
from molyneux.neurons.ablation import silenced
from molyneux.neurons.attribution import VIEWS, Attribution, View
from molyneux.neurons.contrast import Behind
from molyneux.neurons.decoding import Decoded, decode_units
from molyneux.neurons.lens import JacobianLens, Lens
from molyneux.neurons.rankings import Ranked, complete_prefix, rank_units
from molyneux.neurons.receptive_fields import receptive_fields, set_field
from molyneux.neurons.targets import Word
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.neurons.unit_sets import DEFAULT, LISTED, QUOTED, UNIT_SETS
from molyneux.words.dictionary import is_interpretable

LATER_NOUN = (
    "a later noun: the reference photos were measured at first nouns, so that no list of it is "
    "called specific"
)
CAPTION_UNITS = 100
CAPTIONED = (DEFAULT, *QUOTED, "other_specific", "random")


def explain_word(case: Case, number: int, word: Word) -> tuple[ExplainedWord, dict[str, Tensor]]:
    """Return a word of the document, and its heat maps by `<ranking>.<view>`."""
    settings, attribution = case.settings, case.attribution
    later = _is_later(number, word)
    ranked = {view: _rank(case, number, view, later=later) for view in VIEWS}
    listed = {view: _list_units(case, ranked[view]) for view in VIEWS}
    probability = float(attribution.probability[number])

    def rows_of(ranking: Ranking, view: View) -> tuple[UnitRow, ...]:
        return listed[view][ranking][0] if ranking in listed[view] else ()

    explained = ExplainedWord(
        word=word.word,
        token=word.token,
        token_id=word.target.token_id,
        position=word.target.position,
        probability=probability,
        logit=float(attribution.logit[number]),
        span=word.span,
        n_tokens=word.n_tokens,
        note=_said_of(case, word, later),
        unrelated=tuple(case.unrelated[0]),
        trust=_trust(case.model, number, word, probability),
        rankings={
            ranking: UnitLists(
                patches=rows_of(ranking, "patches"),
                last=rows_of(ranking, "last"),
                others_in_patches=_others_in(case, ranked["patches"], ranking),
                others_in_last=_others_in(case, ranked["last"], ranking),
            )
            for ranking in LISTED
            if ranking in listed["patches"]
        },
    )
    fields = {
        f"{ranking}.{view}{name}": tensor
        for view, lists in listed.items()
        for ranking, (_, maps) in lists.items()
        for name, tensor in maps.items()
    }
    if not is_ablated(settings, number, word):
        return explained, fields
    tried = Tried(case.model.language_model, case.up_to(word), settings.positions)
    ablated = replace(
        explained,
        ablation=_curves(case, number, word, ranked["patches"], tried),
        ablation_last=_curves(case, number, word, ranked["last"], tried),
        ablated_caption=_ablated_captions(case, ranked["patches"]),
    )
    return ablated, fields


def _is_later(number: int, word: Word) -> bool:
    """Return whether a word is a noun of the caption after the first; one asked for never is."""
    return number > 0 and word.span is not None


def _said_of(case: Case, word: Word, later: bool) -> str | None:
    """Return what has to be said of a word: of its tokens, and that it is not the first noun."""
    said = [word.note, LATER_NOUN if later and case.model.reference is not None else None]
    return "; ".join(line for line in said if line) or None


def _trust(model: SeeingModel, number: int, word: Word, probability: float) -> Trust | None:
    """Return how often such a word is right: a first noun, or one asked for; None of others."""
    if model.trust is None:
        return None
    if word.span is None:
        return model.trust.of_asked(probability, word.n_tokens)
    return model.trust.of_first_noun(probability) if number == 0 else None


def _list_units(
    case: Case, ranked: Ranked
) -> dict[Ranking, tuple[tuple[UnitRow, ...], dict[str, Tensor]]]:
    """Return each ranking's first units, their heat maps, and that of the set as `.set`."""
    grid, n = case.model.encoder.grid, case.settings.top
    units = {ranking: ranked.first(ranking, n) for ranking in LISTED if ranked.has(ranking)}
    signs = {ranking: _at(ranked.signs(ranking), units[ranking]) for ranking in units}
    decoded = _decoded(
        case,
        ranked.view,
        dict.fromkeys(
            pair for each in units for pair in zip(units[each], signs[each], strict=True)
        ),
    )
    found: dict[Ranking, tuple[tuple[UnitRow, ...], dict[str, Tensor]]] = {}
    for ranking, chosen in units.items():
        rows = _unit_rows(case, ranked, chosen, signs[ranking], decoded)
        maps: dict[str, Tensor] = {}
        if chosen and grid.has_patches:
            fields = receptive_fields(case.attribution.activation, chosen, signs[ranking], grid)
            maps = {"": fields, ".set": set_field(fields)}
        found[ranking] = rows, maps
    return found


def _others_in(case: Case, ranked: Ranked, ranking: Ranking) -> float | None:
    """Return which share of other photos' lists stands in this one: what fakes pass at."""
    key = UNIT_SETS[ranking].key
    if key not in QUOTED or not ranked.has(ranking):
        return None
    own, shares = ranked.first(ranking, case.settings.top), []
    for other in case.others[:OTHERS]:
        theirs = other.units.get((ranked.view, key), [])[: len(own)]
        if theirs:
            shares.append(len({*own[: len(theirs)]}.intersection(theirs)) / len(theirs))
    return sum(shares) / len(shares) if shares else None


def _at(values: Tensor | None, units: Sequence[Unit]) -> list[Any]:
    """Return a value for each unit; None for each where there are no values."""
    if values is None or not units:
        return [None] * len(units)
    at = ([unit.layer for unit in units], [unit.unit for unit in units])
    return list(values[at].tolist())


def _decoded(
    case: Case, view: View, written: Sequence[tuple[Unit, int]] | dict[tuple[Unit, int], None]
) -> dict[tuple[Unit, int], Decoded]:
    """Return what units write in the directions in which they act, each read once."""
    pairs, decoding = list(written), case.model.decoding
    if not pairs:
        return {}
    read = decode_units(
        case.model.language_model,
        [unit for unit, _ in pairs],
        [sign for _, sign in pairs] if decoding.written else None,
        final_norm=decoding.final_norm,
        bias=decoding.bias,
        lens=_lens(case.model, view),
    )
    return dict(zip(pairs, read, strict=True))


def _unit_rows(
    case: Case,
    ranked: Ranked,
    units: Sequence[Unit],
    signs: Sequence[int],
    decoded: Mapping[tuple[Unit, int], Decoded],
) -> tuple[UnitRow, ...]:
    """Return what the document says of units, in one view of one word."""
    grid, reference = case.model.encoder.grid, case.model.reference
    scores, number, view = ranked.scores, ranked.target, ranked.view
    has_peak = view == "patches" and grid.has_patches
    columns = zip(
        units,
        _at(scores.score[number], units),
        _at(scores.total[number], units),
        _at(scores.share[number], units),
        _at(ranked.score("specific") if ranked.has("specific") else None, units),
        _at(ranked.lent if ranked.has("contrast") else None, units),
        _at(ranked.change if ranked.has("change") else None, units),
        signs,
        _at(None if reference is None else reference.sinks(view), units),
        _at(scores.peak_patch[number], units),
        strict=True,
    )
    rows = []
    for unit, score, total, share, own, lent, change, sign, sink, peak in columns:
        read = decoded[unit, sign]
        rows.append(
            UnitRow(
                layer=unit.layer,
                unit=unit.unit,
                score=score,
                total=total,
                share=share,
                specific=None if own == -torch.inf else own,
                contrast=lent,
                change=change,
                sign=sign,
                sink=sink,
                tokens=tuple(read.tokens),
                suppressed=tuple(read.suppressed),
                interpretable=is_interpretable(read.tokens),
                peak_patch=grid.place(peak) if has_peak else None,
            )
        )
    return tuple(rows)


def _lens(captioner: SeeingModel, view: View) -> Lens | None:
    """Return what units are decoded through in one view; None as the model's decoding has it.

    A Jacobian lens was measured at patches: what is written where the word is predicted, the head
    reads itself.
    """
    measured = isinstance(captioner.lens, JacobianLens)
    return None if measured and view == "last" else captioner.lens


def _rank(case: Case, number: int, view: View, *, later: bool) -> Ranked:
    """Return the rankings of a word's units in one view, and the sets they are compared with."""
    return _ranked(case, case.attribution, case.behind, number, view, later=later)


def _absent(case: Case, number: int, word: Word, view: View) -> Absent | None:
    """Return the word that nobody named beside one of the photo's, with its own units."""
    beside = case.absent.get(number)
    if beside is None:
        return None
    later = _is_later(number, word)
    ranked = _ranked(case, beside.attribution, beside.behind, beside.place, view, later=later)
    return Absent(beside.word.word, beside.word.token_id, ranked)


def _ranked(
    case: Case,
    attribution: Attribution,
    behind: Behind | None,
    number: int,
    view: View,
    *,
    later: bool,
) -> Ranked:
    return rank_units(
        case.model.language_model,
        attribution,
        number,
        view,
        reference=case.model.reference,
        other=next(iter(case.others), None),
        behind=behind,
        sinks=case.sinks,
        seed=case.settings.seed,
        at_first_noun=not later,
    )


def _curves(case: Case, number: int, word: Word, ranked: Ranked, tried: Tried) -> Curves:
    """Return what switching off the sets of one view leaves of a word."""
    settings = case.settings
    curves = ablation_curves(
        tried,
        word.target.token_id,
        ranked,
        settings.sizes,
        seeds=settings.draws,
        unrelated=case.unrelated[1],
        absent=_absent(case, number, word, ranked.view),
    )
    against = own_minus_others(
        tried,
        word.target.token_id,
        ranked.first("specific", max(settings.sizes)),
        case.others,
        view=ranked.view,
    )
    noun = case.others[0].noun if case.others else None
    return replace(curves, other_noun=noun, own_minus_others=against)


def _ablated_captions(case: Case, ranked: Ranked) -> AblatedCaptions:
    """Write the caption again with the first units of each ranking off throughout."""
    model, prompt = case.model.language_model, case.prompt
    n = max(case.settings.sizes)
    sets = {
        name: units
        for name in CAPTIONED
        if (units := complete_prefix(ranked.units(name, n) or [], CAPTION_UNITS)) is not None
    }
    if not sets:
        return AblatedCaptions(units=CAPTION_UNITS)
    masks = torch.stack([unit_mask(units, model.n_layers, model.d_mlp) for units in sets.values()])
    with silenced(model, masks, prompt.patches, case.settings.positions):
        written = continue_greedily(model, prompt.repeated(len(sets)))
    captions = {name: model.decode(ids).strip() for name, ids in zip(sets, written, strict=True)}
    return AblatedCaptions(units=CAPTION_UNITS, **captions)
