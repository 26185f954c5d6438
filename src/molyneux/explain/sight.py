"""What a photo adds to the words of its caption, and which units at its patches carry it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.explain.sight_record import NotNamed, Sight, SightSet
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Intervention, batches, intervened
from molyneux.neurons.change import change_scores
from molyneux.neurons.partners import Partner
from molyneux.neurons.rankings import row_norms
from molyneux.neurons.sight.edits import written
from molyneux.neurons.sight.forms import Form, sets_of
from molyneux.neurons.sight.gain import Gain
from molyneux.neurons.sight.measure import (
    MIN_PARTNERS,
    TRANSPLANTS,
    BehindPhoto,
    Effect,
    in_order,
    n_patches,
    values_into,
)
from molyneux.neurons.sight.passes import ROOM, Passes
from molyneux.neurons.sight.patch_sets import PatchSet
from molyneux.neurons.sight.reading import Asked, Text, asked_of, read_after
from molyneux.neurons.sight.words import (
    SightOfWords,
    WordAsked,
    WordRead,
    sight_of_words,
    unseen_candidates,
)
from molyneux.neurons.targets import Sentence, Word, word_tokens
from molyneux.vision.layout import ImagePrompt, joined

NO_TABLE = (
    "sight is not measured: there is no reference table with partner photos; "
    "`molyneux reference DATA` makes one"
)
FEW = (
    "sight is not measured: of the reference table's partner photos {} do not show it, and {} are "
    "needed; `molyneux reference DATA` makes a table with more"
)
OTHER_GRID = (
    "sight is not measured: this photo has {} patches and the reference table's partner photos "
    "{}; crop it to a square, or measure a table of such photos with `molyneux reference DATA`"
)


def measure_sight(
    seeing: SeeingModel,
    form: Form,
    prompt: ImagePrompt,
    sentence: Sentence,
    words: Sequence[Word],
    *,
    sinks: Bool[Tensor, " patches"],
    digest: str,
    named: Collection[str] = (),
    seed: int = 0,
    passes: Passes | None = None,
) -> list[Sight | str]:
    """Return what a photo adds to each word and what carries it, or why that is not known.

    Args:
        form: the short one compares with 8 partners, the full one with all that there are.
        sentence: the text behind the photo.
        sinks: the photo's sink patches.
        digest: the photo's hash, which gives the order of the partners; it is none of them.
        named: what people named in the photo, beside the caption's nouns; singular.
        seed: of the random sets.
        passes: partners' that are kept for other photos; those of this call alone if None.
    """
    passes = Passes(ROOM // 8) if passes is None else passes
    table, model = seeing.reference, seeing.language_model
    if table is None or not table.partners or table.activation is None:
        return [NO_TABLE] * len(words)
    patches, moments = n_patches(prompt), table.activation
    others = {len(partner.patches) for partner in table.partners} - {patches}
    if others:
        return [OTHER_GRID.format(patches, min(others))] * len(words)
    order = in_order([partner.name for partner in table.partners], digest)
    panel = [table.partners[place] for place in order]
    partners = [partner for partner in panel if partner.name != digest]
    fits = torch.tensor(
        [[not (p.shows(word.word) or p.shows(word.lemma)) for p in partners] for word in words]
    )
    found: list[Sight | str] = [FEW.format(int(row.sum()), MIN_PARTNERS) for row in fits]
    measured = [place for place, row in enumerate(fits) if int(row.sum()) >= MIN_PARTNERS]
    if not measured:
        return found
    if form == "short":
        fits &= fits.cumsum(dim=1) <= TRANSPLANTS
    taken = fits[measured].any(dim=0)
    partners = [partners[place] for place in taken.nonzero().flatten().tolist()]
    fits = fits[:, taken]
    candidates = unseen_candidates(
        model,
        {word.lemma for word in words} | {word.word for word in words} | {*named},
        [word.target.token_id for word in words],
        partners,
        fits[measured],
    )

    def chosen(photo: BehindPhoto) -> list[PatchSet]:
        z = change_scores(photo.activation, moments.mean, moments.deviation, sinks)
        return sets_of(form, z, lambda: moments.magnitude * row_norms(model), seed=seed)

    asked = []
    for place in measured:
        word, at = words[place], asked_of(prompt, words[place].target)
        tokens = _tokens(sentence, word, at)
        asked.append(WordAsked(word.word, tokens, at.after, fits[place], (), tuple(candidates)))
    sight = sight_of_words(
        model,
        prompt,
        sentence.token_ids,
        asked,
        partners,
        chosen,
        draws_in_turn=True,
        seed=seed,
        passes=passes,
    )
    captions = _captions(seeing, sight, seed)
    told = _Told(seeing, prompt, sentence, partners, sight, captions, passes)
    for place, read in zip(measured, sight.words, strict=True):
        found[place] = told.of(words[place], read)
    return found


def _tokens(sentence: Sentence, word: Word, at: Asked) -> tuple[int, ...]:
    """Return a word's tokens as far as the text holds them: of a word asked for, its first."""
    rest = sentence.token_ids[at.after + 1 : at.after + word.n_tokens]
    return (at.token_id, *(rest if word.span is not None else ()))


