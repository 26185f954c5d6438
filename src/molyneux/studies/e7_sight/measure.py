"""E7: what does a photo add to words, and which units at its patches carry it?

Not in the paper. Two kinds of words, never pooled. The caption's first noun says how what the model
says gets there: it would pass on wrong pixels too. Nouns that most of the photo's people wrote,
said by the model or not, say whether that is true, beside nouns of other photos, which these people
did not write. All is measured again with another photo's image prompt in the place of this one's,
of those people's nouns that are not true of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from molyneux.neurons.change import change_scores
from molyneux.neurons.partners import Partner, in_half
from molyneux.neurons.sight.forms import Form, sets_of
from molyneux.neurons.sight.measure import BehindPhoto, Effect
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.sight.patch_sets import PatchSet
from molyneux.neurons.sight.words import SightOfWords, WordRead, sight_of_words
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import Sentence, read_sentence, word_tokens
from molyneux.studies.e7_sight.asked import (
    SHOWN_THERE,
    Asked,
    LeftOut,
    Panel,
    by_text,
    caption_word,
    human_nouns,
    panel_of,
)
from molyneux.studies.e7_sight.captions import caption_rows
from molyneux.studies.e7_sight.tables import OWN, PERMUTED, TABLES, Pixels
from molyneux.studies.experiment import Rows
from molyneux.studies.subject import Subject
from molyneux.vision.layout import ImagePrompt


@dataclass(frozen=True, eq=False)
class Shown:
    """What the model is given to see, and the caption of that.

    Attributes:
        named: what people and annotations name in it.
        stranger: whose image prompt stands in the place of the photo's; None for its own.
    """

    pixels: Pixels
    prompt: ImagePrompt
    sentence: Sentence
    sinks: Bool[Tensor, " patches"]
    named: frozenset[str]
    stranger: Partner | None = None


def measure(subject: Subject, deranged: Mapping[str, str]) -> Rows:
    """Return a photo's rows; where there are none of a word, why is among those left out.

    Args:
        deranged: the noun of another photo of the study that stands beside a noun of people's.
    """
    rows: Rows = {name: [] for name in TABLES}
    panel = panel_of(subject)
    if isinstance(panel, str):
        rows["e7_left_out"].append(LeftOut("photo", None, panel).row())
        return rows
    people = human_nouns(subject, panel.partners, deranged)
    for shown in (_own(subject), _permuted(subject, panel)):
        sets = _Sets(subject, shown)
        caption = caption_word(subject, shown.prompt, shown.sentence, shown.named, panel.partners)
        given = [caption, *people]
        if shown.pixels == OWN:
            rows["e7_left_out"] += [one.row() for one in given if isinstance(one, LeftOut)]
        for text, words in by_text([one for one in given if isinstance(one, Asked)]):
            found = _Read.of(subject, shown, panel, text, words, sets)
            for name, made in found.rows().items():
                rows[name] += made
            rows["e7_left_out"] += [
                LeftOut("permuted", read.asked.word, SHOWN_THERE).row() for read in found.left_out
            ]
            if shown.pixels == OWN and words[0] is caption:
                rows["e7_captions"] += caption_rows(
                    subject, panel, found.places, found.sight, seed=found.seed
                )
    return rows


def _own(subject: Subject) -> Shown:
    """Return the photo, in half precision as the partners are: rounding is no difference."""
    named = subject.human_nouns | {*subject.item.categories}
    embeddings = subject.prompt.embeddings.detach().clone()
    patches = subject.prompt.patches
    embeddings[:, patches] = in_half(embeddings[0, patches]).to(embeddings)
    prompt = replace(subject.prompt, embeddings=embeddings)
    return Shown(OWN, prompt, subject.sentence, subject.sink_patches, frozenset(named))


def _permuted(subject: Subject, panel: Panel) -> Shown:
    """Return another photo's image prompt in the place of this one's, with that photo's caption."""
    stranger, model = panel.stranger, subject.model
    prompt = stranger.instead_of(subject.prompt)
    sentence = read_sentence(model, prompt, word_tokens(model, stranger.caption))
    sinks = sink_patches(patch_norms(model, prompt))[0]
    return Shown(PERMUTED, prompt, sentence, sinks, frozenset(stranger.human_nouns), stranger)


