"""The frozen encoder's features of every training photo, computed once and kept on disk.

Every process of every run writes the photos it encodes to a new file of its own, and then their
places to a journal beside it; nobody writes to a file again. What no journal names was not done: a
cache that was killed at any point is taken up where it stands, by any number of processes, and
several runs may fill it at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16
from PIL import Image
from torch import Tensor

from molyneux.errors import PhotoError, RunError, UsageError
from molyneux.processes import Process, gather
from molyneux.store import Run
from molyneux.training.crops import views_of
from molyneux.training.examples import Example, Examples
from molyneux.vision.encoder import ImageEncoder, prepare_pixels

BATCH = 32


class FeatureRows:
    """Rows of features (float16, memory-mapped) that lie in several files, under one number."""

    def __init__(self, parts: list[np.ndarray], shape: tuple[int, int]) -> None:
        """Number the rows of all parts, one part after another; `shape` is that of a row."""
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), *shape)

    def __getitem__(self, row: int | np.integer) -> np.ndarray:
        """Return one row, as it is kept."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        found: np.ndarray = self._parts[part][row - int(self._starts[part])]
        return found

    def expect(self, rows: Sequence[int]) -> None:
        """Do nothing: all rows are there."""

    def missing(self, rows: Sequence[int]) -> dict[int, str]:
        """Return no place: photos that cannot be read have no rows."""
        return {}

    def take(self, rows: Sequence[int] | np.ndarray) -> Float[np.ndarray, "rows patches feat"]:
        """Return some rows in float32."""
        found = np.empty((len(rows), *self.shape[1:]), dtype=np.float32)
        for place, row in enumerate(rows):
            found[place] = self[int(row)]
        return found


def cache_key(
    encoder: ImageEncoder, encoder_hash: str, examples: Examples, views: list[int], seed: int
) -> str:
    """Return what a cache is named by: the encoder's weights, the photo list and how it is seen."""
    digest = hashlib.sha256(
        json.dumps(
            [encoder.name, encoder_hash, repr(encoder.preprocessing), seed, examples.place]
        ).encode()
    )
    for example, number in zip(examples, views, strict=True):
        digest.update(json.dumps([example.id, example.crop, number]).encode())
    return digest.hexdigest()[:16]


def cache_features(
    encoder: ImageEncoder,
    examples: Examples | list[Example],
    views: list[int],
    folder: Path,
    seed: int,
    *,
    encoder_hash: str = "",
    process: Process | None = None,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
    left_out: Mapping[int, str] | None = None,
) -> tuple[FeatureRows, np.ndarray, list[str]]:
    """Return (features, first row of each example, refusals); encoded unless already on disk.

    Example i owns the rows `first[i]` to `first[i] + views[i]`. A photo that cannot be read gets
    no row, is listed with its reason, and has `first[i] = -1`. A later call tries it again, since
    a disk may have been away.

    Args:
        process: this one; the others encode the rest, into the same folder.
        on_photo: told how many of its own photos this process has done, and of how many.
        left_out: examples that stay without rows, and why: a run that has begun to draw must not
            find photos that it did without.

    Raises:
        RunError: the disk has too little space, or the folder cannot be written.
        UsageError: the encoder gives features that float16 does not hold.
    """
    process = process or Process()
    examples = Examples.of(examples)
    shape = (encoder.grid.n_patches, encoder.d_features)
    cache = folder / cache_key(encoder, encoder_hash, examples, views, seed)
    with Run.writing():
        folder.mkdir(parents=True, exist_ok=True)
        before = _read_journals(cache, shape)[0]
        done = {index for index, place in before.items() if place.row >= 0} | set(left_out or ())
        # As the first process sees it: another run may be at work on the same photos, and what one
        # process takes for done and another does not would be left out by both.
        left = gather([index for index in range(len(examples)) if index not in done], process)[0]
        if left:
            require_space(folder, 2 * shape[0] * shape[1] * sum(views[index] for index in left))
            cache.mkdir(exist_ok=True)
            own = left[process.rank :: process.world]
            with _Part(cache, process.rank) as part:
                for number, _ in enumerate(_fill(part, encoder, examples, own, views, seed), 1):
                    on_photo(number, len(own))
        process.wait()
    found = _read_journals(cache, shape)[0]
    refused = {index: place.error for index, place in found.items() if place.row < 0}
    # Again as the first process sees it; the others look later, and find at least its rows.
    refused = gather({**refused, **(left_out or {})}, process)[0]
    places, parts = _read_journals(cache, shape)
    first = np.array([-1 if i in refused else places[i].row for i in range(len(examples))])
    return FeatureRows(parts, shape), first, [refused[i] for i in sorted(refused)]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an example's rows begin, or why it has none."""

    row: int
    error: str = ""


