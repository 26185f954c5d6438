"""Everything that is asked of one photo, as plain data and heat maps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from molyneux.explain.contrast import specific_contrast
from molyneux.explain.curves import ablation_curves
from molyneux.models.generation import continue_greedily
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.ablation import Positions, silenced
from molyneux.neurons.attribution import (
    VIEWS,
    Attribution,
    Objective,
    Site,
    View,
    attribute_units,
)
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.rankings import Rankings, complete_prefix, rank_for
from molyneux.neurons.receptive_fields import NO_GRID, receptive_fields, set_field
from molyneux.neurons.reference import OtherPhoto
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.targets import Sentence, Word, ask_for, read_sentence, unrelated_nouns
from molyneux.neurons.unit import Unit, top_units, unit_mask
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import photo_sha256, read_photo
from molyneux.words.dictionary import is_interpretable

NO_NOUN = "the caption has no noun to explain; ask for a word with --word"
ASKED_ONLY = 'the caption has no noun; the words asked for are scored after "{} a"'
NO_MAPS = f"no heat maps: {NO_GRID}"
CAPTION_UNITS = 100


@dataclass(frozen=True)
class Settings:
    """What is computed for every photo.

    Attributes:
        top: how many units are listed in each ranking and view.
        ablate: whose units are switched off: those of the first noun (and of words asked for),
            of all words, or of none.
        grid: how many units are switched off at each step.
        seeds: random controls.
    """

    grid: list[int]
    top: int = 100
    words: tuple[str, ...] = ()
    ablate: Literal["first", "all", "none"] = "first"
    positions: Positions = "all"
    seeds: int = 3
    seed: int = 0
    of: Objective = "logit"
    site: Site = "activation"


@dataclass
class Explanation:
    """A photo's part of the document, and its heat maps by name."""

    document: dict[str, Any]
    fields: dict[str, Tensor] = field(default_factory=dict)


def explain_photo(
    captioner: SeeingModel, path: str | os.PathLike[str], settings: Settings
) -> Explanation:
    """Return a photo's caption, words, units, heat maps and ablations.

    Raises:
        PhotoError: the photo cannot be read.
        UsageError: a word asked for is empty.
    """
    model = captioner.language_model
    photo = read_photo(path)
    digest = photo_sha256(path)
    prompt = captioner.see([photo])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    words = list(sentence.words)
    for asked in settings.words:
        sentence_asked, word = ask_for(model, prompt, sentence, asked)
        words.append(word)
        if not sentence.words:
            sentence = sentence_asked
    asked_only = ASKED_ONLY.format(captioner.layout.record()["text"])
    note = None if sentence.words else asked_only if words else NO_NOUN
    grid = captioner.encoder.grid
    if words and not grid.has_patches:
        note = f"{note}; {NO_MAPS}" if note else NO_MAPS
    sinks = sink_patches(patch_norms(model, prompt))[0]
    explanation = Explanation(
        {
            "path": os.fspath(path),
            "sha256": digest,
            "caption": sentence.caption,
            "note": note,
            "error": None,
            "grid": [grid.rows, grid.columns],
            "sink_patches": [list(grid.place(p)) for p in sinks.nonzero().flatten().tolist()],
            "words": [],
        }
    )
    if not words:
        return explanation
    last = max(word.target.position for word in words)
    attribution = attribute_units(
        model,
        sentence.up_to(model, prompt, last),
        [word.target for word in words],
        of=settings.of,
        site=settings.site,
    )
    lemmas = {word.lemma for word in words}
    others = captioner.reference.others_than(lemmas, digest) if captioner.reference else []
    nouns, unrelated = unrelated_nouns(
        model, lemmas | {word.word for word in words}, {word.target.token_id for word in words}
    )
    for number, word in enumerate(words):
        entry = {
            "word": word.word,
            "token": word.token,
            "token_id": word.target.token_id,
            "position": word.target.position,
            "probability": float(attribution.probability[number]),
            "logit": float(attribution.logit[number]),
            "span": list(word.span) if word.span else None,
            "n_tokens": word.n_tokens,
            "note": word.note,
            "unrelated": nouns,
            "units": {},
            "specific_units": {},
            "ablation": None,
            "ablation_last": None,
            "ablated_caption": None,
        }
        for view in VIEWS:
            _list_units(captioner, attribution, number, view, settings.top, entry, explanation)
        first = number == 0 or word.span is None
        if settings.ablate == "all" or (settings.ablate == "first" and first):
            rankings = _ablate(
                captioner,
                prompt,
                sentence,
                word,
                attribution,
                number,
                others,
                unrelated,
                settings,
                entry,
            )
            entry["ablated_caption"] = _ablated_captions(
                captioner, prompt, rankings, settings.positions
            )
        explanation.document["words"].append(entry)
    return explanation


