"""The course of a run: which learning rate a step has, which patches it shows, where it ends.

Of the schedule `plateau` that depends on the held-out losses so far, so it is worked out anew from
the log after every evaluation: a run that was interrupted takes the course of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molyneux.training.recipe import Recipe


@dataclass(frozen=True)
class Course:
    """The course of a run as far as it is known.

    Attributes:
        fall: the step from which the learning rate falls; None while that is not decided.
        end: number of steps; None while that is not decided.
    """

    recipe: Recipe
    fall: int | None
    end: int | None

    @classmethod
    def of(cls, recipe: Recipe, log: Sequence[dict[str, Any]]) -> Course:
        """Return the course that a recipe takes after what is in the log."""
        if recipe.schedule != "plateau":
            return cls(recipe, min(recipe.rise_steps, recipe.steps), recipe.steps)
        fall = levelled(recipe, log)
        if fall is None:
            return cls(recipe, None, None)
        return cls(recipe, fall, _end(recipe, fall))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        recipe = self.recipe
        rising = recipe.rising(step)
        if rising is not None:
            return rising
        if self.fall is None or self.end is None or step < self.fall:
            return recipe.learning_rate
        done = min(1.0, (step - self.fall) / max(1, self.end - self.fall))
        left = 0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1 - done
        return recipe.learning_rate * left

    def shows_all(self, step: int) -> bool:
        """Return whether a step shows all patches of a photo."""
        if self.recipe.schedule == "plateau":
            return self.fall is not None and step >= self.fall
        return step >= self.recipe.steps * (1 - self.recipe.whole)


def levelled(recipe: Recipe, log: Sequence[dict[str, Any]]) -> int | None:
    """Return the step after which the held-out loss has hardly fallen any more, or None.

    The first evaluation counts from which `steps` are reached in the end, the fall included, and
    the rise is over.
    """
    losses = {e["step"]: e["loss_held_out"] for e in log if "loss_held_out" in e}
    for step, loss in sorted(losses.items()):
        before = losses.get(step - recipe.level_over)
        long_enough = step >= recipe.rise_steps and _end(recipe, step) >= recipe.steps
        if long_enough and before is not None and before - loss < recipe.level:
            return int(step)
    return None


def _end(recipe: Recipe, fall: int) -> int:
    return fall + max(1, round(recipe.whole * fall))
