"""E6, *Do they cause it?*: what is left of a photo's word when units are switched off.

Schwettmann et al. 2023, sections 3.3 and 4.3: the word's probability and the caption along a grid
of set sizes. Beside the paper's random units: another photo's units, units matched in strength,
silencing at the patches alone, replacing instead of zeroing, and what happens to other words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.hooks import capture
from molyneux.neurons.ablation import Positions, ablated_logits
from molyneux.neurons.targets import EVERYDAY, nouns_shown, unrelated_nouns, word_tokens
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import DRAWN, QUOTED
from molyneux.studies.subject import Subject

# Everyday nouns that a photo's word may compete with, besides those of `EVERYDAY`.
MORE_NOUNS = tuple(
    """person people boy girl baby lady guy family crowd player skier surfer snowboard cow sheep
    elephant bear zebra giraffe duck fish rabbit mouse monkey lion tiger wolf deer goat pig chicken
    snake frog turtle shark insect butterfly spider bee animal motorcycle bike bicycle van vehicle
    taxi tram ship airplane jet helicopter engine wheel track road path sidewalk corner sign light
    lamp traffic pole fence gate wall window door floor roof stairs room kitchen bathroom bedroom
    office hotel restaurant store market shop school hospital station airport tower castle temple
    farm barn garden park field grass forest wood hill valley lake sea ocean water wave sand snow
    ice rock stone sky cloud sun moon star rain fire smoke desk bench couch sofa shelf mirror
    picture painting poster screen television laptop keyboard camera radio book paper letter map
    pen knife fork spoon bowl glass mug pot pan oven stove refrigerator sink toilet towel basket
    box bag suitcase backpack bread cheese sandwich burger salad soup rice meat egg fruit apple
    banana orange lemon strawberry vegetable carrot broccoli tomato potato coffee tea milk beer
    wine juice flag kite frisbee skateboard surfboard racket bat glove helmet jacket coat dress
    skirt pants shoes boots glasses watch ring tie doll toy piano drum violin gun sword tool
    hammer machine""".split()  # noqa: SIM905
)


POSITIONS: tuple[Positions, Positions] = ("all", "patches")
REPLACED = (*QUOTED, "other_specific", *DRAWN)

CURVES = pa.schema(
    [
        ("view", pa.string()),
        ("positions", pa.string()),
        ("intervention", pa.string()),
        ("set", pa.string()),
        ("seed", pa.int32()),
        ("step", pa.int32()),
        ("share", pa.float64()),
        ("probability", pa.float64()),
        ("ratio", pa.float64()),
        ("logprob_change", pa.float64()),
        ("margin_change", pa.float64()),
        ("unrelated_change", pa.float64()),
        ("rank", pa.int32()),
    ]
)
"""A silenced set a row; `intact` is the empty one, at step 0 of each of the positions."""

CAPTIONS = pa.schema(
    [
        ("set", pa.string()),
        ("step", pa.int32()),
        ("text", pa.string()),
        ("has_noun", pa.bool_()),
    ]
)
UNITS = pa.schema(
    [
        ("ranking", pa.string()),
        ("rank", pa.int32()),
        ("layer", pa.int32()),
        ("unit", pa.int32()),
        ("effect", pa.float64()),
        ("total", pa.float64()),
    ]
)
BERTSCORE = pa.schema(
    [
        ("set", pa.string()),
        ("step", pa.int32()),
        ("to_original", pa.float64()),
        ("to_human", pa.float64()),
    ]
)


def in_order(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Return a set's units as they are compared: the same units are one set."""
    return tuple(sorted(units))


def silence(
    subject: Subject, positions: Positions, sets: list[tuple[Unit, ...]]
) -> dict[tuple[str, tuple[Unit, ...]], Tensor]:
    """Return the logits without each distinct set; the same units in another order are one set."""
    tried = list(dict.fromkeys(sets))
    logits = ablated_logits(subject.model, subject.until, tried, positions=positions)
    return {(positions, units): row for units, row in zip(tried, logits, strict=True)}