class _Part:
    """A new file of rows and its journal, of one process; others may read them meanwhile."""

    def __init__(self, cache: Path, rank: int) -> None:
        self._path = cache / f"rows-{rank:04d}-{secrets.token_hex(4)}.f16"

    def __enter__(self) -> _Part:
        self._data = self._path.open("xb")
        self._journal = self._path.with_suffix(".jsonl").open("xb")
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()
        self._journal.close()

    def append(self, features: np.ndarray) -> None:
        """Write rows; they count once they are journalled."""
        self._data.write(np.ascontiguousarray(features).tobytes())
        self._data.flush()
        os.fsync(self._data.fileno())

    def journal(self, entries: list[dict[str, Any]]) -> None:
        """Say which examples are done."""
        self._journal.write("".join(json.dumps(e) + "\n" for e in entries).encode())
        self._journal.flush()


def _fill(
    part: _Part,
    encoder: ImageEncoder,
    examples: Examples,
    own: list[int],
    views: list[int],
    seed: int,
) -> Iterator[None]:
    """Encode photos, yielding once for each of them that has been read."""
    waiting: list[Image.Image] = []
    unwritten: list[dict[str, Any]] = []
    written = 0
    for index, read in examples.photos(own):
        try:
            pictures = views_of(examples[index], read(), range(views[index]), seed)
        except PhotoError as error:
            part.journal([{"example": index, "error": str(error)}])
            yield
            continue
        row = written + len(waiting)
        unwritten.append({"example": index, "row": row, "end": row + len(pictures)})
        waiting += pictures
        while len(waiting) >= BATCH:
            part.append(_encode(encoder, waiting[:BATCH]))
            waiting, written = waiting[BATCH:], written + BATCH
            part.journal([entry for entry in unwritten if entry["end"] <= written])
            unwritten = [entry for entry in unwritten if entry["end"] > written]
        yield
    if waiting:
        part.append(_encode(encoder, waiting))
        part.journal(unwritten)


def _encode(encoder: ImageEncoder, pictures: list[Image.Image]) -> np.ndarray:
    return encode_pixels(encoder, prepare_pixels(encoder, pictures))


def encode_pixels(
    encoder: ImageEncoder, pixels: Float[Tensor, "n 3 height width"]
) -> Float16[np.ndarray, "n patches feat"]:
    """Return the features of up to `BATCH` photos, in float16.

    Raises:
        UsageError: one of them is not a finite number there.
    """
    # Always a whole batch: a photo's last bits may depend on how many are encoded with it, and
    # must not on where a run was interrupted, or on how a step is split.
    n = len(pixels)
    if n < BATCH:
        pixels = pixels[[*range(n), *([0] * (BATCH - n))]]
    features: np.ndarray = encoder.encode(pixels)[:n].half().cpu().numpy()
    if not np.isfinite(features).all():
        raise UsageError(
            f"{encoder.name} gives features that are no numbers, or beyond the 65504 that float16 "
            "holds, in which they are kept; give another --encoder"
        )
    return features


def _read_journals(
    cache: Path, shape: tuple[int, int]
) -> tuple[dict[int, _Place], list[np.ndarray]]:
    """Return the place of each example that is done, and the parts whose rows are numbered on."""
    places: dict[int, _Place] = {}
    parts: list[np.ndarray] = []
    start = 0
    for journal in sorted(cache.glob("rows-*.jsonl")):
        data = journal.with_suffix(".f16")
        entries = _read_journal(journal, data, 2 * shape[0] * shape[1])
        for entry, row, _ in entries:
            index = int(entry["example"])
            if row >= 0:
                places[index] = _Place(row + start)
            else:  # unless another run could read it
                places.setdefault(index, _Place(-1, str(entry["error"])))
        rows = max((end for _, _, end in entries), default=0)
        if rows:
            parts.append(np.memmap(data, np.float16, "r", shape=(rows, *shape)))
            start += rows
    return places, parts


def _read_journal(
    journal: Path, data: Path, row_bytes: int
) -> list[tuple[dict[str, Any], int, int]]:
    """Return the entries whose rows are there, each with its first row and end."""
    there = data.stat().st_size // row_bytes if data.exists() else 0
    entries = []
    for line in journal.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        entry = json.loads(line)
        row, end = int(entry.get("row", -1)), int(entry.get("end", 0))
        if end > there:
            break
        entries.append((entry, row, end))
    return entries


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        RunError: there is less free space than `needed` bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"the features need {needed / 1e6:.0f} MB in {folder}, {free / 1e6:.0f} MB are free; "
            "give --out a folder on another disk, fewer photos (--images), or --features live"
        )
