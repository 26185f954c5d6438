"""How far a training run is, on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from molyneux.training.recipe import Recipe


class Bars:
    """Progress on stderr: photos encoded, then steps."""

    def __init__(self, recipe: Recipe, speaks: bool) -> None:
        from tqdm import tqdm

        self._make: Callable[..., Any] = lambda **options: tqdm(disable=not speaks, **options)
        self._speaks = speaks
        self._total = recipe.steps
        self._photos: Any = None
        self._steps: Any = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in (self._photos, self._steps):
            if bar is not None:
                bar.close()

    def note(self, line: str) -> None:
        """Show a line above the bars."""
        from tqdm import tqdm

        if self._speaks:
            tqdm.write(line, file=sys.stderr)

    def on_photo(self, done: int, total: int) -> None:
        """Show how many photos are encoded."""
        if self._photos is None or done < self._photos.n:
            self._photos = self._make(total=total, unit="photo", desc="features", leave=False)
        self._photos.update(done - self._photos.n)

    def on_step(self, step: int, loss: float) -> None:
        """Show how far training is."""
        if self._photos is not None:
            self._photos.close()
            self._photos = None
        if self._steps is None:
            self._steps = self._make(total=self._total, unit="step", initial=step - 1)
        self._steps.update(step - self._steps.n)
        self._steps.set_postfix(loss=f"{loss:.2f}")
