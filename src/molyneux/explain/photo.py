"""Everything that is asked of one photo, as a part of the document and heat maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from molyneux.explain.case import Beside, Case, is_ablated
from molyneux.explain.document import Image as ExplainedImage
from molyneux.explain.document import Reading
from molyneux.explain.document import Word as ExplainedWord
from molyneux.explain.explanation import Explanation
from molyneux.explain.folder import shared_names
from molyneux.explain.read_sets import partners_activations, read_change
from molyneux.explain.seen import under_patches
from molyneux.explain.settings import Settings, as_settings
from molyneux.explain.sight import measure_sight
from molyneux.explain.sight_record import Sight
from molyneux.explain.why import Explained, asks_why, explain_why
from molyneux.explain.why_record import Why
from molyneux.explain.word import explain_word
from molyneux.models.scoring import jacobian_of, scoring_context
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing
from molyneux.neurons.attribution import Target
from molyneux.neurons.contrast import instead_of, score_behind, stand_ins
from molyneux.neurons.receptive_fields import NO_GRID
from molyneux.neurons.sight.absent import AbsentWord
from molyneux.neurons.sight.absent_word import choose_absent
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
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo, photo_name, photo_sha256, read_photo

NO_NOUN = "the caption has no noun to explain; ask for a word with --word"
ASKED_ONLY = 'the caption has no noun; the words asked for are scored after "{} a"'
NO_MAPS = f"no heat maps: {NO_GRID}"


Stage = Callable[[str], None]
"""Told what is done next, in a few words; what it raises ends the work there."""


def explain_photo(
    captioner: SeeingModel | Sees,
    photo: Photo,
    settings: Settings | None = None,
    on_stage: Stage = lambda stage: None,
) -> Explanation:
    """Return a photo's caption, words, units, heat maps and ablations; no file is written.

    Specific scores and controls need a reference table of the same scorer; without one they are
    left out.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: an argument is none, or the tokenizer has no token for a word asked for.
    """
    seeing, asking = as_seeing(captioner), as_settings(settings)
    asking = asking.of_model(seeing.language_model.n_units)
    return explain_seen(seeing, photo, asking, on_stage=on_stage)


def explain_seen(
    captioner: SeeingModel,
    photo: Photo,
    asking: Settings,
    digest: str | None = None,
    named: Sequence[str] = (),
    passes: Passes | None = None,
    on_stage: Stage = lambda stage: None,
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
    table, captioner = captioner.reference, comparable(captioner, asking)
    seen, digest = read_photo(photo), digest or photo_sha256(photo)
    on_stage("writing the caption")
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
    on_stage("scoring every unit")
    lemmas = {word.lemma for word in words}
    until = sentence.up_to(model, prompt, max(word.target.position for word in words))
    baseline = stand_ins(captioner.reference, until, lemmas, digest)
    partners = tuple(partner.instead_of(until) for partner in baseline)
    # The table that is left aside for its scores says all the same how active units are.
    context = replace(
        scoring_context(captioner, asking.scorer, seen, partners=partners), reference=table
    )
    targets = [word.target for word in words]
    chosen = _absent_words(captioner, asking, prompt, sentence, words, digest, named)
    beside = [Target(one.token_id, words[n].target.position) for n, one in chosen.items()]
    behind = None
    if context.partners:
        behind = score_behind(asking.scorer, model, [*targets, *beside], context)
    absent: dict[int, Beside] = {}
    if beside:
        # By itself: more targets in one pass would round the words' own scores otherwise.
        theirs = asking.scorer.score(model, until, beside, context=context)
        last = range(len(targets), len(targets) + len(beside))
        apart = None if behind is None else behind.of(last)
        for place, (number, one) in enumerate(chosen.items()):
            absent[number] = Beside(one, theirs, apart, place)
    case = Case(
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
    explained = []
    for number, word in enumerate(words):
        if is_ablated(asking, number, word):
            on_stage(f"switching units of “{word.word}” off")
        explained.append(explain_word(case, number, word))
    passes = Passes(ROOM // 8) if passes is None else passes
    sights: list[Sight | str | None] = [None] * len(words)
    whys: list[Why | None] = [None] * len(words)
    if asking.sight != "none":
        on_stage("what the photo adds to its words")
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
            context,
            words,
            case.attribution,
            behind,
            {partner.name for partner in baseline},
            digest,
            named,
        )
        if any(asks_why(word, named) for word in words):
            on_stage("why a word that is not there")
        whys[:] = [
            explain_why(scored, number, case.up_to(word)) if asks_why(word, named) else None
            for number, word in enumerate(words)
        ]
    on_stage("what the patches say")
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
    case: Case, words: Sequence[Word], digest: str, passes: Passes
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
        if is_ablated(asking, number, word):
            until = sentence.up_to(model, prompt, word.target.position)
            partners = instead_of(captioner.reference, until, said, seed)
            chosen = choose_absent(model, word.target, {*said, *named}, tokens, partners, seed)
            if chosen is not None:
                found[number] = chosen
    return found


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
