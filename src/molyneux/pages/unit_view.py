"""What pages show of a unit: where it stands in a run's lists, and what is known of it beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from molyneux.explain.document import UnitRow
from molyneux.explain.opened import ExplainRun
from molyneux.pages.unit_lists import Place

PHOTOS, WORDS = 60, 40


def unit(
    layer: int,
    number: int,
    places: Sequence[Place],
    listed: UnitRow | None,
    address: Callable[[int], str | None],
) -> dict[str, Any]:
    """Return where a unit stands in a run.

    Args:
        places: the first places first.
        listed: what the document says of it at one of them; None where nothing is known.
        address: of a photo's picture; None where it has none.
    """
    words = Counter(word for word, _ in {(place.word, place.image) for place in places})
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
                    "peak_patch": place.peak_patch,
                }
                for place in places[:PHOTOS]
            ],
            "words": [{"word": word, "count": n} for word, n in words.most_common(WORDS)],
            "places": len(places),
            "effects": None,
            "tokens": None if listed is None else listed.tokens,
            "suppressed": None if listed is None else listed.suppressed,
            "sign": None if listed is None else listed.sign,
        },
    }


def listed_row(run: ExplainRun, layer: int, number: int, place: Place) -> UnitRow | None:
    """Return what the document says of a unit at one place.

    Raises:
        RunError: the photo is damaged.
    """
    for word in run.image(place.image).words:
        for lists in word.rankings.values():
            for row in (*lists.patches, *lists.last):
                if (row.layer, row.unit) == (layer, number):
                    return row
    return None
