"""A study's figures as SVG that takes the page's colours."""

from __future__ import annotations

import io
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from molyneux.studies.results import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn in these, and then given the page's own colours, so that a figure follows its theme.
_INK, _SOFT, _RULE = "#17181c", "#5a5c64", "#dcdcd5"
_SERIES = ("#0062a3", "#c04a00", "#00775a", "#8a5fb0", "#a8780c", "#b0366e", "#4a7f8c", "#74767d")
_DASHES = ("-", "--", "-.", ":")
_DASH_ARRAYS = ("none", "4 2", "5 2 1 2", "1 2")
_VARIABLES = {
    _INK: "var(--ink)",
    _SOFT: "var(--soft)",
    _RULE: "var(--rule)",
    _SERIES[0]: "var(--own)",
    _SERIES[1]: "var(--other)",
    _SERIES[2]: "var(--words)",
    _SERIES[7]: "var(--control)",
}
_MATRIX_SIDE = 0.42
_LONGEST = 28
_LABEL = 38
# Pixels an inch of the drawing: letters of 9 points are 11 to 14 pixels high, on a phone too, where
# the page scrolls a figure sideways.
_LEAST, _MOST = 90, 115


@dataclass(frozen=True)
class Key:
    """What one colour of a figure stands for: CSS values of `stroke` and `stroke-dasharray`."""

    label: str
    colour: str
    dash: str


def keys(figure: Figure) -> list[Key]:
    """Return a figure's legend, which the page writes below it; none where one series is drawn."""
    if figure.kind == "matrix" or len(figure.series) < 2:
        return []
    return [
        Key(
            series.label,
            _VARIABLES.get(_colour(number), _colour(number)),
            _DASH_ARRAYS[_dash(number)] if figure.kind == "lines" else "none",
        )
        for number, series in enumerate(figure.series)
    ]


def as_svg(figure: Figure) -> str:
    """Return a figure as an `<svg>` element; the same figure gives the same text.

    A line with a gap has a missing value there; bands and whiskers are the 95 % intervals.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = {
        "svg.hashsalt": figure.name,
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _SOFT,
        "axes.edgecolor": _RULE,
        "xtick.color": _SOFT,
        "ytick.color": _SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=_size(figure), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        {"lines": _lines, "bars": _bars, "matrix": _matrix}[figure.kind](axes, figure)
        axes.set_xlabel(figure.x_label)
        axes.set_ylabel(textwrap.fill(figure.y_label, _LABEL))
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # The page forbids what is not its own: the metadata names outside addresses.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    width = _size(figure)[0]
    limits = f'style="min-width: {_LEAST * width:.0f}px; max-width: {_MOST * width:.0f}px"'
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return re.sub(r'(<svg[^>]*?) width="[^"]*"', rf"\1 {limits}", text, count=1)


def _size(figure: Figure) -> tuple[float, float]:
    if figure.kind != "matrix":
        return 6.6, 3.4
    rows, columns = len(figure.series), len(figure.series[0].x) if figure.series else 1
    return 3.2 + _MATRIX_SIDE * columns, 1.6 + _MATRIX_SIDE * rows


def _colour(number: int) -> str:
    return _SERIES[number % len(_SERIES)]


def _dash(number: int) -> int:
    return (number // len(_SERIES)) % len(_DASHES)


def _numbers(values: tuple[float | None, ...]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _lines(axes: Axes, figure: Figure) -> None:
    named = any(isinstance(x, str) for series in figure.series for x in series.x)
    for number, series in enumerate(figure.series):
        x: Any = [str(value) for value in series.x] if named else _numbers(series.x)  # type: ignore[arg-type]
        colour = _colour(number)
        dash = _DASHES[_dash(number)]
        axes.plot(x, _numbers(series.y), dash, color=colour, marker=".", lw=1.5)
        if series.low is not None and series.high is not None:
            low, high = _numbers(series.low), _numbers(series.high)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    if figure.log_x:
        if any(x == 0 for series in figure.series for x in series.x):
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xlim(left=0)
        else:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")


def _bars(axes: Axes, figure: Figure) -> None:
    places = list(dict.fromkeys(str(x) for series in figure.series for x in series.x))
    width = 0.8 / max(1, len(figure.series))
    for number, series in enumerate(figure.series):
        at = [
            places.index(str(x)) + (number - (len(figure.series) - 1) / 2) * width for x in series.x
        ]
        height = _numbers(series.y)
        axes.bar(at, height, width, color=_colour(number))
        if series.low is not None and series.high is not None:
            low, high = _numbers(series.low), _numbers(series.high)
            below = [max(0.0, y - a) for y, a in zip(height, low, strict=True)]
            above = [max(0.0, b - y) for y, b in zip(height, high, strict=True)]
            axes.errorbar(at, height, [below, above], fmt="none", ecolor=_INK, elinewidth=0.8)
    every = max(1, len(places) // 15)
    crowded = sum(len(place) for place in places[::every]) > _LONGEST * 3
    axes.set_xticks(
        range(0, len(places), every),
        places[::every],
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
    )


def _matrix(axes: Axes, figure: Figure) -> None:
    values = [_numbers(series.y) for series in figure.series]
    axes.imshow(values, cmap="Blues", aspect="equal", vmin=0.0)
    columns = [_short(str(x)) for x in figure.series[0].x] if figure.series else []
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(values)), [_short(series.label) for series in figure.series])
    finite = [value for row in values for value in row if value == value]
    largest = max(finite, default=1.0) or 1.0
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value == value:
                dark = value > 0.6 * largest
                axes.text(
                    x, y, f"{value:.2f}", ha="center", va="center", fontsize=8,
                    color="#ffffff" if dark else "#222222",
                )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
