"""Everything that is asked of one photo, as a part of the document and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from molyneux.explain.contrast import specific_contrast
from molyneux.explain.curves import ablation_curves
from molyneux.explain.document import AblatedCaptions, Curves, Image, UnitLists, UnitRow
from molyneux.explain.document import Word as ExplainedWord
from molyneux.models.generation import continue_greedily
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Positions, silenced
from molyneux.neurons.attribution import (
    VIEWS,
    Attribution,
    View,
)
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.rankings import Ranked, complete_prefix, rank_units
from molyneux.neurons.receptive_fields import NO_GRID, receptive_fields, set_field
from molyneux.neurons.reference import OtherPhoto
from molyneux.neurons.scorers import DEFAULT_SCORER, Context, Scorer
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import Sentence, Word, ask_for, read_sentence, unrelated_nouns
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.neurons.unit_sets import LISTED
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, photo_name, photo_sha256, read_photo
from molyneux.words.dictionary import is_interpretable

NO_NOUN = "the caption has no noun to explain; ask for a word with --word"
ASKED_ONLY = 'the caption has no noun; the words asked for are scored after "{} a"'
NO_MAPS = f"no heat maps: {NO_GRID}"
CAPTION_UNITS = 100
CAPTIONED = (*LISTED, "other_specific", "random")


@dataclass(frozen=True)
class Settings:
    """What is computed for every photo.

    Attributes:
        top: how many units are listed in each ranking and view.
        ablate: whose units are switched off: those of the first noun (and of words asked for),
            of all words, or of none.
        grid: how many units are switched off at each step.
        seeds: random controls.
        scorer: what says how much each unit contributes.
    """

    grid: Sequence[int]
    top: int = 100
    words: tuple[str, ...] = ()
    ablate: Literal["first", "all", "none"] = "first"
    positions: Positions = "all"
    seeds: int = 3
    seed: int = 0
    scorer: Scorer = DEFAULT_SCORER


@dataclass(frozen=True)
class Explanation:
    """A photo's part of the document, and its heat maps.

    Attributes:
        image: the photo, its caption and words.
        fields: heat maps over the patches by `<word>.<ranking>.<view>`, units x rows x columns in
            the order of the list, and of its whole set by the same name with `.set`, rows x
            columns.
    """

    image: Image
    fields: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    """A photo with everything that is asked of more than one of its words.

    Attributes:
        sentence: the caption; where it has no noun and words were asked for, the article that
            they follow.
        others: reference photos that show something else, the control first.
        unrelated: everyday nouns that the caption does not hold, and the first token of each.
    """

    model: SeeingModel
    settings: Settings
    prompt: ImagePrompt
    sentence: Sentence
    attribution: Attribution
    others: list[OtherPhoto]
    unrelated: tuple[list[str], list[int]]

    def up_to(self, word: Word) -> ImagePrompt:
        """Return the prompt that ends where a word is predicted."""
        language = self.model.language_model
        return self.sentence.up_to(language, self.prompt, word.target.position)


def explain_photo(captioner: SeeingModel, path: Photo, settings: Settings) -> Explanation:
    """Return a photo's caption, words, units, heat maps and ablations.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: a word asked for is empty.
    """
    captioner = with_comparable_table(captioner, settings.scorer)
    model, grid = captioner.language_model, captioner.encoder.grid
    photo, digest = read_photo(path), photo_sha256(path)
    prompt = captioner.see([photo])
    written = read_sentence(model, prompt, captioner.write(prompt)[0])
    asked = [ask_for(model, prompt, written, word) for word in settings.words]
    sentence = written if written.words or not asked else asked[-1][0]
    words = [*written.words, *(word for _, word in asked)]
    sinks = sink_patches(patch_norms(model, prompt))[0].nonzero().flatten().tolist()
    image = Image(
        path=photo_name(path),
        sha256=digest,
        caption=written.caption,
        note=_note(captioner, written, words),
        grid=(grid.rows, grid.columns),
        sink_patches=tuple(grid.place(patch) for patch in sinks),
    )
    if not words:
        return Explanation(image)
    lemmas = {word.lemma for word in words}
    seen = _Seen(
        captioner,
        settings,
        prompt,
        sentence,
        settings.scorer.score(
            model,
            sentence.up_to(model, prompt, max(word.target.position for word in words)),
            [word.target for word in words],
            context=Context(captioner.reference),
        ),
        captioner.reference.others_than(lemmas, digest) if captioner.reference else [],
        unrelated_nouns(
            model, lemmas | {word.word for word in words}, {word.target.token_id for word in words}
        ),
    )
    explained = [_explain_word(seen, number, word) for number, word in enumerate(words)]
    return Explanation(
        replace(image, words=tuple(word for word, _ in explained)),
        {
            f"{number}.{name}": tensor
            for number, (_, fields) in enumerate(explained)
            for name, tensor in fields.items()
        },
    )


def with_comparable_table(captioner: SeeingModel, scorer: Scorer) -> SeeingModel:
    """Return the model without its reference table where that was measured with another scorer.

    A score of another kind has another scale.
    """
    if captioner.reference is None or captioner.reference.fits(scorer):
        return captioner
    without: SeeingModel = replace(captioner, reference=None)  # type: ignore[type-var]
    return without


def _note(captioner: SeeingModel, written: Sentence, words: Sequence[Word]) -> str | None:
    """Return what has to be said of a caption without a noun, and of an encoder without a grid."""
    said = []
    if not written.words:
        text = captioner.layout.record()["text"]
        said.append(ASKED_ONLY.format(text) if words else NO_NOUN)
    if words and not captioner.encoder.grid.has_patches:
        said.append(NO_MAPS)
    return "; ".join(said) or None


def _explain_word(seen: _Seen, number: int, word: Word) -> tuple[ExplainedWord, dict[str, Tensor]]:
    """Return a word of the document, and its heat maps by `<ranking>.<view>`."""
    settings, attribution = seen.settings, seen.attribution
    ranked = {view: _rank(seen, number, view) for view in VIEWS}
    listed = {
        (ranking, view): _list_units(seen, ranked[view], ranking)
        for view in VIEWS
        for ranking in LISTED
    }
    explained = ExplainedWord(
        word=word.word,
        token=word.token,
        token_id=word.target.token_id,
        position=word.target.position,
        probability=float(attribution.probability[number]),
        logit=float(attribution.logit[number]),
        span=word.span,
        n_tokens=word.n_tokens,
        note=word.note,
        unrelated=tuple(seen.unrelated[0]),
        lists=UnitLists(**{view: listed["top", view][0] for view in VIEWS}),
        specific_lists=UnitLists(**{view: listed["specific", view][0] for view in VIEWS}),
    )
    fields = {
        f"{ranking}.{view}{name}": tensor
        for (ranking, view), (_, maps) in listed.items()
        for name, tensor in maps.items()
    }
    first = number == 0 or word.span is None
    if settings.ablate == "none" or (settings.ablate == "first" and not first):
        return explained, fields
    ablated = replace(
        explained,
        ablation=_curves(seen, word, ranked["patches"]),
        ablation_last=_curves(seen, word, ranked["last"]),
        ablated_caption=_ablated_captions(seen, ranked["patches"]),
    )
    return ablated, fields


def _list_units(
    seen: _Seen, ranked: Ranked, ranking: str
) -> tuple[tuple[UnitRow, ...], dict[str, Tensor]]:
    """Return the first units of a ranking, their heat maps, and that of the set as `.set`."""
    grid = seen.model.encoder.grid
    units = ranked.first(ranking, seen.settings.top)
    if not units:
        return (), {}
    rows = _unit_rows(seen, ranked, units)
    if not grid.has_patches:
        return rows, {}
    signs = [row.sign for row in rows]
    fields = receptive_fields(seen.attribution.activation, units, signs, grid)
    return rows, {"": fields, ".set": set_field(fields)}


def _unit_rows(seen: _Seen, ranked: Ranked, units: Sequence[Unit]) -> tuple[UnitRow, ...]:
    """Return what the document says of units, in one view of one word."""
    captioner, reference = seen.model, seen.model.reference
    grid, decoding = captioner.encoder.grid, captioner.decoding
    scores, number, view = ranked.scores, ranked.target, ranked.view
    specific = ranked.score("specific") if ranked.has("specific") else None
    at = ([unit.layer for unit in units], [unit.unit for unit in units])

    def of(values: Tensor | None) -> list[Any]:
        return [None] * len(units) if values is None else values[at].tolist()

    signs = of(scores.sign[number])
    decoded = decode_units(
        captioner.language_model,
        units,
        signs if decoding.written else None,
        final_norm=decoding.final_norm,
        bias=decoding.bias,
    )
    has_peak = view == "patches" and grid.has_patches
    columns = zip(
        units,
        of(scores.score[number]),
        of(scores.total[number]),
        of(scores.share[number]),
        of(specific),
        signs,
        of(None if reference is None else reference.sinks(view)),
        decoded,
        of(scores.peak_patch[number]),
        strict=True,
    )
    return tuple(
        UnitRow(
            layer=unit.layer,
            unit=unit.unit,
            score=score,
            total=total,
            share=share,
            specific=None if own == -torch.inf else own,
            sign=sign,
            sink=sink,
            tokens=tuple(read.tokens),
            suppressed=tuple(read.suppressed),
            interpretable=is_interpretable(read.tokens),
            peak_patch=grid.place(peak) if has_peak else None,
        )
        for unit, score, total, share, own, sign, sink, read, peak in columns
    )


def _rank(seen: _Seen, number: int, view: View) -> Ranked:
    """Return the rankings of a word's units in one view, and the sets they are compared with."""
    return rank_units(
        seen.model.language_model,
        seen.attribution,
        number,
        view,
        reference=seen.model.reference,
        other=next(iter(seen.others), None),
        seed=seen.settings.seed,
    )


