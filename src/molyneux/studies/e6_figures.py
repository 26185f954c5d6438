"""E6's curves as figures: what is left of the word along the grid, set by set."""

from __future__ import annotations

from collections.abc import Iterator

from molyneux.statistics.bootstrap import median
from molyneux.studies.e6_curves import Curves
from molyneux.studies.e6_sets import SETS
from molyneux.studies.estimates import over_photos
from molyneux.studies.tables import Figure, Number, Series


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
