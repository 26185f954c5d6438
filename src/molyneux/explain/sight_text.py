"""What is said of sight, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from molyneux.explain.sight_record import Sight, SightSet


SIGHT_COLUMNS = (
    *("units", "mediated", "of not named", "transplant", "of not named", "of the gain"),
    *("edit norm", "written with them"),
)
_TITLES = {
    "change": "changed most",
    "random": "random",
    "matched": "as strong",
    "all": "all",
    "other_values": "changed most, a third photo's values",
    "scrambled": "changed most, changes scrambled",
}


def nats(value: float | None) -> str:
    """Return nats with two decimals; a dash for None."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def times(gain: float) -> str:
    """Return how many times as likely a gain in nats makes a word, with two digits that matter."""
    value = float(f"{exp(min(gain, 100.0)):.2g}")
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def sight_lines(sight: Sight | None) -> list[str]:
    """Return what this photo adds to a word and what carries it, a sentence a line.

    Of what it adds, never that it is seen: for that people's words are needed.
    """
    if sight is None:
        return []
    others = f"{sight.partners} other photos"
    if not sight.adds:
        return [
            f"this photo adds nothing to this word: {nats(sight.gain)} nats more than {others}, "
            f"standard error {nats(sight.standard_error)}"
        ]
    lines = [
        f"this photo makes the word {times(sight.gain)} times as likely as {others} do, in their "
        f"geometric mean: it adds {nats(sight.gain)} nats"
    ]
    change, random = sight.of("change"), sight.of("random")
    if change is not None and change.transplant is not None:
        number = sight.sets.index(change)
        absent = _mean([word.sets[number].transplant for word in sight.absent])
        beside = [f"random units {nats(random.transplant)}"] if random is not None else []
        if absent is not None:
            beside.append(f"to words that are not named {nats(absent)}")
        lines.append(
            f"the {change.fraction_of_units:.0%} of units that it changes most, chosen without a "
            f"word, add {nats(change.transplant)} nats when they are put into other photos' "
            f"patches ({'; '.join(beside)})".replace("%", "\u00a0%")
        )
        if change.transplant_caption is not None:
            lines.append(
                f"with them “{_no_stop(sight.partner_caption)}” becomes "
                f"“{_no_stop(change.transplant_caption)}”"
            )
    return lines


def sight_short(sight: Sight | None) -> str | None:
    """Say in few words what this photo adds to a word; None where that is not known."""
    if sight is None:
        return None
    if not sight.adds:
        return "this photo adds nothing to it"
    return f"{times(sight.gain)} times as likely as behind other photos"


def carried(sight: Sight | None) -> list[tuple[str, float]]:
    """Return what is compared in one look, in nats: what a set brings, and what its controls do.

    Nothing where nothing is added, or nothing was put into other photos.
    """
    change = None if sight is None or not sight.adds else sight.of("change")
    if sight is None or change is None or change.transplant is None:
        return []
    number, random = sight.sets.index(change), sight.of("random")
    share = f"{change.fraction_of_units:.0%}".replace("%", "\u00a0%")
    found = [
        ("it adds", sight.gain),
        (f"{share} of units bring", change.transplant),
        ("random units bring", None if random is None else random.transplant),
        ("words not named get", _mean([word.sets[number].transplant for word in sight.absent])),
    ]
    return [(name, value) for name, value in found if value is not None]


def sight_table(sight: Sight | None) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row for each set: its name, and what stands in the columns after it."""
    if sight is None:
        return []
    return [
        (
            set_title(one),
            (
                nats(one.mediated),
                nats(_mean([word.sets[number].mediated for word in sight.absent])),
                nats(one.transplant),
                nats(_mean([word.sets[number].transplant for word in sight.absent])),
                nats(one.fraction_transplanted),
                nats(one.edit_norm),
                one.transplant_caption or "",
            ),
        )
        for number, one in enumerate(sight.sets)
    ]


def set_title(one: SightSet) -> str:
    """Say in words which units a set is of."""
    share = f"{one.fraction_of_units:.0%}".replace("%", "\u00a0%")
    said = _TITLES[one.name] if one.name == "all" else f"{share} {_TITLES[one.name]}"
    if one.layers == "all":
        return said
    first, last = one.layers[0], one.layers[-1]
    return f"{said}, L{first}" + (f" to L{last}" if last != first else "")


def _no_stop(caption: str) -> str:
    return caption.removesuffix(".")


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
