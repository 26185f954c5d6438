"""An explanation as a figure: the photo with its set's heat map, and what is left of the word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molyneux.explain.claims import CURVES
from molyneux.explain.document import Curves, Word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

_STYLES = {
    "total": ("#0062a3", "--", 1.5),
    "absent_total": ("#6b3fa0", "--", 1.5),
    "specific": ("#0062a3", "-", 2.5),
    "absent_specific": ("#6b3fa0", "-", 1.5),
    "other_specific": ("#c04a00", "-", 2.5),
    "matched": ("#74767d", "-", 1.2),
    "random": ("#74767d", "--", 1.2),
    "top": ("#0062a3", ":", 1.5),
    "other": ("#c04a00", ":", 1.5),
}
"""The curves drawn: colour, dashes, width."""
_SIZE = 3.6


def draw(word: Word, pictures: list[tuple[str, Image]], lead: str) -> Figure:
    """Return a word's pictures, each with its title, and its curves beside one another.

    The figure belongs to no window: it is shown where it is the value of a notebook's cell, and
    saved with `savefig`.
    """
    from matplotlib import pyplot

    panels = len(pictures) + len(word.curves)
    figure, axes = pyplot.subplots(
        1, max(panels, 1), figsize=(_SIZE * max(panels, 1), _SIZE), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    pyplot.close(figure)
    for place, (title, picture) in zip(axes[0], pictures, strict=False):
        place.imshow(picture)
        place.set_title(title, fontsize=9)
        place.set_axis_off()
    for place, curves in zip(axes[0][len(pictures) :], word.curves, strict=False):
        _curves(place, curves)
    if not panels:
        axes[0][0].set_axis_off()
    handles, names = axes[0][-1].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside lower center", ncols=6, fontsize=8, frameon=False
        )
    figure.suptitle(f"{lead} … {word.word}", fontsize=11)
    return figure


def _curves(axes: Axes, curves: Curves) -> None:
    for name, (colour, dashes, width) in _STYLES.items():
        points = [
            (size, left)
            for size, left in zip(curves.grid, getattr(curves, name), strict=False)
            if left is not None
        ]
        if points:
            sizes, lefts = zip(*points, strict=True)
            axes.plot(sizes, lefts, dashes, color=colour, lw=width, label=CURVES[name], marker=".")
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xticks(curves.grid, [str(size) for size in curves.grid], fontsize=7)
    axes.set_xlabel(f"units off at {curves.positions} positions", fontsize=8)
    axes.set_ylabel("share of the probability left", fontsize=8)
    axes.set_title(
        "units chosen at the patches" if curves.view == "patches" else "chosen where it is written",
        fontsize=9,
    )
