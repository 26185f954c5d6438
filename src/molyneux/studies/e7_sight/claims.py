"""What may be said of sight: each claim, the rule that it has to pass, and whether it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molyneux.studies.results import (
    FALLS,
    FEW,
    HOLDS,
    OPEN,
    Cell,
    Number,
    Result,
    ResultTable,
    Verdict,
)

CLAIMS = "E7.claims"
NOISE = 0.01
"""Nats that are taken for nothing: sums in another order, of numbers of low precision."""


@dataclass(frozen=True)
class Claims:
    """The numbers that the claims rest on, all of the 5 % of units that change most, in nats.

    Attributes:
        people: transplant of people's nouns minus other photos' people's.
        people_over_random: the same, minus that of random units.
        people_permuted: the same as `people`, behind another photo's pixels.
        people_over_permuted: `people` minus that: a control that is merely noisy covers 0, too.
        not_said: as `people`, of nouns that the model's caption has not; and so on.
        mediated: what people's nouns lose without the set, minus what other photos' lose.
        caption: transplant of the caption's first noun minus that of words that are not there.
        written: share of written captions that name the noun, minus that with random units.
        written_other: the same, minus that with a third photo's values.
    """

    people: Number
    people_over_random: Number
    people_permuted: Number
    people_over_permuted: Number
    not_said: Number
    not_said_over_random: Number
    not_said_permuted: Number
    not_said_over_permuted: Number
    mediated: Number
    mediated_permuted: Number
    mediated_over_permuted: Number
    caption: Number
    caption_over_random: Number
    caption_permuted: Number
    written: Number
    written_other: Number


def is_above(number: Number) -> bool:
    """Return whether a number's interval lies above 0, by more than noise."""
    return number.low is not None and number.low > NOISE


def covers_zero(number: Number) -> bool:
    """Return whether a number's interval covers 0, but for noise."""
    return (
        number.low is not None
        and number.high is not None
        and (number.low <= NOISE and number.high >= -NOISE)
    )


def _is_open(number: Number) -> bool:
    return number.low is None or number.n is None or number.n < FEW


def verdict(above: Sequence[Number], around: Sequence[Number] = ()) -> str:
    """Return whether a claim holds: intervals above 0, and controls' intervals that cover 0.

    Open where a number has not been measured, or is of fewer than 20 photos.
    """
    if any(map(_is_open, (*above, *around))):
        return OPEN
    passes = all(map(is_above, above)) and all(map(covers_zero, around))
    return HOLDS if passes else FALLS


def claim_table(claims: Claims, left_out: str = "") -> ResultTable:
    """Return the claims and their verdicts."""
    rows: list[dict[str, Cell]] = [
        {
            "claim": "sight: the units carry what people say of the photo",
            "measured": claims.people,
            "minus random units": claims.people_over_random,
            "permuted pixels": claims.people_permuted,
            "minus permuted": claims.people_over_permuted,
            "verdict": verdict(
                [claims.people, claims.people_over_random, claims.people_over_permuted],
                [claims.people_permuted],
            ),
        },
        {
            "claim": "and more of it than the model says",
            "measured": claims.not_said,
            "minus random units": claims.not_said_over_random,
            "permuted pixels": claims.not_said_permuted,
            "minus permuted": claims.not_said_over_permuted,
            "verdict": verdict(
                [claims.not_said, claims.not_said_over_random, claims.not_said_over_permuted],
                [claims.not_said_permuted],
            ),
        },
        {
            "claim": "what people say is lost without them",
            "measured": claims.mediated,
            "permuted pixels": claims.mediated_permuted,
            "minus permuted": claims.mediated_over_permuted,
            "verdict": verdict(
                [claims.mediated, claims.mediated_over_permuted], [claims.mediated_permuted]
            ),
        },
        {
            "claim": "what the model says gets there through them (no sight)",
            "measured": claims.caption,
            "minus random units": claims.caption_over_random,
            "permuted pixels": claims.caption_permuted,
            "verdict": verdict([claims.caption, claims.caption_over_random]),
        },
        {
            "claim": "with them another photo's caption names the noun (no sight)",
            "measured": claims.written_other,
            "minus random units": claims.written,
            "verdict": verdict([claims.written, claims.written_other]),
        },
    ]
    notes = (
        "Of the 5 % of units at the patches that change most, chosen without any word. Sight is "
        "claimed from people's nouns alone: their transplant minus that of other photos' people's "
        "nouns, and that difference minus random units', lie above 0, and behind another photo's "
        "pixels the difference covers 0 and is the smaller one. Mediated likewise, of what is "
        "lost.",
        "No sight: the caption's noun follows from what the model was given, so that these hold "
        "behind another photo's pixels as well. Measured: transplant minus that of words that are "
        "not there; of captions, the share that names the noun, minus that with a third photo's "
        "values.",
        f"A claim holds where all its intervals do as said, by more than the {NOISE:g} nats that "
        f"rounding may make, and is open below {FEW} photos. "
        "Differences in nats, intervals over photos and partners.",
    )
    return ResultTable(
        CLAIMS,
        "What may be said of sight",
        (
            *("claim", "measured", "minus random units", "permuted pixels", "minus permuted"),
            *("verdict", "paper"),
        ),
        tuple(rows),
        (*notes, left_out) if left_out else notes,
    )


def verdicts(result: Result) -> list[Verdict]:
    """Return the claims of a result; the control of those of sight is what wrong pixels leave.

    What the model says is carried behind wrong pixels as well: that is no control of the others.
    """
    return [
        Verdict(
            str(row["claim"]),
            row.get("measured"),
            row.get("permuted pixels") if row.get("minus permuted") is not None else None,
            None,
            str(row["verdict"]),
        )
        for table in result.tables
        if table.name == CLAIMS
        for row in table.rows
    ]
