"""What a step is trained on, drawn from the seed and the step's number alone.

Neither an interruption nor the number of processes can thus change what a step sees: every
process draws the whole step and takes its own part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate as running
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.errors import PhotoError, UsageError
from molyneux.processes import Process
from molyneux.training.examples import Examples
from molyneux.training.recipe import Recipe

TRIES = 100


@runtime_checkable
class Features(Protocol):
    """Features of photos, a row for every view: `FeatureRows` on disk, or `LiveFeatures`."""

    shape: tuple[int, int, int]

    def expect(self, rows: Sequence[int]) -> None:
        """Begin to read rows that will be asked for: parts in their order, one call for each."""
        ...

    def missing(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the places of rows whose photo cannot be read, and why."""
        ...

    def take(self, rows: Sequence[int]) -> Float[np.ndarray, "rows patches feat"]:
        """Return some rows in float32."""
        ...


@dataclass(frozen=True)
class TrainingSet:
    """Features and the examples they belong to (see `cache_features`)."""

    features: Features
    first: np.ndarray
    views: list[int]
    examples: Examples

    def usable(self) -> list[int]:
        """Return the examples whose photo is not known to be unreadable."""
        return [i for i, row in enumerate(self.first) if row >= 0]


def drawn_together(captions: Sequence[str], recipe: Recipe) -> int:
    """Return how many of a photo's captions are drawn with it, as `captions_together` allows."""
    return min(recipe.captions_together, len(captions))


