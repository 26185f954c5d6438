"""What a photo's patches say before any word is asked for: sets of units, read as words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.errors import UsageError, WeightsError
from molyneux.explain.document import PatchWords, Reading, ReadWord, WordEffect
from molyneux.models.scoring import jacobian_of
from molyneux.models.seeing_model import SeeingModel, Sees, as_seeing
from molyneux.neurons.change import change_scores
from molyneux.neurons.lens import HeadLens, Lens
from molyneux.neurons.set_reading import (
    SetReading,
    WordList,
    effects_on_words,
    percentiles,
    read_writes,
    set_writes,
    word_list,
)
from molyneux.neurons.sight.forms import parts_of
from molyneux.neurons.sight.measure import MIN_PARTNERS, TRANSPLANTS, in_order, n_patches
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.sight.patch_sets import change_set, layers_with_path
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import Word
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import Photo
from molyneux.words.everyday import EVERYDAY_NOUNS

FRACTION = 0.05
SHOWN = 20
EFFECTS = 10
AT_A_PATCH = 5
DIGITS = 4
"""Behind the point, of scores at a patch: there are many, and a page shows two that matter."""


def photo_reading(
    captioner: SeeingModel | Sees,
    photo: Photo,
    *,
    fraction: float = FRACTION,
    layers: Sequence[int] | None = None,
    lens: Lens | None = None,
) -> SetReading:
    """Return what the units that a photo changes most say: by layer, by patch, or of the whole.

    The words are those everyday nouns that are one token. Nothing is written, and no caption.

    Args:
        fraction: of the layers' units.
        layers: that units are chosen from; all but the last if None.
        lens: what they are read through; the model's Jacobian lens if None.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: there is no Jacobian lens and none was given, or no such layer or fraction.
        WeightsError: there is no reference table that holds activations.
    """
    seeing = as_seeing(captioner)
    lens = jacobian_of(seeing) if lens is None else lens
    if lens is None:
        raise UsageError(
            "this model has no Jacobian lens; give lens=HeadLens(language_model), or measure one "
            "with `molyneux lens build` and attach it with with_lens(load_lens(path))"
        )
    if seeing.reference is None:
        raise WeightsError("a reading needs a reference table; make one with `molyneux reference`")
    model, usual = seeing.language_model, seeing.reference.require_activation()
    prompt = seeing.see([photo])
    values = patch_activations(model, prompt)
    sinks = sink_patches(patch_norms(model, prompt))[0]
    chosen = change_set(change_scores(values, usual.mean, usual.deviation, sinks), fraction, layers)
    writes = set_writes(model, values, usual.mean, chosen.mask)
    return read_writes(model, lens, writes, word_list(model, EVERYDAY_NOUNS))


def read_change(
    captioner: SeeingModel,
    until: ImagePrompt,
    activation: Float[Tensor, "layers patches d_mlp"],
    sinks: Bool[Tensor, " patches"] | None = None,
    also: Sequence[str] = (),
    others: Sequence[Float[Tensor, "layers patches d_mlp"]] = (),
) -> tuple[Reading, ...] | None:
    """Return what the units that a photo changes most say, through the head and a Jacobian lens.

    Over all layers, then over each third of them alone; through the Jacobian lens, at each patch
    too. Of the list of everyday nouns, those that are one token are read.

    Args:
        until: the photo's prompt, up to where the caption's first noun is predicted.
        activation: of every unit at the photo's patches.
        sinks: patches to leave out of sums.
        also: nouns that are told, however low they are: those of the caption.
        others: what partners have in the units' place (`partners_activations`); without any there
            are no effects, and no word has a percentile in other photos.

    Returns:
        None: there is no Jacobian lens, no reference table with mean activations, or all patches
            are sinks.
    """
    lens, table = jacobian_of(captioner), captioner.reference
    if lens is None or table is None or table.activation is None:
        return None
    if sinks is not None and bool(sinks.all()):
        return None
    model, usual = captioner.language_model, table.activation
    values, mean = activation.cpu(), usual.mean
    z = change_scores(values, mean, usual.deviation, sinks)
    words = word_list(model, [*EVERYDAY_NOUNS, *also])
    parts = parts_of(layers_with_path(model.n_layers))
    sets = [change_set(z, FRACTION, part) for part in (None, *(parts if parts[1:] else ()))]
    effects: Iterable[Tensor | None] = [None] * len(sets)
    if others:
        instead = sum(others[1:], others[0]) / len(others)
        effects = effects_on_words(model, until, [one.mask for one in sets], instead, words)
    kept = None if sinks is None else ~sinks
    theirs = [change_scores(one, mean, usual.deviation, sinks) for one in others]
    # A lens is linear: a whole photo's reading is that of the mean over its patches.
    wholes = [one[:, slice(None) if kept is None else kept].mean(dim=1) for one in others]
    has_patches = captioner.encoder.grid.n_patches == activation.shape[1] > 1
    lenses: list[Lens] = [HeadLens(model), lens]
    found = []
    for chosen, given in zip(sets, effects, strict=True):
        writes = set_writes(model, values, mean, chosen.mask)
        of_others = [
            set_writes(model, one[:, None], mean, change_set(far, FRACTION, chosen.layers).mask)
            for one, far in zip(wholes, theirs, strict=True)
        ]
        for each in lenses:
            said = read_writes(model, each, writes, words)
            elsewhere = None
            if of_others:
                beside = read_writes(model, each, torch.cat(of_others, dim=1), words).by_patch()
                elsewhere = percentiles(beside).mean(dim=0)
            found.append(
                Reading(
                    lens=each.name,
                    set=chosen.name,
                    fraction_of_units=FRACTION,
                    layers="all" if chosen.layers is None else chosen.layers,
                    words=_ranked(said, kept, also, elsewhere),
                    effects_up=() if given is None else _largest(words, given),
                    effects_down=() if given is None else _largest(words, -given, sign=-1),
                    at_patches=_at_patches(said) if has_patches and each is lens else None,
                )
            )
    return tuple(found)


def partners_activations(
    captioner: SeeingModel, prompt: ImagePrompt, word: Word, digest: str, passes: Passes
) -> list[Float[Tensor, "layers patches d_mlp"]]:
    """Return what units have at the patches of photos that do not show a word.

    Of the partners that the short form of sight compares the word with; none if there are too few,
    or they have more or fewer patches.

    Args:
        prompt: the photo's.
        digest: the photo's hash, which gives the order of the partners.
        passes: where partners' passes are found, or kept.
    """
    table = captioner.reference
    panel = table.partners_without({word.word, word.lemma}) if table is not None else []
    panel = [partner for partner in panel if partner.name != digest]
    order = in_order([partner.name for partner in panel], digest)
    patches = n_patches(prompt)
    if len(panel) < MIN_PARTNERS or any(len(partner.patches) != patches for partner in panel):
        return []
    found = []
    for place in order[:TRANSPLANTS]:
        behind = passes.clean(captioner.language_model, panel[place].instead_of(prompt))
        assert behind.activation is not None
        found.append(behind.activation)
    return found


def _largest(
    words: WordList, effects: Float[Tensor, " words"], sign: int = 1
) -> tuple[WordEffect, ...]:
    """Return the words of the largest effects above zero, told with their sign."""
    order = effects.argsort(descending=True, stable=True).tolist()[:EFFECTS]
    return tuple(
        WordEffect(word=words.words[i], nats=sign * float(effects[i]))
        for i in order
        if effects[i] > 0
    )


def _at_patches(said: SetReading) -> tuple[PatchWords, ...]:
    """Return the first words of every patch, sinks too."""
    best = said.by_patch().topk(min(AT_A_PATCH, len(said.words)))
    return tuple(
        PatchWords(
            words=tuple(said.words[i] for i in places),
            scores=tuple(round(score, DIGITS) for score in scores),
        )
        for places, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _ranked(
    said: SetReading,
    kept: Bool[Tensor, " patches"] | None,
    also: Sequence[str],
    elsewhere: Float[Tensor, " words"] | None,
) -> tuple[ReadWord, ...]:
    """Return the words of highest score, then those to be told anyway."""
    scores = said.whole(patches=kept)
    among = percentiles(scores).tolist()
    order = scores.argsort(descending=True, stable=True).tolist()
    shown = [i for place, i in enumerate(order) if place < SHOWN or said.words[i] in also]
    return tuple(
        ReadWord(
            word=said.words[i],
            score=float(scores[i]),
            percentile=among[i],
            in_other_photos=None if elsewhere is None else float(elsewhere[i]),
        )
        for i in shown
    )
