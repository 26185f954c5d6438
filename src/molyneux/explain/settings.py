"""What is asked of every photo, checked where it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from molyneux.errors import UsageError
from molyneux.explain.document import SettingsRecord
from molyneux.neurons.ablation import Positions, ablation_grid
from molyneux.neurons.scorers import DEFAULT_SCORER, GradientActivation, Scorer, find_scorer

Ablate = Literal["first", "all", "none"]
Grid = Literal["short", "full"]
_SEEDS = {"short": 3, "full": 5}


@dataclass(frozen=True)
class Settings:
    """What is computed for every photo.

    Attributes:
        top: how many units are listed in each ranking and view.
        words: words to be scored where the first noun is predicted, beside the caption's own.
        ablate: whose units are switched off: those of the `first` noun (and of words asked for),
            of `all` words, or of `none`.
        positions: where: at `all` positions, or at the `patches`.
        grid: how many units are switched off at each step: the `short` grid (0, 10, 50, 100 and
            1.4 % of all units), the paper's `full` one, or numbers.
        seeds: random controls; None for 3, or 5 on the full grid.
        seed: of the random controls.
        scorer: what gives units their scores; a name is looked up.

    Raises:
        UsageError: a value is none of these.
    """

    top: int = 100
    words: tuple[str, ...] = ()
    ablate: Ablate = "first"
    positions: Positions = "all"
    grid: Grid | tuple[int, ...] = "short"
    seeds: int | None = None
    seed: int = 0
    scorer: Scorer = DEFAULT_SCORER

    def __init__(
        self,
        *,
        top: int = 100,
        words: Sequence[str] = (),
        ablate: str = "first",
        positions: str = "all",
        grid: str | Sequence[int] = "short",
        seeds: int | None = None,
        seed: int = 0,
        scorer: Scorer | str = DEFAULT_SCORER,
    ) -> None:
        """Check every value; lists become tuples, names of scorers the scorers."""
        if isinstance(words, str):
            words = (words,)
        _require_word(words)
        _require_one_of("ablate", ablate, get_args(Ablate))
        _require_one_of("positions", positions, get_args(Positions))
        if isinstance(grid, str):
            _require_one_of("grid", grid, get_args(Grid))
        else:
            grid = _as_grid(grid)
        for name, value, least in (("top", top, 1), ("seeds", seeds, 1), ("seed", seed, 0)):
            if value is not None:
                _require_integer(name, value, least)
        found = find_scorer(scorer) if isinstance(scorer, str) else scorer
        if not isinstance(found, Scorer):
            raise UsageError(f"{scorer!r} is no scorer; give one, or the name of one")
        checked: dict[str, Any] = {
            "top": top,
            "words": tuple(words),
            "ablate": ablate,
            "positions": positions,
            "grid": grid,
            "seeds": seeds,
            "seed": seed,
            "scorer": found,
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def of_model(self, n_units: int) -> Settings:
        """Return the settings with the grid's numbers for a model, and the number of seeds."""
        if isinstance(self.grid, str):
            seeds = self.seeds or _SEEDS[self.grid]
            return replace(self, grid=tuple(ablation_grid(self.grid, n_units)), seeds=seeds)
        return replace(self, seeds=self.seeds or _SEEDS["short"])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The grid's numbers, which `of_model` gives."""
        assert not isinstance(self.grid, str)
        return self.grid

    @property
    def draws(self) -> int:
        """How many random controls, which `of_model` gives."""
        assert self.seeds is not None
        return self.seeds

    def record(self, note: str | None = None) -> SettingsRecord:
        """Return what the document says of settings that were completed by `of_model`."""
        gradient = self.scorer if isinstance(self.scorer, GradientActivation) else None
        return SettingsRecord(
            grid=self.sizes,
            top=self.top,
            words=self.words,
            ablate=self.ablate,
            positions=self.positions,
            seeds=self.draws,
            seed=self.seed,
            of=gradient.of if gradient else None,
            site=gradient.site if gradient else None,
            scorer=None if gradient else self.scorer.record(),
            note=note,
        )


def _require_one_of(name: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {value!r}; give {' or '.join(map(repr, known))}")


def _require_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}; give a whole number of {least} or more")


def _require_word(words: object) -> None:
    if not isinstance(words, Sequence):
        raise UsageError(f"words is {words!r}; give a list of words")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"--word needs a word, and {word!r} is none; give one, as in dog")


def _as_grid(grid: object) -> tuple[int, ...]:
    if not isinstance(grid, Sequence) or not grid:
        raise UsageError(f"grid is {grid!r}; give 'short', 'full' or numbers of units")
    for size in grid:
        _require_integer("a number in grid", size, 0)
    if sorted(set(grid)) != list(grid):
        raise UsageError(f"grid is {list(grid)}; give each number once, ascending")
    return tuple(grid)