def _curves(seen: _Seen, word: Word, ranked: Ranked) -> Curves:
    """Return what switching off the sets of one view leaves of a word."""
    model, settings, until = seen.model.language_model, seen.settings, seen.up_to(word)
    curves = ablation_curves(
        model,
        until,
        word.target.token_id,
        ranked,
        settings.grid,
        seeds=settings.seeds,
        positions=settings.positions,
        unrelated=seen.unrelated[1],
    )
    contrast = specific_contrast(
        model,
        until,
        word.target.token_id,
        ranked.first("specific", max(settings.grid)),
        seen.others,
        view=ranked.view,
        positions=settings.positions,
    )
    noun = seen.others[0].noun if seen.others else None
    return replace(curves, other_noun=noun, contrast=contrast)


def _ablated_captions(seen: _Seen, ranked: Ranked) -> AblatedCaptions:
    """Write the caption again with the first units of each ranking off throughout."""
    model, prompt = seen.model.language_model, seen.prompt
    n = max(seen.settings.grid)
    sets = {
        name: units
        for name in CAPTIONED
        if (units := complete_prefix(ranked.units(name, n) or [], CAPTION_UNITS)) is not None
    }
    if not sets:
        return AblatedCaptions(units=CAPTION_UNITS)
    masks = torch.stack([unit_mask(units, model.n_layers, model.d_mlp) for units in sets.values()])
    with silenced(model, masks, prompt.patches, seen.settings.positions):
        written = continue_greedily(model, prompt.repeated(len(sets)))
    captions = {name: model.decode(ids).strip() for name, ids in zip(sets, written, strict=True)}
    return AblatedCaptions(units=CAPTION_UNITS, **captions)
