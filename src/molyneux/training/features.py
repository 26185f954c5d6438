"""The frozen encoder's features of every training photo, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from molyneux.errors import PhotoError
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
        partial = data.with_suffix(".part")
        store = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        first, refused, row = [], [], 0
        waiting: list[Image.Image] = []

        def flush() -> None:
            nonlocal row
            features = encoder.encode(prepare_pixels(encoder, waiting)).half().cpu().numpy()
            store[row : row + len(waiting)] = features
            row += len(waiting)
            waiting.clear()

        for position in progress if progress is not None else range(len(examples)):
            example = examples[position]
            try:
                pictures = views_of(example, views[position], seed)
            except PhotoError as error:
                refused.append(str(error))
                first.append(-1)
                continue
            first.append(row + len(waiting))
            waiting.extend(pictures)
            if len(waiting) >= BATCH:
                flush()
        if waiting:
            flush()
        store.flush()
        del store
        partial.replace(data)
        index.write_text(json.dumps({"first": first, "refused": refused}))
    found = json.loads(index.read_text())
    return np.load(data, mmap_mode="r"), np.array(found["first"]), found["refused"]
