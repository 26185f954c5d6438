"""What a study computes: everything here changes its numbers, so a resumed run must agree on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from molyneux.errors import UsageError

NO_SCORER = "none"
"""As a backbone: texts are not compared with it."""
DEFAULT_SCORER = "gradient-activation"


@dataclass(frozen=True)
class StudySettings:
    """The choices behind a study's numbers.

    Attributes:
        experiments: their names; a study that is given none takes those of the paper.
        seed: of every random draw, together with the photo's sha256 and the draw's purpose.
        units: how many units of a ranking are listed, decoded and scored against texts.
        grid: how many units are switched off at each step of E6.
        seeds: random controls of E6.
        sight: how many sets E7 measures, `short` or `full` (`neurons.sight.forms`), or `none`.
        subsets: disjoint random subsets on which E2, E6 and E7 are repeated; fewer where one would
            have under 20 photos, 0 for none.
        threads: of torch; sums over other numbers of threads differ in their last digits. None:
            those the folder was begun with, or as many as torch has.
        classes: how many classes E5 takes, or their names.
        per_class: photos of each class: the first half to find units, the second to confirm them.
        scorer: what scores the units, as `find_scorer` takes it: its name, perhaps with choices.
        bertscore: backbone; None for the default one, `none` for no BERTScore.
        clip: CLIP checkpoint of CLIPScore; `none` for no CLIPScore.
        found: the run whose units E9 measures, and the SHA-256 of their table; None without E9.
    """

    experiments: tuple[str, ...] = ()
    seed: int = 0
    units: int = 100
    grid: tuple[int, ...] = ()
    seeds: int = 5
    sight: Literal["none", "short", "full"] = "short"
    subsets: int = 5
    threads: int | None = None
    classes: int | tuple[str, ...] = 10
    per_class: int = 40
    scorer: str = DEFAULT_SCORER
    bertscore: str | None = None
    clip: str = "openai/clip-vit-large-patch14"
    found: tuple[str, str] | None = None

    def check(self) -> None:
        """Refuse values that make no sense.

        Raises:
            UsageError: says which.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name == "threads" and value is None:
                continue
            if name == "classes" and isinstance(value, tuple):
                if not all(isinstance(one, str) and one.strip() for one in value):
                    raise UsageError(f"classes are a number or names, not {value!r}")
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                or_names = " or a tuple of names" if name == "classes" else ""
                raise UsageError(f"{name} is a whole number{or_names}, not {value!r}")
            if least is not None and value < least:
                raise UsageError(f"{name} is {value}; give {least} or more")
        if not isinstance(self.grid, tuple) or not all(
            isinstance(step, int) and step >= 0 for step in self.grid
        ):
            raise UsageError(f"the grid is a tuple of numbers of units, not {self.grid!r}")
        if self.sight not in ("none", "short", "full"):
            raise UsageError(f"sight is 'none', 'short' or 'full', not {self.sight!r}")
        found = self.found
        if found is not None and not (
            isinstance(found, tuple) and len(found) == 2 and all(isinstance(x, str) for x in found)
        ):
            raise UsageError(f"found is a run and the SHA-256 of its units, not {found!r}")
        for name in ("bertscore", "clip"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "bertscore" and value is None):
                raise UsageError(f"{name} is a folder, a hub name or {NO_SCORER!r}, not {value!r}")


_LEAST = {
    "seed": None,
    "units": 1,
    "seeds": 1,
    "subsets": 0,
    "threads": 1,
    "classes": 2,
    "per_class": 4,
}
"""Whole numbers, and the least that each may be."""


def draw_seed(seed: int, sha256: str, purpose: str) -> int:
    """Return the seed of one random draw: of a photo and a purpose, whichever process draws."""
    digest = hashlib.sha256(f"{seed}/{sha256}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
