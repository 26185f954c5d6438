"""Tiny models with a reference table whose partner photos are said to show what a test likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_models import tiny_photos

from molyneux.explain.measure_reference import measure_reference
from molyneux.neurons.partners import make_partner
from molyneux.vision.photo import photo_sha256

N_PARTNERS = 20
Seeing = Any


def square_photos(folder: Path, n: int = N_PARTNERS + 4) -> list[Path]:
    """Save small square photos, which every tiny model sees as equally many patches."""
    paths = [folder / f"{number:02}.png" for number in range(n)]
    for path, photo in zip(paths, tiny_photos(n), strict=True):
        photo.crop((0, 0, 80, 80)).save(path)
    return paths


def with_partners(
    seeing: Seeing,
    photos: list[Path],
    noun: Callable[[int], str],
    human: Callable[[int], tuple[str, ...]] = lambda _: (),
) -> Seeing:
    """Return a model with a table of the first four photos, and all others as its partners.

    Args:
        noun: what each partner's caption is about.
        human: what people wrote of each.
    """
    table, _ = measure_reference(seeing, photos[:4], data="drawings", n_listed=10)
    return with_partners_of(seeing.with_reference(table), photos[4:], noun, human)


def with_partners_of(
    seeing: Seeing,
    photos: list[Path],
    noun: Callable[[int], str],
    human: Callable[[int], tuple[str, ...]] = lambda _: (),
) -> Seeing:
    """Return a model whose table has all these photos as its partners, and else what it has."""
    seen = [seeing.see([photo]) for photo in photos]
    partners = [
        make_partner(photo_sha256(photo), f"a {noun(k)} here", human(k), p.embeddings[0, p.patches])
        for k, (photo, p) in enumerate(zip(photos, seen, strict=True))
    ]
    by_name = sorted(partners, key=lambda partner: partner.name)
    return seeing.with_reference(replace(seeing.reference, partners=by_name))
