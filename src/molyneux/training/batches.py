"""What a step is trained on, drawn from the seed and the step's number alone.

Neither an interruption nor the number of processes can thus change what a step sees: every
process draws the whole step and takes its own part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.studies.share import Share
from molyneux.training.examples import Examples
from molyneux.training.features import FeatureRows
from molyneux.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingSet:
    """Cached features and the examples they belong to (see `cache_features`)."""

    features: FeatureRows
    first: np.ndarray
    views: list[int]
    examples: Examples

    def usable(self) -> list[int]:
        """Return the examples whose photo could be read."""
        return [i for i, row in enumerate(self.first) if row >= 0]


@dataclass(frozen=True)
class Batch:
    """A step's examples, or some of them.

    Attributes:
        rows: of the features.
        patches: which patches of each are shown, in raster order.
        places: of the examples in the step; dropout is drawn by it.
    """

    step: int
    rows: list[int]
    captions: list[str]
    patches: Int[Tensor, "batch kept"]
    places: range

    def part(self, number: int, of: int) -> Batch:
        """Return one of several parts of about equal size, in order."""
        start, stop = (len(self.rows) * edge // of for edge in (number, number + 1))
        return Batch(
            self.step,
            self.rows[start:stop],
            self.captions[start:stop],
            self.patches[start:stop],
            self.places[start:stop],
        )


class Draws:
    """Draws each step's examples, by their weights and with replacement."""

    def __init__(self, data: TrainingSet, recipe: Recipe) -> None:
        self._data, self._recipe = data, recipe
        self._usable = data.usable()
        chances = np.array([data.examples.rows[i].weight for i in self._usable])
        self._up_to = np.cumsum(chances / chances.sum())
        self._up_to /= self._up_to[-1]

    def step(self, step: int) -> Batch:
        """Return what a step sees: photos, a view and a caption of each, and the patches shown."""
        data, recipe = self._data, self._recipe
        rng = np.random.default_rng([recipe.seed, step])
        places = np.searchsorted(self._up_to, rng.random(recipe.batch), side="right")
        drawn = [self._usable[place] for place in places]
        rows = [int(data.first[i] + rng.integers(data.views[i])) for i in drawn]
        captions = [str(rng.choice(list(data.examples.rows[i].captions))) for i in drawn]
        n_patches = data.features.shape[1]
        shown = 1.0 if recipe.shows_all(step) else recipe.patches_kept
        size = max(1, round(shown * n_patches))
        if size < n_patches:
            every = np.tile(np.arange(n_patches), (len(rows), 1))
            patches = np.sort(rng.permuted(every, axis=1)[:, :size])
        else:
            patches = np.tile(np.arange(n_patches), (len(rows), 1))
        return Batch(step, rows, captions, torch.from_numpy(patches), range(len(rows)))


def own_parts(batch: Batch, share: Share, accumulate: int) -> list[Batch]:
    """Return the parts of a step that are this process's, to be run one after another.

    Raises:
        UsageError: there are more parts than examples.
    """
    parts = share.world * accumulate
    if len(batch.rows) < parts:
        raise UsageError(
            f"a batch of {len(batch.rows)} cannot be split over {share.world} processes and "
            f"{accumulate} parts each; give --batch {parts} or more"
        )
    return [batch.part(share.rank * accumulate + number, parts) for number in range(accumulate)]


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
