"""What a photo's patches say, as the page shows it: by layer, with effects, and at each patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molyneux.explain.claims import percent
from molyneux.explain.document import Image, Reading, WordEffect

WORDS = 10
EFFECTS = 5


@dataclass(frozen=True)
class Said:
    """What the units of some layers say together.

    Attributes:
        layers: which, in words.
        words: the nouns of highest score, each with whether it is one that was explained.
        up: the nouns that they give most, exactly, each with how much in nats.
        down: those that they take from.
        places: of each word that was explained, its percentile here and in other photos.
    """

    layers: str
    words: tuple[tuple[str, bool], ...]
    up: tuple[tuple[str, str], ...]
    down: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str, str], ...]


def said_by_layers(image: Image) -> list[Said]:
    """Return what is read through the Jacobian lens: of all layers first, then of parts of them."""
    # Of a word far too improbable to be right, that it is read says nothing.
    words = {word.word for word in image.words if not word.warning}
    return [
        Said(
            _layers(one.layers),
            tuple((each.word, each.word in words) for each in one.words[:WORDS]),
            _told(one.effects_up),
            _told(one.effects_down),
            tuple(
                (each.word, percent(each.percentile), percent(each.in_other_photos))
                for each in one.words
                if each.word in words and each.in_other_photos is not None
            ),
        )
        for one in _readings(image)
        if one.words
    ]


def said_at_patches(image: Image) -> list[list[tuple[str, float]]] | None:
    """Return the words of every patch with their scores, row by row; None where there are none."""
    return next((_patches(one) for one in _at_patches(image) if one.layers == "all"), None)


def said_at_patches_by_layers(image: Image) -> list[tuple[str, list[list[tuple[str, float]]]]]:
    """Return the same of each part of the layers, beside which it is; none in earlier documents."""
    return [
        (_layers(one.layers), _patches(one)) for one in _at_patches(image) if one.layers != "all"
    ]


def _at_patches(image: Image) -> list[Reading]:
    return [one for one in _readings(image) if one.at_patches is not None]


def _patches(one: Reading) -> list[list[tuple[str, float]]]:
    return [list(zip(each.words, each.scores, strict=True)) for each in one.at_patches or ()]


def _readings(image: Image) -> list[Reading]:
    return [one for one in image.reading or () if one.lens == "jacobian"]


def _layers(layers: str | Sequence[int]) -> str:
    if isinstance(layers, str):
        return "all layers"
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def _told(effects: Sequence[WordEffect]) -> tuple[tuple[str, str], ...]:
    return tuple((each.word, f"{each.nats:+.1f}".replace("-", "−")) for each in effects[:EFFECTS])
