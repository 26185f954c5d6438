"""The frozen encoder's features of every training photo, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from molyneux.errors import PhotoError, RunError
from molyneux.store import Run
from molyneux.training.examples import Example
from molyneux.vision.encoder import ImageEncoder, prepare_pixels
from molyneux.vision.photo import read_photo

BATCH = 32


def augment(photo: Image.Image, rng: random.Random) -> Image.Image:
    """Return a random view: 60 to 100 % of the area, aspect 3:4 to 4:3, mirrored half the time."""
    width, height = photo.size
    for _ in range(10):
        area = width * height * rng.uniform(0.6, 1.0)
        aspect = rng.uniform(3 / 4, 4 / 3)
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w <= width and h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            photo = photo.crop((left, top, left + w, top + h))
            break
    if rng.random() < 0.5:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return photo


def views_of(example: Example, views: int, seed: int) -> list[Image.Image]:
    """Return an example's views: the photo (or its crop) as it is, then augmented ones."""
    photo = read_photo(example.file)
    if example.crop is not None:
        left, top, right, bottom = example.crop
        if not (0 <= left < right <= photo.width and 0 <= top < bottom <= photo.height):
            raise PhotoError(
                f"{example.file}: the crop {example.crop} is not inside its {photo.width} x "
                f"{photo.height} pixels; give left, top, right, bottom"
            )
        photo = photo.crop(example.crop)
    rng = random.Random(f"{seed} {example.file.name} {example.crop}")
    return [photo, *(augment(photo, rng) for _ in range(views - 1))]


def cache_features(
    encoder: ImageEncoder,
    examples: list[Example],
    views: list[int],
    folder: Path,
    seed: int,
    progress: Iterable[int] | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return (features, first row of each example, refusals); computed unless already on disk.

    Features are float16, memory-mapped, (rows, patches, features); example i owns rows
    `first[i]` to `first[i] + views[i]`. A photo that cannot be read gets no row, is listed with
    its reason, and has `first[i] = -1`.
    """
    key = hashlib.sha256(
        json.dumps(
            [encoder.name, repr(encoder.preprocessing), seed, views]
            + [[str(e.file), e.crop] for e in examples]
        ).encode()
    ).hexdigest()[:16]
    data, index = folder / f"features-{key}.npy", folder / f"features-{key}.json"
    if not index.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (sum(views), encoder.grid.n_patches, encoder.d_features)
        require_space(folder, 2 * math.prod(shape))
        partial = data.with_suffix(".part")
        try:
            store = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
            first, refused = _fill(store, encoder, examples, views, seed, progress)
            store.flush()
            del store
            partial.replace(data)
        finally:
            partial.unlink(missing_ok=True)
        Run(folder).write_json(index.name, {"first": first, "refused": refused})
    found = json.loads(index.read_text())
    return np.load(data, mmap_mode="r"), np.array(found["first"]), found["refused"]


def _fill(
    store: np.ndarray,
    encoder: ImageEncoder,
    examples: list[Example],
    views: list[int],
    seed: int,
    progress: Iterable[int] | None,
) -> tuple[list[int], list[str]]:
    first: list[int] = []
    refused: list[str] = []
    waiting: list[Image.Image] = []
    row = 0
    for position in progress if progress is not None else range(len(examples)):
        try:
            pictures = views_of(examples[position], views[position], seed)
        except PhotoError as error:
            refused.append(str(error))
            first.append(-1)
            continue
        first.append(row + len(waiting))
        waiting.extend(pictures)
        while len(waiting) >= BATCH:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            store[row : row + len(batch)] = _encode(encoder, batch)
            row += len(batch)
    if waiting:
        store[row : row + len(waiting)] = _encode(encoder, waiting)
    return first, refused


def _encode(encoder: ImageEncoder, pictures: list[Image.Image]) -> np.ndarray:
    features: np.ndarray = encoder.encode(prepare_pixels(encoder, pictures)).half().cpu().numpy()
    return features


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold: a memory-mapped file that outgrows it crashes.

    Raises:
        RunError: there is less free space than `needed` bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"the features need {needed / 1e6:.0f} MB in {folder}, {free / 1e6:.0f} MB are free; "
            "free some space, or give --out a folder on another disk"
        )
