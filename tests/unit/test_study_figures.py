"""A study's figures: letters large enough at any width, and a legend of what is drawn."""

from __future__ import annotations

import re

import pytest

from molyneux.report.figures import as_svg, keys
from molyneux.studies.results import Figure, Series


def figure(kind: str, n: int) -> Figure:
    series = tuple(Series(f"series {i}", (1.0, 2.0, 3.0), (0.1 + i, 0.2, 0.3)) for i in range(n))
    return Figure(f"E9.{kind}", "title", kind, "x", "y", series)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["lines", "bars", "matrix"])
def test_letters_stay_large_where_the_page_is_narrow(kind: str) -> None:
    (head,) = re.findall(r"<svg[^>]*>", as_svg(figure(kind, 3)))[:1]
    assert not re.search(r' (width|height)="', head)
    least, most = (float(re.findall(rf"{side}-width: (\d+)px", head)[0]) for side in ("min", "max"))
    points = float(re.findall(r'viewBox="0 0 ([\d.]+)', head)[0])
    # Axes are written in 9 points.
    assert 11 <= 9 * least / points < 9 * most / points <= 15


def test_the_legend_is_written_by_the_page_and_has_what_is_drawn() -> None:
    for kind in ("lines", "bars"):
        drawn = figure(kind, 10)
        legend, svg = keys(drawn), as_svg(drawn)
        assert [key.label for key in legend] == [f"series {i}" for i in range(10)]
        assert "series 0" not in svg
        for key in legend:
            assert key.colour in svg
        # Colours come again after eight; lines are told apart by their dashes.
        assert legend[0].colour == legend[8].colour
        assert (legend[0].dash == legend[8].dash) is (kind == "bars")
    assert len({(key.colour, key.dash) for key in keys(figure("lines", 20))}) == 20


def test_one_series_and_a_matrix_have_no_legend() -> None:
    assert keys(figure("lines", 1)) == []
    assert keys(figure("matrix", 4)) == []
