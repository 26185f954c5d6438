"""What pages show of a unit: where it stands in a run's lists, and what is known of it beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from molyneux.explain.document import Image, UnitRow
from molyneux.explain.opened import ExplainRun
from molyneux.explore.study_run import StudyRun
from molyneux.explore.unit_lists import Place, UnitLists
from molyneux.neurons.unit_names import read_name

PHOTOS, WORDS = 60, 40
OPENED = 8
"""Photos that are opened to say at which patch the unit peaks there."""


def unit(
    run: ExplainRun | StudyRun,
    lists: UnitLists,
    name: str,
    address: Callable[[int], str | None],
) -> dict[str, Any]:
    """Return where a unit stands in a run.

    Args:
        address: of a photo's picture; None where it has none.

    Raises:
        UsageError: the name is no unit's, or the model has no such unit.
        RunError: a table is missing or damaged.
    """
    layer, number, _ = read_name(name)
    places = lists.places(layer, number)
    shown = places[:PHOTOS]
    rows = _opened(run, shown, layer, number) if isinstance(run, ExplainRun) else {}
    best = next(iter(rows.values()), None)
    counts = Counter((place.word, place.image) for place in places)
    words = Counter(word for word, _ in counts)
    return {
        "unit": f"L{layer}.u{number}",
        "layer": layer,
        "atlas": None,
        "in_run": {
            "photos": [
                {
                    "n": place.image,
                    "photo": address(place.image),
                    "word": place.word,
                    "score": place.score,
                    "rank": place.rank,
                    "ranking": f"{place.ranking}.{place.view}",
                    "peak_patch": _peak(rows.get((place.image, place.word, place.view))),
                }
                for place in shown
            ],
            "words": [{"word": word, "count": n} for word, n in words.most_common(WORDS)],
            "places": len(places),
            "effects": None,
            "tokens": None if best is None else best.tokens,
            "suppressed": None if best is None else best.suppressed,
            "sign": None if best is None else best.sign,
        },
        "neighbours": [],
        "fake": None,
    }


def _opened(
    run: ExplainRun, places: list[Place], layer: int, number: int
) -> dict[tuple[int, str, str], UnitRow]:
    """Return what the document says of a unit at its first places."""
    found: dict[tuple[int, str, str], UnitRow] = {}
    for image_number in list(dict.fromkeys(place.image for place in places))[:OPENED]:
        image: Image = run.image(image_number)
        for word in image.words:
            for lists in word.rankings.values():
                for view, rows in (("patches", lists.patches), ("last", lists.last)):
                    for row in rows:
                        if (row.layer, row.unit) == (layer, number):
                            found.setdefault((image_number, word.word, view), row)
    return found


def _peak(row: UnitRow | None) -> tuple[int, int] | None:
    return None if row is None else row.peak_patch
