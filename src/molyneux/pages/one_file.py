"""A run as one page that opens from disk: `RUN/report.html`, whichever command made the run.

The page is the explorer's own, with what it reads inside it: each key's data in an element that
is parsed when it is asked for, so that a page of many photos opens at once. It fetches nothing.
Who reads it without scripts finds the photos, and what is concluded of them, in plain words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from molyneux.errors import RunError, quote
from molyneux.explain.folder import find_folder
from molyneux.explain.opened import ExplainRun
from molyneux.pages.glossary import GLOSSARY
from molyneux.pages.joined import digest, joined_page
from molyneux.pages.packed import packed
from molyneux.pages.runs import OpenRun, open_run
from molyneux.pages.views import Views
from molyneux.store import write_at_once

PAGE = "report.html"
RUN = "r0"
# What needs a server or files beside the page; `app.js` does not offer it in one file.
_LEFT_OUT = ("find.js", "live.js", "transplant.js", "unit.js")
_FIRST = "window.MOLYNEUX_EXPORT = true;"
# Stronger than the rule that hides them where scripts run.
_PLAIN = "body > .plain { display: block; }"
_POLICY = (
    "default-src 'none'; img-src data:; script-src 'sha256-{script}'; style-src "
    f"'sha256-{{style}}' 'sha256-{digest(_PLAIN)}'; base-uri 'none'; form-action 'none'"
)


def write_report(run: Path) -> Path:
    """Write the page of a run to `RUN/report.html` and return its path.

    An older page is replaced at once, or stays if anything fails. A run of `explain` that was
    killed is joined as far as it came.

    Raises:
        RunError: the folder is no run, is of another version, is damaged, or cannot be written;
            or it is a study that is not finished.
    """
    unfinished = find_folder(run)
    if unfinished is not None:
        unfinished.join()
    opened = open_run(RUN, run)
    return _write(run / PAGE, _pieces(opened))


def _write(path: Path, pieces: Iterable[str]) -> Path:
    try:
        # A file name that is no text (lone surrogates) must not cost the page.
        write_at_once(path, (piece.encode("utf-8", "replace") for piece in pieces))
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror}); free some space on its disk or check the "
            "folder's permissions, and run `molyneux report` on it again"
        ) from error
    return path


def _pieces(opened: OpenRun) -> Iterator[str]:
    """Yield the page, a piece at a time: one photo and its maps are held at once."""
    before, after = joined_page(_FIRST, _POLICY, _LEFT_OUT)
    views = Views({RUN: opened}, _place, at_once=None)
    try:
        title = f"<title>{escape(_title(opened, views))} · molyneux</title>"
        head = f"{title}\n<noscript><style>{_PLAIN}</style></noscript>"
        yield before.replace("<title>molyneux</title>", head)
        runs = {"runs": [views.described(opened)], "live": False, "atlas": False}
        yield _data("runs", runs | {"glossary": GLOSSARY})
        yield _data(f"record/{RUN}", views.get(f"record/{RUN}"))
        yield from _photos(opened, views) if opened.kind == "explain" else _study(views)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{opened.name} cannot be shown ({type(error).__name__}: {quote(error)}): its files do "
            f"not belong together; make the run anew with `molyneux {opened.kind}`"
        ) from error
    yield after


def _title(opened: OpenRun, views: Views) -> str:
    total = opened.run.total
    if opened.kind == "study":
        return f"Study of {total} photos"
    return views.name(RUN, 0) if total == 1 else f"{total} photos"


def _place(run: str, number: int) -> str:
    """Return what the page's script finds a picture by: the element that holds it."""
    return f"#{run}-{number}"


def _photos(opened: OpenRun, views: Views) -> Iterator[str]:
    run = opened.run
    assert isinstance(run, ExplainRun)
    gallery = views.get(f"gallery/{RUN}")
    # The photos whose first noun the model is surest of come first; what was not read, last.
    gallery["cards"].sort(key=lambda card: card["probability"] or -1.0, reverse=True)
    for card in gallery["cards"]:
        key = f"photo/{RUN}/{card['n']}"
        shown = views.get(key)
        card["found"] = next((told["short"] for told in shown["told"] if told["short"]), None)
        yield _plain_photo(card, shown, run.photo(card["n"]))
        if shown["image"].get("reading"):
            shown["image"]["reading"] = None  # `said` has what is shown of it
        yield _data(key, shown)
    yield _data(f"gallery/{RUN}", gallery | {"order": "surest"})


def _plain_photo(card: dict[str, Any], shown: dict[str, Any], picture: Path | None) -> str:
    image, lines = shown["image"], [*shown["lines"]]
    lines += [f"“{word}”: {said}" for word, said in shown["verdicts"].items()]
    lines += [word["word"] for word in image["words"] if word["word"] not in shown["verdicts"]]
    if image.get("credit"):
        lines.append(f"photo: {image['credit']}")
    caption = f"{shown['lead'] or ''} {image['caption'] or ''}".strip()
    if image["error"]:
        caption = f"This photo was not explained. {image['error']}"
    source = "" if picture is None or image["error"] else _picture(RUN, card, picture, caption)
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<article class="plain"><h2>{escape(card["name"])}</h2>{source}'
        f"<p>{escape(caption)}</p><ul>{items}</ul></article>\n"
    )


def _picture(run: str, card: dict[str, Any], picture: Path, caption: str) -> str:
    try:
        content = base64.b64encode(picture.read_bytes()).decode()
    except OSError as error:
        raise RunError(
            f"cannot read {picture} ({error.strerror}); check its permissions"
        ) from error
    said = escape(f"{card['name']}, as the encoder sees it. The model wrote: {caption}")
    return (
        f'<img id="{_place(run, card["n"])[1:]}" loading="lazy" alt="{said}" '
        f'src="data:image/jpeg;base64,{content}">'
    )


def _study(views: Views) -> Iterator[str]:
    found = views.get(f"study/{RUN}")
    yield _data(f"study/{RUN}", found)
    verdicts = found["verdicts"]
    columns = ("experiment", "claim", "here", "control", "paper", "verdict")
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(_text(row[column]))}</td>' for column in columns)}</tr>"
        for row in (verdicts or {"rows": ()})["rows"]
    )
    heads = "".join(f"<th>{column}</th>" for column in columns)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    yield (
        f'<article class="plain"><h1>{escape(found["title"])}</h1>{table}'
        "<p>The tables are printed by <code>molyneux table</code>.</p></article>\n"
    )


def _text(cell: Any) -> str:
    """Return a cell of a result as plain text."""
    if not isinstance(cell, dict):
        return "–" if cell is None else str(cell)
    if cell["value"] is None:
        return cell["why"] or "–"
    interval = "" if cell["low"] is None else f" [{cell['low']}, {cell['high']}]"
    few = ", few" if cell["few"] else ""
    return f"{cell['value']}{interval}" + ("" if cell["n"] is None else f" (n = {cell['n']}{few})")


def _data(key: str, data: Any) -> str:
    return f'<script type="application/json" data-key="{key}">{embedded(packed(data))}</script>\n'


def embedded(data: Any) -> str:
    """Return JSON that can stand inside a `<script>` element whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or change a script element; no other character does.
    return text.replace("<", "\\u003c")
