"""The silenced sets of a finished study, one value per photo: what E6's summaries start from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from molyneux.statistics.bootstrap import median
from molyneux.studies.e6_causality.design import SETS
from molyneux.studies.finished import Columns, Finished, per_photo
from molyneux.studies.results import Figure, Number, Series, over_photos

Key = tuple[str, str, str, str, int]
"""View, positions, intervention, set, step."""


@dataclass(frozen=True)
class Curves:
    """Table `e6_curves`, by set.

    Attributes:
        rows: the rows of every set, over photos and seeds.
    """

    columns: Columns
    rows: dict[Key, list[int]]
    n_photos: int

    @classmethod
    def of(cls, study: Finished) -> Curves:
        """Return the curves of a study.

        Raises:
            KeyError: the study did not measure them.
        """
        columns = study.table("e6_curves")
        names = ("view", "positions", "intervention", "set", "step")
        rows: dict[Key, list[int]] = defaultdict(list)
        for row, key in enumerate(zip(*(columns[name].tolist() for name in names), strict=True)):
            rows[key].append(row)
        return cls(columns, dict(rows), study.n_photos)

    def steps(self, view: str, positions: str, name: str) -> list[int]:
        """Return the steps at which a set was silenced, ascending."""
        wanted = (view, positions, "zero", name)
        return sorted(key[4] for key in self.rows if key[:4] == wanted)

    def share(self, step: int) -> float:
        """Return a step as a share of all units."""
        row = next(rows[0] for key, rows in self.rows.items() if key[4] == step)
        return float(self.columns["share"][row])

    @property
    def last(self) -> int:
        """The grid's last step; 0 where nothing was silenced."""
        return max((key[4] for key in self.rows), default=0)

    @property
    def seeds(self) -> list[int]:
        """Numbers of the random controls."""
        found = np.asarray(self.columns["seed"], dtype=float)
        return sorted({int(seed) for seed in found[~np.isnan(found)]})

    def values(
        self,
        view: str,
        positions: str,
        name: str,
        step: int,
        column: str,
        *,
        intervention: str = "zero",
        seed: int | None = None,
    ) -> Float[np.ndarray, " photos"]:
        """Return a column per photo, the mean over a set's seeds; NaN where there is none.

        Args:
            seed: take one random control instead of their mean.
        """
        rows = np.array(self.rows.get((view, positions, intervention, name, step), []), dtype=int)
        if seed is not None and len(rows):
            rows = rows[np.asarray(self.columns["seed"], dtype=float)[rows] == seed]
        found = np.asarray(self.columns[column], dtype=float)[rows]
        return per_photo(self.columns["photo"][rows], found, self.n_photos)


def curve_figures(curves: Curves, view: str, positions: str) -> Iterator[Figure]:
    """Yield the curves of one view and positions: mean and median of ratios."""
    for label, statistic in (("mean", None), ("median", median)):
        series = []
        for name in SETS:
            steps = curves.steps(view, positions, name)
            cells = []
            for step in steps:
                ratio = curves.values(view, positions, name, step, "ratio")
                cells.append(over_photos(ratio, statistic) if statistic else over_photos(ratio))
            if steps:
                series.append(line(name, steps, cells))
        place = "everywhere" if positions == "all" else "at the patches"
        yield Figure(
            f"E6.{view}.{positions}.{label}",
            f"Probability left ({label} over photos), units of the {view} view silenced {place}",
            "lines",
            "units switched off",
            f"probability left, {label}",
            tuple(series),
            ("Bands: 95 % bootstrap intervals over photos.",),
            log_x=True,
        )


def line(label: str, steps: list[int], cells: list[Number]) -> Series:
    """Return numbers along steps as one line with its interval."""
    return Series(
        label,
        tuple(float(step) for step in steps),
        tuple(cell.value for cell in cells),
        tuple(cell.low for cell in cells),
        tuple(cell.high for cell in cells),
    )