@dataclass(frozen=True)
class Measured:
    """Tokens that a photo's silenced rows are read at.

    Attributes:
        target: the first token of the word.
        rival: the noun that the intact model holds likeliest after the target; None without one.
        unrelated: first tokens of everyday nouns that are not in the photo.
    """

    target: int
    rival: int | None
    unrelated: tuple[int, ...]
    d_vocab: int

    @classmethod
    def of(cls, subject: Subject, intact: Float[Tensor, " vocab"]) -> Measured:
        """Return the tokens of a photo whose intact logits are given."""
        assert subject.word is not None
        model, target = subject.model, subject.target.token_id
        named = {word for name in subject.item.categories for word in name.split()}
        in_photo = subject.lemmas | subject.human_nouns | named
        said = in_photo | {word.word for word in subject.sentence.words}
        used = nouns_shown(said, subject.item.categories)
        _, unrelated = unrelated_nouns(model, used, {target})
        nouns = {*EVERYDAY, *MORE_NOUNS, *in_photo} - {subject.word.word, subject.word.lemma}
        rivals = [token for token in single_tokens(model, nouns) if token != target]
        rival = max(rivals, key=lambda token: (float(intact[token]), -token), default=None)
        return cls(target, rival, tuple(unrelated), model.d_vocab)


def single_tokens(model: LanguageModel, nouns: Iterable[str]) -> list[int]:
    """Return the tokens of those nouns that are one token, ascending: part of a word is no word."""
    ids = [word_tokens(model, noun) for noun in sorted(nouns)]
    return sorted({found[0] for found in ids if len(found) == 1})


def effects(
    logits: Float[Tensor, " vocab"], intact: Float[Tensor, " vocab"], at: Measured
) -> dict[str, Any]:
    """Return what is left of the target, and what became of other words.

    `probability`; `ratio` to the intact probability; `logprob_change` (nats); `margin_change`:
    of the target's logit minus its rival's (logits; None without a rival); `unrelated_change`:
    mean change of the log-probability (nats) over the unrelated nouns; `rank`: 1 where no
    other token is likelier.
    """
    logprobs, before = logits.log_softmax(dim=-1), intact.log_softmax(dim=-1)
    change = logprobs - before
    lost = float(change[at.target])
    margin = None
    if at.rival is not None:
        now = logits[at.target] - logits[at.rival]
        margin = float(now - (intact[at.target] - intact[at.rival]))
    unrelated = change[list(at.unrelated)].mean() if at.unrelated else None
    tokens = logits[: at.d_vocab]
    return {
        "probability": float(logprobs[at.target].exp()),
        "ratio": float(torch.tensor(lost).exp()),
        "logprob_change": lost,
        "margin_change": margin,
        "unrelated_change": None if unrelated is None else float(unrelated),
        "rank": 1 + int((tokens > tokens[at.target]).sum()),
    }


def blank_photo(photo: Image.Image) -> Image.Image:
    """Return a picture of the same size in the photo's mean colour."""
    mean = np.asarray(photo.convert("RGB"), dtype=float).reshape(-1, 3).mean(axis=0)
    red, green, blue = (round(float(part)) for part in mean)
    return Image.new("RGB", photo.size, (red, green, blue))


@torch.no_grad()
def blank_activation(subject: Subject) -> Float[Tensor, "layers patches d_mlp"]:
    """Return every unit's activation at every patch while the blank photo is shown."""
    model = subject.model
    prompt = subject.captioner.see([blank_photo(subject.photo)])
    modules = {layer: model.down_projection(layer) for layer in range(model.n_layers)}
    with capture(modules, at="input") as seen:
        model.read(prompt, keep=1)
    shape = (prompt.n_positions, -1)
    return torch.stack([seen[k].float().reshape(shape)[prompt.patches].cpu() for k in modules])