@dataclass(frozen=True)
class Batch:
    """A step's photos with their captions, or some of them.

    Attributes:
        rows: of the features, one for each photo.
        captions: of each photo, those that are trained on.
        patches: which patches of each are shown, in raster order.
        places: of the photos in the step; dropout is drawn by it.
    """

    step: int
    rows: list[int]
    captions: list[tuple[str, ...]]
    patches: Int[Tensor, "batch kept"]
    places: range

    def each_caption(self) -> tuple[list[str], list[int]]:
        """Return the captions of all photos, and the number here of each one's photo."""
        each = [(text, photo) for photo, texts in enumerate(self.captions) for text in texts]
        return [text for text, _ in each], [photo for _, photo in each]

    def part(self, number: int, of: int) -> Batch:
        """Return one of several parts, in order, of about as many photos."""
        start, stop = (len(self.rows) * edge // of for edge in (number, number + 1))
        return Batch(
            self.step,
            self.rows[start:stop],
            self.captions[start:stop],
            self.patches[start:stop],
            self.places[start:stop],
        )


class Draws:
    """Draws each step's photos with replacement, so that captions are drawn by their weights.

    A photo that brings several captions is drawn as much more rarely.
    """

    def __init__(self, data: TrainingSet, recipe: Recipe) -> None:
        self._data, self._recipe = data, recipe
        self._usable = data.usable()
        rows = [data.examples.rows[i] for i in self._usable]
        chances = np.array([row.weight / drawn_together(row.captions, recipe) for row in rows])
        self._up_to = np.cumsum(chances / chances.sum())
        self._up_to /= self._up_to[-1]

    def step(self, step: int, *, whole: bool = False) -> Batch:
        """Return what a step sees: photos, a view and captions of each, and the patches shown.

        Args:
            whole: whether all patches are; nothing else depends on it.
        """
        data, recipe = self._data, self._recipe
        rng = np.random.default_rng([recipe.seed, step])
        places = np.searchsorted(self._up_to, rng.random(recipe.batch), side="right")
        drawn = [self._usable[place] for place in places]
        # Of as many photos as captions are wanted, the first that bring enough.
        together = (drawn_together(data.examples.rows[i].captions, recipe) for i in drawn)
        up_to = list(running(together))
        n = next(i for i, total in enumerate(up_to, 1) if total >= recipe.batch)
        drawn = drawn[:n]
        rows = [self._view(i, rng) for i in drawn]
        captions = [self._captions(i, rng) for i in drawn]
        captions[-1] = captions[-1][: len(captions[-1]) - (up_to[n - 1] - recipe.batch)]
        n_patches = data.features.shape[1]
        size = n_patches if whole else max(1, round(recipe.patches_kept * n_patches))
        if size < n_patches:
            every = np.tile(np.arange(n_patches), (len(rows), 1))
            patches = np.sort(rng.permuted(every, axis=1)[:, :size])
        else:
            patches = np.tile(np.arange(n_patches), (len(rows), 1))
        return Batch(step, rows, captions, torch.from_numpy(patches), range(len(rows)))

    def readable(self, batch: Batch) -> tuple[Batch, list[str]]:
        """Return the batch with what cannot be read drawn anew, and why it could not be.

        That is drawn from the seed, the step, the place and the attempt, by the same weights: the
        result is as if the photo were not in the set. It brings no more captions than the photo
        whose place it takes.

        Raises:
            PhotoError: photo after photo cannot be read.
        """
        why: list[str] = []
        for attempt in range(1, TRIES + 1):
            missing = self._data.features.missing(batch.rows)
            if not missing:
                return batch, why
            why += missing.values()
            rows, captions = list(batch.rows), list(batch.captions)
            for index in missing:
                place = batch.places[index]
                rng = np.random.default_rng([self._recipe.seed, batch.step, place, attempt])
                i = self._usable[int(np.searchsorted(self._up_to, rng.random(), side="right"))]
                rows[index] = self._view(i, rng)
                captions[index] = self._captions(i, rng)[: len(captions[index])]
            batch = replace(batch, rows=rows, captions=captions)
        raise PhotoError(
            f"{TRIES} photos drawn one after another could not be read ({why[-1]}); check the "
            "folder and the disk, then give the same command again to resume"
        )

    def _view(self, example: int, rng: np.random.Generator) -> int:
        return int(self._data.first[example] + rng.integers(self._data.views[example]))

    def _captions(self, example: int, rng: np.random.Generator) -> tuple[str, ...]:
        captions = list(self._data.examples.rows[example].captions)
        if self._recipe.captions_together == 1:
            return (str(rng.choice(captions)),)
        together = drawn_together(captions, self._recipe)
        return tuple(str(text) for text in rng.choice(captions, together, replace=False))


def own_parts(batch: Batch, process: Process, accumulate: int) -> list[Batch]:
    """Return the parts of a step that are this process's, to be run one after another.

    Raises:
        UsageError: there are more parts than photos.
    """
    parts = require_split(len(batch.rows), process, accumulate)
    return [batch.part(process.rank * accumulate + number, parts) for number in range(accumulate)]


def require_split(
    n_captions: int, process: Process, accumulate: int, captions_together: int = 1
) -> int:
    """Return into how many parts a step is split, over all processes.

    Args:
        captions_together: captions of one photo, at most, which always lie in one part.

    Raises:
        UsageError: there may be more parts than photos.
    """
    parts = process.world * accumulate
    if -(-n_captions // captions_together) < parts:
        together = "" if captions_together == 1 else f" ({captions_together} behind each photo)"
        raise UsageError(
            f"a batch of {n_captions}{together} cannot be split over {process.world} processes and "
            f"{accumulate} parts each; give --batch {parts * captions_together} or more"
        )
    return parts


def drop_out(
    prompts: Float[Tensor, "batch kept d_model"], batch: Batch, recipe: Recipe
) -> Float[Tensor, "batch kept d_model"]:
    """Return image prompts with a share of their numbers set to 0 and the others scaled up.

    Which, is drawn from the seed, the step and the example's place in it.
    """
    if not recipe.dropout:
        return prompts
    alive = torch.empty_like(prompts)
    generator = torch.Generator(prompts.device)
    for row, place in enumerate(batch.places):
        mixed = np.random.SeedSequence([recipe.seed, batch.step, place])
        generator.manual_seed(int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        alive[row].uniform_(generator=generator)
    return prompts * (alive >= recipe.dropout) / (1 - recipe.dropout)
