"""What is said of why a word was written, or nearly, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molyneux.explain.sight_text import nats

if TYPE_CHECKING:
    from molyneux.explain.why_record import SharedUnits, Spread, Why

PATCHES = 3
WHY_COLUMNS = (
    *("here", "behind photos that show it", "behind photos that do not"),
    *("of those with one another", "by chance"),
)
_BY = {
    "contrast": "of the units that push it most beyond what they do behind other photos",
    "total": "of the units that push it most",
}


def why_title(word: str, why: Why) -> str:
    """Return the heading: what is to be explained, called what it is."""
    return {
        "written": f"Why did it say “{word}”?",
        "nearly": f"Why did it nearly say “{word}”?",
        "asked": f"“{word}”, asked for",
    }[why.said]


def why_lines(word: str, why: Why | None) -> list[str]:
    """Return why a word was written, or nearly, a sentence a line; each number has its spread."""
    if why is None:
        return []
    lines = [_state(word, why)]
    if not why.shared:
        lines.append(
            f"of {why.described} reference photos that people described {_none(why)}: there is "
            "nothing to compare this photo with"
        )
    else:
        lines += [_likelihood(why), *map(_shared, why.shared), _verdict(word, why)]
    return [*lines, *_patches(why)]


def why_table(why: Why | None) -> list[tuple[str, tuple[str, ...]]]:
    """Return a row for each comparison: its name, and what stands in the columns after it."""
    if why is None or not why.shared:
        return []
    rows: list[tuple[str, tuple[str, ...]]] = [
        (
            "log-probability, nats",
            (
                nats(why.log_probability),
                _spread(why.log_probability_shown),
                _spread(why.log_probability_others),
                "",
                "",
            ),
        )
    ]
    for one in why.shared:
        name = f"share of its first {one.units} units, by {one.ranking}"
        shares = (one.shown, one.others, one.among_shown)
        rows.append((name, ("", *map(_spread, shares), _chance(one))))
    return rows


def _state(word: str, why: Why) -> str:
    people = {
        True: "people named it in this photo",
        False: "nobody who described this photo named it",
        None: "whether people see it in this photo is not known",
    }[why.named_by_people]
    place = f"number {why.rank} of {why.nouns} everyday nouns there"
    said = {
        "written": f"the caption says “{word}” ({place})",
        "nearly": f"the caption does not say “{word}”, but nearly: it is {place}",
        "asked": f"the caption does not say “{word}”: it is {place}",
    }[why.said]
    return f"{said}; {people}"


def _none(why: Why) -> str:
    if not why.named:
        return "none shows it"
    return f"{why.named} show{'s' if why.named == 1 else ''} it, but there is no other beside"


def _likelihood(why: Why) -> str:
    shown, others = why.log_probability_shown, why.log_probability_others
    assert shown is not None
    assert others is not None
    return (
        f"its log-probability is {nats(why.log_probability)} nats here, {_over(shown)} behind "
        f"{shown.photos} reference photos that people say show it, and {_over(others)} behind "
        f"{others.photos} where nobody named it"
    )


def _shared(one: SharedUnits) -> str:
    among = one.among_shown
    expected = (
        "" if among is None else f"; those that show it share {_percent(among)} with one another"
    )
    return (
        f"{_BY[one.ranking]} ({one.units}), {_percent(one.shown)} are among those behind photos "
        f"that show it and {_percent(one.others)} behind photos that do not (by chance in "
        f"{_chance(one)} of draws{expected})"
    )


def _verdict(word: str, why: Why) -> str:
    if why.like_shown is None:
        return "these photos are too few to tell whether this one looks like them to the model"
    if why.like_shown:
        return (
            f"so to the model this photo looks like “{word}”, or like what is seen with it: its "
            "units are those of photos that show it"
        )
    return (
        f"so nothing says that this photo looks like “{word}” to the model: its units are no more "
        "those of photos that show it than of any others; they are the text's, or this photo's "
        "alone"
    )


def _patches(why: Why) -> list[str]:
    if not why.patches:
        return []
    placed = [
        (value, row, column)
        for row, values in enumerate(why.patches, start=1)
        for column, value in enumerate(values, start=1)
    ]
    first = sorted(placed, key=lambda one: (-one[0], one[1:]))[:PATCHES]
    unit = {"logit": " logits", "nat": " nats", None: ""}[why.score_unit]
    total = sum(value for value, *_ in placed)
    places = "; ".join(
        f"row {row}, column {column} ({nats(value)})" for value, row, column in first if value > 0
    )
    if not places:
        return [f"no patch pushes it; all together give it {nats(total)}{unit}, to first order"]
    return [
        f"the patches that push it most: {places}; all together give it {nats(total)}{unit}, to "
        "first order"
    ]


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    apart = "" if spread.deviation is None else f" ± {nats(spread.deviation)}"
    return f"{nats(spread.mean)}{apart} (n = {spread.photos})"


def _over(spread: Spread) -> str:
    apart = "" if spread.deviation is None else f" ± {nats(spread.deviation)}"
    return f"{nats(spread.mean)}{apart}"


def _percent(share: Spread) -> str:
    apart = "" if share.deviation is None else f" ± {100 * share.deviation:.0f}"
    return f"{100 * share.mean:.0f}{apart} % (n = {share.photos})"


def _chance(one: SharedUnits) -> str:
    return f"{100 * one.chance:.1f} %"
