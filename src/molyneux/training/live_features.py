"""The frozen encoder's features, made when a step asks for them; nothing is kept on disk.

Photos are read, cropped and normalised ahead of their step by threads (Pillow decodes outside
Python's lock). Which photo a row is depends on nothing but its number, so the threads' haste
changes no result.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.errors import PhotoError, UsageError
from molyneux.training.crops import views_of
from molyneux.training.examples import Examples
from molyneux.training.features import BATCH, encode_pixels
from molyneux.vision.encoder import ImageEncoder, prepare_pixels

AHEAD = 4 * BATCH
"""Photos that are read, at most, before they are asked for: 77 MB of 224 x 224 pixels."""

Read = Tensor | str


class LiveFeatures:
    """Rows of features under the numbers that a cache of the same examples would give them.

    Attributes:
        first: first row of each example.
        shape: rows, patches, width of a feature.
        waited: seconds spent waiting for photos.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        examples: Examples,
        views: Sequence[int],
        seed: int,
        workers: int = 4,
    ) -> None:
        """Number the rows; no photo is read yet.

        Args:
            views: of each example.
            workers: threads that read photos.

        Raises:
            UsageError: the photos can only be read from front to back.
        """
        if not examples.any_order:
            raise UsageError(
                "these photos can only be read from front to back, so their features cannot be "
                "made step by step; give --features cache, or photos as files or in .tar shards "
                "that are not compressed"
            )
        ends = np.cumsum(views)
        self.first = ends - np.asarray(views)
        self.shape = (int(ends[-1]), encoder.grid.n_patches, encoder.d_features)
        self.waited = 0.0
        self._encoder, self._examples, self._seed = encoder, examples, seed
        self._pool = ThreadPoolExecutor(workers, "photos")
        self._expected: deque[int] = deque()
        self._reading: deque[tuple[int, Future[Read]]] = deque()
        self._held: dict[int, Read] = {}

    def expect(self, rows: Sequence[int]) -> None:
        """Begin to read rows that will be asked for: parts in their order, one call for each."""
        self._expected.extend(dict.fromkeys(rows))
        self._read_ahead()

    def missing(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the places of rows whose photo cannot be read, and why; keep the others'."""
        began = time.monotonic()
        for row in rows:
            if row not in self._held:
                self._held[row] = self._next(row)
        self._read_ahead()
        self.waited += time.monotonic() - began
        found = ((place, self._held[row]) for place, row in enumerate(rows))
        return {place: why for place, why in found if isinstance(why, str)}

    def take(self, rows: Sequence[int]) -> Float[np.ndarray, "rows patches feat"]:
        """Return some rows in float32, rounded to float16 as a cache keeps them.

        Raises:
            PhotoError: one of the photos cannot be read (see `missing`).
        """
        missing = self.missing(rows)
        if missing:
            raise PhotoError(next(iter(missing.values())))
        # A photo that is drawn twice is encoded once.
        distinct = list(dict.fromkeys(rows))
        pixels = [held for row in distinct if isinstance(held := self._held[row], Tensor)]
        made = [
            encode_pixels(self._encoder, torch.stack(pixels[start : start + BATCH]))
            for start in range(0, len(pixels), BATCH)
        ]
        self._held.clear()
        place = {row: number for number, row in enumerate(distinct)}
        every = np.concatenate(made).astype(np.float32)
        taken: np.ndarray = every[[place[row] for row in rows]]
        return taken

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(cancel_futures=True)

    def _next(self, row: int) -> Read:
        if self._reading and self._reading[0][0] == row:
            reading = self._reading.popleft()[1]
            self._read_ahead()  # now: a part may be larger than what is read ahead
            return reading.result()
        return self._read(row)

    def _read_ahead(self) -> None:
        while self._expected and len(self._reading) < AHEAD:
            row = self._expected.popleft()
            self._reading.append((row, self._pool.submit(self._read, row)))

    def _read(self, row: int) -> Read:
        """Return a row's pixels, or why there are none."""
        index = int(np.searchsorted(self.first, row, side="right")) - 1
        try:
            photo = self._examples.read(index)
            view = row - int(self.first[index])
            pictures = views_of(self._examples[index], photo, [view], self._seed)
        except PhotoError as error:
            return str(error)
        return prepare_pixels(self._encoder, pictures)[0]