def _list_units(
    captioner: SeeingModel,
    attribution: Attribution,
    number: int,
    view: View,
    n: int,
    entry: dict[str, Any],
    explanation: Explanation,
) -> None:
    model, reference = captioner.language_model, captioner.reference
    scores = attribution.view(view)
    score = scores.score[number]
    specific = None if reference is None else reference.specific(score.cpu(), view)
    sinks = None if reference is None else reference.sinks(view)
    grid = captioner.encoder.grid

    def rows(units: list[Unit], ranking: str) -> list[dict[str, Any]]:
        if not units:
            return []
        at = ([u.layer for u in units], [u.unit for u in units])
        signs = scores.sign[number][at].tolist()
        found: dict[str, list[Any]] = {
            "score": score[at].tolist(),
            "total": scores.total[number][at].tolist(),
            "share": scores.share[number][at].tolist(),
        }
        listed = []
        decoding = captioner.decoding
        read = decode_units(
            model,
            units,
            signs if decoding.written else None,
            final_norm=decoding.final_norm,
            bias=decoding.bias,
        )
        for i, decoded in enumerate(read):
            unit = units[i]
            value = None if specific is None else float(specific[unit.layer, unit.unit])
            row = {
                "layer": unit.layer,
                "unit": unit.unit,
                **{name: values[i] for name, values in found.items()},
                "specific": None if value in (None, -torch.inf) else value,
                "sign": signs[i],
                "sink": None if sinks is None else bool(sinks[unit.layer, unit.unit]),
                "tokens": decoded.tokens,
                "suppressed": decoded.suppressed,
                "interpretable": is_interpretable(decoded.tokens),
            }
            if view == "patches" and grid.has_patches:
                patch = int(scores.peak_patch[number, unit.layer, unit.unit])
                row["peak_patch"] = list(grid.place(patch))
            listed.append(row)
        if not grid.has_patches:
            return listed
        fields = receptive_fields(attribution.activation, units, signs, grid)
        name = f"{ranking}.{view}"
        place = len(explanation.document["words"])
        explanation.fields[f"{place}.{name}"] = fields
        explanation.fields[f"{place}.{name}.set"] = set_field(fields)
        return listed

    entry["units"][view] = rows(top_units(score, n), "top")
    entry["specific_units"][view] = (
        [] if specific is None else rows(top_units(specific, n), "specific")
    )


def _ablate(
    captioner: SeeingModel,
    prompt: ImagePrompt,
    sentence: Sentence,
    word: Word,
    attribution: Attribution,
    number: int,
    others: list[OtherPhoto],
    unrelated: list[int],
    settings: Settings,
    entry: dict[str, Any],
) -> Rankings:
    model = captioner.language_model
    until = sentence.up_to(model, prompt, word.target.position)
    kept: Rankings | None = None
    other = next(iter(others), None)
    for view, name in ((VIEWS[0], "ablation"), (VIEWS[1], "ablation_last")):
        rankings = rank_for(
            model,
            attribution,
            number,
            view,
            n=max(settings.grid),
            seeds=settings.seeds,
            seed=settings.seed,
            reference=captioner.reference,
            other=other,
        )
        entry[name] = ablation_curves(
            model,
            until,
            word.target.token_id,
            rankings,
            settings.grid,
            view=view,
            positions=settings.positions,
            unrelated=unrelated,
        ) | {
            "other_noun": other.noun if other else None,
            "contrast": specific_contrast(
                model,
                until,
                word.target.token_id,
                [unit for unit in rankings.specific or () if unit is not None],
                others,
                view=view,
                positions=settings.positions,
            ),
        }
        kept = kept or rankings
    assert kept is not None
    return kept


def _ablated_captions(
    captioner: SeeingModel, prompt: ImagePrompt, rankings: Rankings, positions: Positions
) -> dict[str, Any]:
    """Write the caption again with the first units of each ranking (patch view) off throughout."""
    model = captioner.language_model
    lists = {
        "top": rankings.top,
        "specific": rankings.specific,
        "other_specific": rankings.other_specific,
        "random": rankings.random[0] if rankings.random else None,
    }
    sets = {
        name: complete_prefix(ranking, CAPTION_UNITS) if ranking is not None else None
        for name, ranking in lists.items()
    }
    names = [name for name, units in sets.items() if units is not None]
    captions: dict[str, Any] = {"units": CAPTION_UNITS, **dict.fromkeys(sets)}
    if names:
        masks = torch.stack(
            [unit_mask(sets[name] or [], model.n_layers, model.d_mlp) for name in names]
        )
        batch = prompt.repeated(len(names))
        with silenced(model, masks, prompt.patches, positions):
            written = continue_greedily(model, batch)
        captions |= {n: model.decode(ids).strip() for n, ids in zip(names, written, strict=True)}
    return captions
