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
    seen = [seeing.see([photo]) for photo in photos[4:]]
    partners = [
        make_partner(photo_sha256(photo), f"a {noun(k)} here", human(k), p.embeddings[0, p.patches])
        for k, (photo, p) in enumerate(zip(photos[4:], seen, strict=True))
    ]
    return seeing.with_reference(
        replace(table, partners=sorted(partners, key=lambda partner: partner.name))
    )
