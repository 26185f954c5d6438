"""Everything that is asked of one photo, as a part of the document and heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.explain.absent_word import choose_absent
from molyneux.explain.curves import Absent, ablation_curves
from molyneux.explain.document import (
    AblatedCaptions,
    Curves,
    Ranking,
    Reading,
    UnitLists,
    UnitRow,
)
from molyneux.explain.document import Image as ExplainedImage
from molyneux.explain.document import Word as ExplainedWord
from molyneux.explain.folder import shared_names
from molyneux.explain.own_minus_others import OTHERS, own_minus_others
from molyneux.explain.read_sets import jacobian_of, partners_activations, read_change
from molyneux.explain.seen import over_photo, under_patches
from molyneux.explain.settings import Settings, as_settings
from molyneux.explain.sight import measure_sight
from molyneux.explain.sight_record import Sight
from molyneux.explain.text import photo_html, photo_text
from molyneux.explain.tried import Tried
from molyneux.explain.why import Explained, asks_why, explain_why
from molyneux.explain.why_record import Why
from molyneux.models.generation import continue_greedily
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing
from molyneux.models.trust import Trust
from molyneux.neurons.ablation import silenced
from molyneux.neurons.attribution import VIEWS, Attribution, Target, View
from molyneux.neurons.contrast import Behind, instead_of, score_behind, stand_ins
from molyneux.neurons.decoding import Decoded, decode_units
from molyneux.neurons.lens import JacobianLens, Lens
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.rankings import Ranked, complete_prefix, rank_units
from molyneux.neurons.receptive_fields import NO_GRID, receptive_fields, set_field
from molyneux.neurons.scorers import Context
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.sight.passes import ROOM, Passes
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import (
    Sentence,
    Word,
    ask_for,
    join_asked,
    read_sentence,
    unrelated_nouns,
)
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.neurons.unit_sets import DEFAULT, LISTED, QUOTED, UNIT_SETS
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, photo_name, photo_sha256, read_photo
from molyneux.words.dictionary import is_interpretable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_NOUN = "the caption has no noun to explain; ask for a word with --word"
ASKED_ONLY = 'the caption has no noun; the words asked for are scored after "{} a"'
LATER_NOUN = (
    "a later noun: the reference photos were measured at first nouns, so that no list of it is "
    "called specific"
)
NO_MAPS = f"no heat maps: {NO_GRID}"
CAPTION_UNITS = 100
CAPTIONED = (DEFAULT, *QUOTED, "other_specific", "random")


@dataclass(frozen=True, repr=False)
class Explanation:
    """What was found of one photo: it prints as a short table, and shows itself in a notebook.

    Attributes:
        image: the photo's part of a document: its caption and words.
        fields: heat maps over the patches by `<word>.<ranking>.<view>`, units x rows x columns in
            the order of the list, and of its whole set by the same name with `.set`, rows x
            columns.
        seen: what lies under the patches.
        lead: the text that the caption goes on from.
    """

    image: ExplainedImage
    fields: Mapping[str, Tensor]
    seen: Image
    lead: str

    @property
    def caption(self) -> str:
        """What the model wrote, without the text it went on from."""
        return self.image.caption or ""

    @property
    def words(self) -> tuple[ExplainedWord, ...]:
        """The caption's nouns in order, then the words asked for."""
        return self.image.words

    def __repr__(self) -> str:
        return photo_text(self.image, self.lead)

    def _repr_html_(self) -> str:
        maps = [
            picture
            for number in range(len(self.words))
            if (picture := self.heat_map(number)) is not None
        ]
        return photo_html(self.image, self.lead, [self.seen, *maps])

    def heat_map(
        self, word: int = 0, *, view: View = "patches", ranking: Ranking | None = None
    ) -> Image | None:
        """Return the photo under the heat map of one list's units, of all together.

        None where the list is empty or the encoder has no patch grid.

        Args:
            word: which of `words`.
            ranking: that of `words[word].units`, `total`, if None.

        Raises:
            UsageError: there is no such word.
        """
        self._word(word)
        chosen = ranking or DEFAULT
        there = self.fields.get(f"{word % len(self.words)}.{chosen}.{view}.set")
        return None if there is None else over_photo(self.seen, there)

    def plot(self, word: int = 0) -> Figure:
        """Return a figure: the photo, the heat map of the word's units, and its curves.

        Raises:
            UsageError: there is no such word.
        """
        from molyneux.explain.plots import draw

        found, heat = self._word(word), self.heat_map(word)
        pictures = [(f"{self.lead} {self.caption}", self.seen)]
        if heat is not None:
            pictures.append((f"where its {len(found.units)} units are active", heat))
        return draw(found, pictures, self.lead)

    def _word(self, number: int) -> ExplainedWord:
        if not -len(self.words) <= number < len(self.words):
            raise UsageError(
                f"there is no word {number}: {len(self.words)} were explained"
                + (f" ({', '.join(word.word for word in self.words)})" if self.words else "")
            )
        return self.words[number]


