"""Proving by intervention where a vision-language model's patches lie on a photo."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageChops

from molyneux.adapters.proof.prove import Check
from molyneux.models.vlm import VisionLanguageModel


def prove_patches(
    model: VisionLanguageModel,
    photo: Image.Image | None = None,
    patches: Sequence[int] | None = None,
) -> list[Check]:
    """Return, for some patches, whether changing their part of a photo changes them the most.

    The colours of the part of the photo that lies under a patch are inverted, in the photo's own
    pixels; of all patches' input embeddings, the patch's own must move furthest. Vision networks
    mix patches, and trained ones keep notes about the whole photo in some of them, so that single
    checks may fail where most hold.

    Args:
        photo: any, best not square; squares of strong colours if not given.
        patches: which; the ends of the first and last row and the middle one if not given.
    """
    grid = model.encoder.grid
    if patches is None:
        last = grid.n_patches - 1
        middle = grid.n_patches // 2 + grid.columns // 2
        patches = sorted({0, grid.columns - 1, middle, last - grid.columns + 1, last})
    photo = photo or _strong_colours()
    clean = model.image_prompts([photo])[0].float()
    checks = []
    for patch in patches:
        changed = model.image_prompts([_inverted_at(model, photo, patch)])[0].float()
        moved = (changed - clean).norm(dim=1)
        furthest = int(moved.argmax())
        others = moved.clone()
        others[patch] = 0
        ratio = float(moved[patch] / others.max().clamp(min=1e-12))
        checks.append(
            Check(
                f"patch {patch} lies at row {grid.place(patch)[0]}, column {grid.place(patch)[1]}",
                bool(torch.isfinite(moved).all()) and furthest == patch,
                f"it moves {ratio:.1f} times as far as the one that moves next; furthest, "
                f"{furthest}",
            )
        )
    return checks


def _strong_colours() -> Image.Image:
    """Return a photo half as wide again as it is high, of which no part is near mid-grey."""
    generator = torch.Generator().manual_seed(0)
    squares = torch.randint(0, 2, (16, 24, 3), generator=generator) * 215 + 20
    photo = Image.fromarray(squares.byte().numpy())
    return photo.resize((480, 320), Image.Resampling.NEAREST)


def _inverted_at(model: VisionLanguageModel, photo: Image.Image, patch: int) -> Image.Image:
    """Return the photo with the colours under one patch inverted."""
    grid = model.encoder.grid
    left, top, right, bottom = model.encoder.preprocessing.region(photo)
    row, column = grid.place(patch)
    wide, high = (right - left) / grid.columns, (bottom - top) / grid.rows
    box = (
        round(left + column * wide),
        round(top + row * high),
        round(left + (column + 1) * wide),
        round(top + (row + 1) * high),
    )
    changed = photo.copy()
    changed.paste(ImageChops.invert(photo.crop(box)), box)
    return changed