_Key = tuple[str, float, tuple[int, ...] | None, int]


def _captions(seeing: SeeingModel, sight: SightOfWords, seed: int) -> dict[_Key, str]:
    """Return what is written behind the first partner of each mean, by set and mean."""
    behind = sight.behind
    rows: list[tuple[_Key, ImagePrompt, Intervention]] = []
    for group in sorted({*behind.baseline}):
        k = behind.receivers[group][0]
        for one in sight.sets:
            if one.layers is not None or one.draw:
                continue
            values = values_into(sight.photo, behind, one, k, group, seed=seed)
            if values is not None:
                key: _Key = (one.name, one.fraction, one.layers, group)
                rows.append((key, behind.partners[k].prompt, written(one, values)))
    found: dict[_Key, str] = {}
    model, prompt = seeing.language_model, sight.photo.prompt
    for part in batches(rows, prompt.n_positions):
        with intervened(model, [edit for *_, edit in part], prompt.patches):
            tokens = seeing.write(joined([given for _, given, _ in part]))
        for (written_with, *_), ids in zip(part, tokens, strict=True):
            found[written_with] = model.decode(ids).strip()
    return found


@dataclass(frozen=True, eq=False)
class _Told:
    """What was found of a photo's words, as the document has it."""

    seeing: SeeingModel
    prompt: ImagePrompt
    sentence: Sentence
    partners: Sequence[Partner]
    sight: SightOfWords
    captions: dict[_Key, str]
    passes: Passes

    def of(self, word: Word, read: WordRead) -> Sight:
        """Return what is said of a word."""
        sight = self.sight
        group = sight.behind.baseline[read.own.start]
        captions = [
            self.captions.get((effect.name, effect.fraction, effect.layers, group))
            for effect in sight.effects
        ]
        gain = sight.gains[read.own.start]
        return Sight(
            gain=gain.value,
            standard_error=gain.standard_error,
            partners=gain.partners,
            gain_all_tokens=self._of_all_tokens(word, read),
            partner_caption=self.partners[sight.behind.receivers[group][0]].caption,
            sets=_of_sets(sight.effects, read.own.start, gain, captions),
            absent=tuple(
                NotNamed(
                    word=one.word,
                    gain=sight.gains[place].value,
                    sets=_of_sets(
                        sight.effects, place, sight.gains[place], [None] * len(sight.effects)
                    ),
                )
                for one, place in read.beside
            ),
        )

    def _of_all_tokens(self, word: Word, read: WordRead) -> float | None:
        """Return the gain of a word of several tokens; a word asked for is read to its end."""
        if word.n_tokens == 1:
            return None
        if len(read.own) == word.n_tokens:
            return sum(self.sight.gains[place].value for place in read.own)
        tokens, after = word_tokens(self.seeing.language_model, word.word), read.asked.after
        text = Text(
            (*self.sentence.token_ids[:after], *tokens[:-1]),
            tuple(Asked(token, after + step) for step, token in enumerate(tokens)),
        )
        own = read.asked.fits.nonzero().flatten().tolist()
        model = self.seeing.language_model
        rows = [self.prompt, *(self.sight.behind.partners[k].prompt for k in own)]
        passed = [replace(self.passes.clean(model, row), activation=None) for row in rows]
        clean, *behind = read_after(model, passed, text).sum(dim=1).tolist()
        return float(clean - sum(behind) / len(behind))


def _of_sets(
    effects: Sequence[Effect], place: int, gain: Gain, captions: Sequence[str | None]
) -> tuple[SightSet, ...]:
    """Return what the document says of each set's effect on one asked token."""
    return tuple(
        _of_set(
            effect,
            _number(float(effect.mediated[place])),
            _number(float(effect.transplant[place])),
            gain,
            caption,
        )
        for effect, caption in zip(effects, captions, strict=True)
    )


def _of_set(
    effect: Effect,
    mediated: float | None,
    transplant: float | None,
    gain: Gain,
    caption: str | None,
) -> SightSet:
    return SightSet(
        name=effect.name,
        fraction_of_units=effect.fraction,
        layers="all" if effect.layers is None else effect.layers,
        mediated=mediated,
        transplant=transplant,
        fraction_mediated=None if mediated is None else gain.fraction(mediated),
        fraction_transplanted=None if transplant is None else gain.fraction(transplant),
        edit_norm=_number(effect.edit_norm),
        mediated_norm=_number(effect.mediated_norm),
        transplant_caption=caption,
    )


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