@dataclass(frozen=True)
class _Beside:
    """A word that nobody named: a target beside one that is explained.

    Attributes:
        attribution: of all such words of the photo.
        place: its place among them.
        behind: what units give these words behind partners; None without any.
    """

    word: AbsentWord
    attribution: Attribution
    behind: Behind | None
    place: int


@dataclass(frozen=True)
class _Case:
    """A photo with everything that is asked of more than one of its words.

    Attributes:
        sentence: the caption; where it has no noun and words were asked for, the article that
            they follow.
        behind: what units give the words behind partners; None without any.
        sinks: which patches are sinks.
        absent: of the words whose units are switched off, each with one that nobody named.
        others: reference photos that show something else, the control first.
        unrelated: everyday nouns that the caption does not hold, and the first token of each.
    """

    model: SeeingModel
    settings: Settings
    prompt: ImagePrompt
    sentence: Sentence
    attribution: Attribution
    behind: Behind | None
    sinks: Tensor
    others: list[OtherPhoto]
    unrelated: tuple[list[str], list[int]]
    absent: Mapping[int, _Beside] = field(default_factory=dict)

    def up_to(self, word: Word) -> ImagePrompt:
        """Return the prompt that ends where a word is predicted."""
        language = self.model.language_model
        return self.sentence.up_to(language, self.prompt, word.target.position)


def explain_photo(
    captioner: SeeingModel | Sees, photo: Photo, settings: Settings | None = None
) -> Explanation:
    """Return a photo's caption, words, units, heat maps and ablations; no file is written.

    Specific scores and controls need a reference table of the same scorer; without one they are
    left out.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: an argument is none, or the tokenizer has no token for a word asked for.
    """
    seeing, asking = as_seeing(captioner), as_settings(settings)
    return explain_seen(seeing, photo, asking.of_model(seeing.language_model.n_units))


