"""What is asked of every photo, checked where it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from molyneux.checks import is_a, one_of, shown, whole_number
from molyneux.errors import UsageError
from molyneux.explain.document import SettingsRecord
from molyneux.neurons.ablation import Positions, ablation_grid
from molyneux.neurons.scorers import DEFAULT_SCORER, GradientActivation, Scorer, find_scorer

Ablate = Literal["first", "all", "none"]
Grid = Literal["short", "full"]
Sight = Literal["none", "short", "full"]
_SEEDS = {"short": 3, "full": 5}


@dataclass(frozen=True)
class Settings:
    """What is computed for every photo.

    Attributes:
        top: how many units are listed in each ranking and view.
        words: words to be scored where the first noun is predicted, beside the caption's own.
        ablate: whose units are switched off: those of the `first` noun (and of words asked for),
            of `all` words, or of `none`.
        sight: how much of what the photo adds to its words is measured: `none`, the `short` form
            (8 partner photos, 5 % of the units) or the `full` one (`neurons.sight.forms`).
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
    sight: Sight = "short"
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
        sight: str = "short",
        positions: str = "all",
        grid: str | Sequence[int] = "short",
        seeds: int | None = None,
        seed: int = 0,
        scorer: Scorer | str = DEFAULT_SCORER,
    ) -> None:
        """Check every value; lists become tuples, names of scorers the scorers."""
        found = find_scorer(scorer) if isinstance(scorer, str) else scorer
        if isinstance(found, type):
            raise UsageError(f"scorer takes a scorer, not its class; give {found.__name__}()")
        checked: dict[str, Any] = {
            "top": whole_number("top", top, least=1),
            "words": _as_words(words),
            "ablate": one_of("ablate", ablate, get_args(Ablate)),
            "sight": one_of("sight", sight, get_args(Sight)),
            "positions": one_of("positions", positions, get_args(Positions)),
            "grid": one_of("grid", grid, get_args(Grid)) if isinstance(grid, str) else _sizes(grid),
            "seeds": None if seeds is None else whole_number("seeds", seeds, least=1),
            "seed": whole_number("seed", seed, least=0),
            "scorer": is_a("scorer", found, Scorer, "one, or its name"),  # type: ignore[type-abstract]
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
            sight=self.sight,
            positions=self.positions,
            seeds=self.draws,
            seed=self.seed,
            of=gradient.of if gradient else None,
            site=gradient.site if gradient else None,
            scorer=None if gradient else self.scorer.record(),
            note=note,
        )


def as_settings(settings: object) -> Settings:
    """Return settings, the usual ones for None.

    Raises:
        UsageError: it is something else.
    """
    given = Settings() if settings is None else settings
    return is_a("settings", given, Settings, "Settings(top=20), or none")


def _as_words(words: object) -> tuple[str, ...]:
    given = (words,) if isinstance(words, str) else words
    if not isinstance(given, Sequence):
        raise UsageError(f"words takes a list, not {shown(words)}; give words")
    for word in given:
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f"--word needs a word, not {shown(word)}; give one, as in --word dog")
    return tuple(given)


def _sizes(grid: object) -> tuple[int, ...]:
    if not isinstance(grid, Sequence) or not grid:
        raise UsageError(f"grid is 'short', 'full' or numbers of units, not {shown(grid)}")
    sizes = tuple(whole_number("a number in grid", size, least=0) for size in grid)
    if sorted(set(sizes)) != list(sizes):
        raise UsageError(f"grid has each number once, ascending, not {shown(grid)}")
    return sizes