class _Sets:
    """The sets of what is shown, one choice for all texts behind it, and the passes under them."""

    def __init__(self, subject: Subject, shown: Shown) -> None:
        self._moments = subject.facts.reference.require_activation()
        self._facts, self._sinks = subject.facts, shown.sinks
        self.seed = subject.seed("E7") % 2**31
        # Of wrong pixels the two sets that the claim is made of are enough.
        form = "short" if shown.pixels == PERMUTED else subject.settings.sight
        assert form != "none"
        self._form: Form = form
        self._chosen: Sequence[PatchSet] | None = None
        self.passes = Passes()

    def of(self, photo: BehindPhoto) -> Sequence[PatchSet]:
        """Return the sets, chosen when the photo is first read."""
        if self._chosen is None:
            moments = self._moments
            z = change_scores(photo.activation, moments.mean, moments.deviation, self._sinks)
            self._chosen = sets_of(
                self._form, z, lambda: moments.magnitude * self._facts.row_norms, seed=self.seed
            )
        return self._chosen


@dataclass(frozen=True, eq=False)
class _Read:
    """Words of one text, read behind what is shown and behind partners.

    Attributes:
        stranger: as of what is shown.
        places: of the partners that were read, among the panel's.
        numbers: the same partners' in the reference table.
    """

    pixels: Pixels
    stranger: Partner | None
    words: Sequence[Asked]
    places: Sequence[int]
    numbers: Sequence[int]
    sight: SightOfWords
    seed: int

    @classmethod
    def of(
        cls,
        subject: Subject,
        shown: Shown,
        panel: Panel,
        text: Sequence[int],
        words: Sequence[Asked],
        sets: _Sets,
    ) -> _Read:
        taken = torch.stack([one.word.fits for one in words]).any(dim=0)
        places = taken.nonzero().flatten().tolist()
        sight = sight_of_words(
            subject.model,
            shown.prompt,
            list(text),
            [replace(one.word, fits=one.word.fits[taken]) for one in words],
            [panel.partners[place] for place in places],
            sets.of,
            draws_in_turn=True,
            seed=sets.seed,
            passes=subject.facts.passes,
            own_passes=sets.passes,
        )
        numbers = [panel.numbers[place] for place in places]
        return cls(shown.pixels, shown.stranger, words, places, numbers, sight, sets.seed)

    def rows(self) -> Rows:
        """Return the rows of all tables but of captions."""
        found: Rows = {"e7_gain": [], "e7_sets": [], "e7_transplants": []}
        behind = self.sight.behind.behind
        for word, place in self._named():
            clean = float(self.sight.photo.log_p[place])
            found["e7_gain"] += [
                {**word, "partner": partner, "clean": clean, "behind": value}
                for partner, value in self._by_partner(behind[place])
            ]
            for effect in self.sight.effects:
                units = _set_of(effect)
                found["e7_sets"].append(
                    {
                        **word,
                        **units,
                        "units": effect.units,
                        "mediated": _number(float(effect.mediated[place])),
                        "mediated_norm": _number(effect.mediated_norm),
                        "edit_norm": _number(effect.edit_norm),
                    }
                )
                found["e7_transplants"] += [
                    {**word, **units, "partner": partner, "value": value}
                    for partner, value in self._by_partner(effect.transplanted[place])
                ]
        return found

    @property
    def left_out(self) -> list[WordRead]:
        """People's nouns of which the other photo shows the noun or the one beside it.

        Pixels that show it are not the wrong ones. They are read all the same: which words are
        there is no matter of the edits, and so of the others' numbers.
        """
        found = []
        for one, read in zip(self.words, self.sight.words, strict=True):
            pair = [one.word.word, *(other.word for other, _ in read.beside)]
            if one.kind == "human" and self.stranger is not None:
                found += [read] if any(map(self.stranger.shows, pair)) else []
        return found

    def _named(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield what names each row's word, and the word's place among what was read."""
        left_out = self.left_out
        for one, read in zip(self.words, self.sight.words, strict=True):
            if read in left_out:
                continue
            own = {
                "pixels": self.pixels,
                "kind": one.kind,
                "word": one.word.word,
                "beside": None,
                "said": one.said,
            }
            yield own, read.own.start
            for other, place in read.beside:
                yield {**own, "kind": one.beside, "word": other.word, "beside": own["word"]}, place

    def _by_partner(self, values: Tensor) -> Iterator[tuple[int, float]]:
        for number, value in zip(self.numbers, values.tolist(), strict=True):
            if value == value:
                yield number, float(value)


def _set_of(effect: Effect) -> dict[str, Any]:
    """Return the columns that name a set."""
    layers = "all"
    if effect.layers is not None:
        first, last = effect.layers[0], effect.layers[-1]
        layers = str(first) if first == last else f"{first}-{last}"
    return {"set": effect.name, "fraction": effect.fraction, "layers": layers}


def _number(value: float) -> float | None:
    return None if value != value else value