def explain_seen(
    captioner: SeeingModel,
    photo: Photo,
    asking: Settings,
    digest: str | None = None,
    named: Sequence[str] = (),
    passes: Passes | None = None,
) -> Explanation:
    """Return what `explain_photo` does, of arguments that were looked at.

    Args:
        digest: the photo's SHA-256 where its file is not what is given.
        named: the nouns that people said of it, if any are known.
        passes: partners' that are kept for other photos.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: the tokenizer has no token for a word asked for.
    """
    model, grid = captioner.language_model, captioner.encoder.grid
    captioner = comparable(captioner, asking)
    seen, digest = read_photo(photo), digest or photo_sha256(photo)
    prompt = captioner.see([seen])
    written = read_sentence(model, prompt, captioner.write(prompt)[0])
    asked = [ask_for(model, prompt, written, word) for word in asking.words]
    sentence = written if written.words or not asked else asked[-1][0]
    words = join_asked(written.words, [word for _, word in asked])
    sinks = sink_patches(patch_norms(model, prompt))[0]
    lead = str(captioner.layout.record()["text"])
    image = ExplainedImage(
        path=shared_names([photo_name(photo)])[0],
        sha256=digest,
        caption=written.caption,
        note=_note(captioner, lead, written, words),
        grid=(grid.rows, grid.columns),
        sink_patches=tuple(grid.place(patch) for patch in sinks.nonzero().flatten().tolist()),
    )
    if not words:
        return Explanation(image, {}, under_patches(captioner, seen), lead)
    lemmas = {word.lemma for word in words}
    until = sentence.up_to(model, prompt, max(word.target.position for word in words))
    baseline = stand_ins(captioner.reference, until, lemmas, digest)
    context = Context(
        reference=captioner.reference,
        partners=tuple(partner.instead_of(until) for partner in baseline),
    )
    targets = [word.target for word in words]
    chosen = _absent_words(captioner, asking, prompt, sentence, words, digest, named)
    beside = [Target(one.token_id, words[n].target.position) for n, one in chosen.items()]
    behind = None
    if context.partners:
        behind = score_behind(asking.scorer, model, [*targets, *beside], context)
    absent: dict[int, _Beside] = {}
    if beside:
        # By itself: more targets in one pass would round the words' own scores otherwise.
        theirs = asking.scorer.score(model, until, beside, context=context)
        last = range(len(targets), len(targets) + len(beside))
        apart = None if behind is None else behind.of(last)
        for place, (number, one) in enumerate(chosen.items()):
            absent[number] = _Beside(one, theirs, apart, place)
    case = _Case(
        captioner,
        asking,
        prompt,
        sentence,
        asking.scorer.score(model, until, targets, context=context),
        behind,
        sinks,
        captioner.reference.others_than(lemmas, digest) if captioner.reference else [],
        unrelated_nouns(
            model, lemmas | {word.word for word in words}, {word.target.token_id for word in words}
        ),
        absent,
    )
    explained = [_explain_word(case, number, word) for number, word in enumerate(words)]
    passes = Passes(ROOM // 8) if passes is None else passes
    sights: list[Sight | str | None] = [None] * len(words)
    whys: list[Why | None] = [None] * len(words)
    if asking.sight != "none":
        sights[:] = measure_sight(
            captioner,
            asking.sight,
            prompt,
            sentence,
            words,
            sinks=sinks,
            digest=digest,
            named=named,
            seed=asking.seed,
            passes=passes,
        )
        scored = Explained(
            captioner,
            asking.scorer,
            words,
            case.attribution,
            behind,
            {partner.name for partner in baseline},
            digest,
            named,
        )
        whys[:] = [
            explain_why(scored, number, case.up_to(word)) if asks_why(word, named) else None
            for number, word in enumerate(words)
        ]
    return Explanation(
        replace(
            image,
            reading=_reading(case, words, digest, passes),
            words=tuple(
                replace(_with_sight(word, sight), why=why)
                for (word, _), sight, why in zip(explained, sights, whys, strict=True)
            ),
        ),
        {
            f"{number}.{name}": tensor
            for number, (_, fields) in enumerate(explained)
            for name, tensor in fields.items()
        },
        under_patches(captioner, seen),
        lead,
    )


def _reading(
    case: _Case, words: Sequence[Word], digest: str, passes: Passes
) -> tuple[Reading, ...] | None:
    """Return what sets of units say of the photo."""
    if jacobian_of(case.model) is None:
        return None
    return read_change(
        case.model,
        case.up_to(words[0]),
        case.attribution.activation,
        case.sinks,
        sorted({word.lemma for word in words}),
        partners_activations(case.model, case.prompt, words[0], digest, passes),
    )


def _with_sight(word: ExplainedWord, sight: Sight | str | None) -> ExplainedWord:
    if isinstance(sight, str):
        return replace(word, sight_note=sight)
    return replace(word, sight=sight)


def _absent_words(
    captioner: SeeingModel,
    asking: Settings,
    prompt: ImagePrompt,
    sentence: Sentence,
    words: Sequence[Word],
    seed: str,
    named: Sequence[str],
) -> dict[int, AbsentWord]:
    """Return, for each word whose units are switched off, one that nobody named."""
    model, said = captioner.language_model, {word.lemma for word in words}
    tokens = {*sentence.token_ids, *(word.target.token_id for word in words)}
    found = {}
    for number, word in enumerate(words):
        if _is_ablated(asking, number, word):
            until = sentence.up_to(model, prompt, word.target.position)
            partners = instead_of(captioner.reference, until, said, seed)
            chosen = choose_absent(model, word.target, {*said, *named}, tokens, partners, seed)
            if chosen is not None:
                found[number] = chosen
    return found


def _is_ablated(asking: Settings, number: int, word: Word) -> bool:
    first = number == 0 or word.span is None
    return asking.ablate == "all" or (asking.ablate == "first" and first)


def comparable(captioner: SeeingModel, settings: Settings) -> SeeingModel:
    """Return the model without its reference table where that was measured with another scorer.

    A score of another kind has another scale.
    """
    table = captioner.reference
    if table is None or table.fits(settings.scorer):
        return captioner
    return replace(captioner, reference=None)  # type: ignore[type-var]


def _note(
    captioner: SeeingModel, lead: str, written: Sentence, words: Sequence[Word]
) -> str | None:
    """Return what has to be said of a caption without a noun, and of an encoder without a grid."""
    said = []
    if not written.words:
        said.append(ASKED_ONLY.format(lead) if words else NO_NOUN)
    if words and not captioner.encoder.grid.has_patches:
        said.append(NO_MAPS)
    return "; ".join(said) or None


def _explain_word(case: _Case, number: int, word: Word) -> tuple[ExplainedWord, dict[str, Tensor]]:
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
    if not _is_ablated(settings, number, word):
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


def _said_of(case: _Case, word: Word, later: bool) -> str | None:
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
    case: _Case, ranked: Ranked
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


def _others_in(case: _Case, ranked: Ranked, ranking: Ranking) -> float | None:
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
    case: _Case, view: View, written: Sequence[tuple[Unit, int]] | dict[tuple[Unit, int], None]
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
    case: _Case,
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


def _rank(case: _Case, number: int, view: View, *, later: bool) -> Ranked:
    """Return the rankings of a word's units in one view, and the sets they are compared with."""
    return _ranked(case, case.attribution, case.behind, number, view, later=later)


def _absent(case: _Case, number: int, word: Word, view: View) -> Absent | None:
    """Return the word that nobody named beside one of the photo's, with its own units."""
    beside = case.absent.get(number)
    if beside is None:
        return None
    later = _is_later(number, word)
    ranked = _ranked(case, beside.attribution, beside.behind, beside.place, view, later=later)
    return Absent(beside.word.word, beside.word.token_id, ranked)


def _ranked(
    case: _Case,
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


def _curves(case: _Case, number: int, word: Word, ranked: Ranked, tried: Tried) -> Curves:
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


def _ablated_captions(case: _Case, ranked: Ranked) -> AblatedCaptions:
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
