"""What is said of sight, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
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
    lines = [f"this photo adds {nats(sight.gain)} nats to the word, compared with {others}"]
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
                f"with them “{sight.partner_caption}” becomes “{change.transplant_caption}”"
            )
    return lines


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


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
