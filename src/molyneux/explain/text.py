"""An explanation, its words and its lists of units, as text and as HTML for a notebook.

The HTML stands alone: styles are inline, photos are embedded, and no script is needed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from molyneux.explain.claims import Claim, claim_of, probability
from molyneux.explain.sight_text import sight_lines
from molyneux.explain.verdict import verdict
from molyneux.explain.why_text import why_lines, why_title
from molyneux.neurons.unit_sets import UNIT_SETS

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from molyneux.explain.document import Image, Ranking, UnitRow, View, Word

LISTED = 10
TOKENS = 6
SEEN = 8
_WIDE = 60
_ORDER: dict[Ranking, str] = {
    "total": "Units of the largest total",
    "specific": "Units most specific to this photo",
    "raw": "Units of the highest raw score, sinks and all",
    "contrast": "Units that give the word more here than behind other photos",
    "change": "Units that this photo changes most, whatever the word",
}
_PLACE: dict[View, str] = {
    "patches": "scored at the photo's patches",
    "last": "scored where the word is written",
}
_CELL = "padding:2px 10px 2px 0;text-align:left;vertical-align:top;border:0"
_SOFT = "color:#6a6c75"


def heading(ranking: Ranking, view: View) -> str:
    """Say in words what a list is ordered by."""
    return f"{_ORDER[ranking]}, {_PLACE[view]}"


def rounded(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that matter; a dash for None."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{max(places, 0)}f}" if 1e-3 <= abs(value) < 1e5 else f"{value:.{digits - 1}e}"
    return text.replace("-", "−", 1) if value < 0 else text


def seen_otherwise(image: Image) -> str | None:
    """Return the line for a caption whose first noun is known to be wrong; None for any other."""
    if image.agrees is not False:
        return None
    return f"people see something else here: {', '.join((image.known or ())[:SEEN])}"


def patches_say(image: Image) -> str | None:
    """Return the line of what sets of units say through the Jacobian lens; None without one.

    Through the head they say little (`Reading`); that stays in the document.
    """
    for one in image.reading or ():
        if one.lens == "jacobian" and one.layers == "all" and one.words:
            said = ", ".join(word.word for word in one.words[:SEEN])
            share = f"{100 * one.fraction_of_units:g} % of units that it changes most"
            return f"what the patches say, before any word is asked for: {said} ({share}, as a set)"
    return None


def token_text(token: str) -> str:
    """Return a token as it is read in a list: line breaks and the like are spelt."""
    return repr(token.strip() or token)[1:-1]


def _tokens(tokens: Iterable[str]) -> str:
    return " ".join(token_text(token) for token in tokens)


def _flags(row: UnitRow) -> str:
    return "sink" if row.sink else ""


def units_text(rows: Sequence[UnitRow], title: str) -> str:
    """Return the first units of a list, one a line: name, total, specific score, tokens."""
    if not rows:
        return f"{title}: none"
    lines = [f"{title} ({len(rows)})"]
    for number, row in enumerate(rows[:LISTED], start=1):
        tokens = _tokens(row.tokens[:TOKENS])
        tokens = tokens if len(tokens) <= _WIDE else tokens[: _WIDE - 1] + "…"
        lines.append(
            f"{number:>4}  {row.name:<13} total {rounded(row.total):>8}  "
            f"specific {rounded(row.specific):>6}  {tokens}{'  [sink]' if row.sink else ''}"
        )
    if len(rows) > LISTED:
        lines.append(f"   … and {len(rows) - LISTED} more")
    return "\n".join(lines)


def units_html(rows: Sequence[UnitRow], title: str) -> str:
    """Return the first units of a list as a table."""
    if not rows:
        return f'<p style="{_SOFT}">{escape(title)}: none</p>'
    head = "".join(
        f'<th style="{_CELL};{_SOFT};font-weight:500">{name}</th>'
        for name in ("", "writes", "unit", "total", "specific", "")
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL}">{cell}</td>'
            for cell in (
                str(number),
                f"<b>{escape(_tokens(row.tokens[:TOKENS]))}</b>",
                f"<code>{escape(row.name)}</code>",
                rounded(row.total),
                rounded(row.specific),
                f'<span style="{_SOFT}">{_flags(row)}</span>',
            )
        )
        + "</tr>"
        for number, row in enumerate(rows[:LISTED], start=1)
    )
    more = f", the first {LISTED} of {len(rows)}" if len(rows) > LISTED else ""
    return (
        f'<p style="margin:8px 0 2px"><b>{escape(title)}</b>{more}</p>'
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def word_text(word: Word) -> str:
    """Return a word: its probability, what switching units off leaves of it, its first units."""
    trust = f", {word.trust.short}" if word.trust and word.trust.short else ""
    lines = [f"{word.word}  p = {probability(word.probability)}{trust}"]
    lines += [f"  ({word.note})"] if word.note else []
    lines += [f"  {word.warning}"] if word.warning else []
    lines += [f"  {line}" for line in (*_why(word), *_sight(word))]
    lines += [f"  {claim.title}: {claim.sentence} {claim.caveat}" for claim in _claims(word)]
    lines += [f"  {line}" for line in repr(word.units).splitlines()]
    return "\n".join(lines).replace("\u00a0", " ")


def word_html(word: Word) -> str:
    """Return a word with its claims and the first units of its default list."""
    note = f' <span style="{_SOFT}">{escape(word.note)}</span>' if word.note else ""
    found = verdict(word)
    judged = f'<p style="margin:2px 0"><b>{escape(found)}</b></p>' if found else ""
    said = f", {escape(word.trust.short)}" if word.trust and word.trust.short else ""
    warned = f'<p style="margin:2px 0">{escape(word.warning)}</p>' if word.warning else ""
    lines = [f"{claim.title}: {claim.sentence} {claim.caveat}" for claim in _claims(word)]
    claims = warned + "".join(
        f'<p style="margin:2px 0">{escape(line)}</p>'
        for line in (*_why(word), *_sight(word), *lines)
    )
    return (
        f'<p style="margin:12px 0 2px;font-size:1.15em"><b>{escape(word.word)}</b> '
        f'<span style="{_SOFT}">p = {probability(word.probability)}{said}</span>{note}</p>'
        f"{judged}{claims}{_rewrites(word)}{units_html(word.units, word.units.title)}"
    )


def _rewrites(word: Word) -> str:
    """Return the captions with units off, each with whose they were; nothing where none are."""
    captions = word.ablated_caption
    if captions is None:
        return ""
    rows = "".join(
        f'<tr><td style="{_CELL};{_SOFT}">{captions.units} {UNIT_SETS[key].title}</td>'
        f'<td style="{_CELL}">{escape(text)}</td></tr>'
        for key in ("total", "specific", "other_specific", "random")
        if (text := getattr(captions, key)) is not None
    )
    title = '<p style="margin:8px 0 2px"><b>The caption with units off</b></p>'
    return f'{title}<table style="border-collapse:collapse"><tbody>{rows}</tbody></table>'


def photo_text(image: Image, lead: str = "") -> str:
    """Return what was found of a photo: its caption, and each word with its first units."""
    if image.error is not None:
        return f"{image.path}: not explained: {image.error}"
    lines = [f"{image.path}: {f'{lead} {image.caption}'.strip()}"]
    lines += [f"  {line}" for line in _lines(image) if line]
    for word in image.words:
        lines += [f"  {line}" for line in word_text(word).splitlines()]
    return "\n".join(lines)


def photo_html(image: Image, lead: str = "", pictures: Sequence[Picture] = ()) -> str:
    """Return what was found of a photo.

    Args:
        pictures: the photo as seen, or with heat maps; shown beside one another.
    """
    if image.error is not None:
        return f"<p>{escape(image.path)}: not explained: {escape(image.error)}</p>"
    shown = "".join(
        f'<img src="{_data_uri(picture)}" width="224" height="224" '
        'style="margin:0 8px 0 0;border-radius:6px;display:inline-block" alt="">'
        for picture in pictures
    )
    note = "".join(
        f'<p style="{_SOFT}">{escape(line)}</p>' for line in (*_lines(image), image.credit) if line
    )
    return (
        f'<div style="font-size:14px;line-height:1.45"><p style="margin:0 0 6px;{_SOFT}">'
        f'{escape(image.path)}</p>{shown}<p style="margin:8px 0 2px;font-size:1.4em">'
        f'<span style="{_SOFT}">{escape(lead)}</span> <b>{escape(image.caption or "")}</b></p>'
        f"{note}{''.join(word_html(word) for word in image.words)}</div>"
    )


def _lines(image: Image) -> tuple[str | None, ...]:
    return seen_otherwise(image), image.note, patches_say(image)


def _why(word: Word) -> list[str]:
    """Return why it is said, after a heading; nothing where that was not asked."""
    if word.why is None:
        return []
    return [why_title(word.word, word.why), *why_lines(word.word, word.why)]


def _sight(word: Word) -> list[str]:
    """Return what is said of a word's sight: nothing where the word itself is doubted."""
    return sight_lines(None if word.warning else word.sight)


def _claims(word: Word) -> list[Claim]:
    if word.warning:
        return []
    return [claim for curves in word.curves if (claim := claim_of(curves)) is not None]


def _data_uri(picture: Picture) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
