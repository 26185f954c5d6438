"""The page of a run: reads the run folder, nothing else, and writes one self-contained file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, TemplateError
from markupsafe import Markup

from molyneux.errors import RunError, quote
from molyneux.explain.claims import claim_of, curve_table, percent, probability
from molyneux.explain.document import (
    LISTS,
    VIEWS,
    Document,
    Image,
    ModelRecord,
    Ranking,
    SettingsRecord,
    Word,
    read_document,
)
from molyneux.explain.folder import find_folder
from molyneux.explain.sight_text import (
    SIGHT_COLUMNS,
    carried,
    nats,
    sight_lines,
    sight_short,
    sight_table,
)
from molyneux.explain.text import heading, seen_otherwise
from molyneux.explain.why_record import Why
from molyneux.explain.why_text import WHY_COLUMNS, why_lines, why_table, why_title
from molyneux.neurons.unit_sets import LISTED
from molyneux.records import to_plain
from molyneux.report.chances import BADGE, sinks_by_chance
from molyneux.report.files import PAGE, packaged, write_page
from molyneux.report.quantised import as_bytes, magnitude
from molyneux.report.reading import Said, said_at_patches, said_by_layers

_IN_DOCUMENT = ("model", "settings", "photos")

Fields = Callable[[str], np.ndarray | None]
"""What returns a tensor of the run by its name."""


def write_photo_report(run: Path) -> Path:
    """Write the page of a run of `molyneux explain` to `RUN/report.html` and return its path.

    An older page is replaced at once, or stays if anything fails. A run that was killed is joined
    as far as it came.

    Raises:
        RunError: the folder is no such run, is of another version, is damaged, or cannot be
            written.
    """
    unfinished = find_folder(run)
    if unfinished is not None:
        unfinished.join()
    document = read_document(run)
    with _open_fields(run) as fields:
        return write_page(run / PAGE, _render(run, document, fields))


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return what a manifest says that the document does not."""
    found = _read_json(path) if path.is_file() else {}
    return {name: value for name, value in found.items() if name not in _IN_DOCUMENT}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        # NaN and Infinity are Python's own; a browser would refuse the whole page for them.
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}); check its permissions") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); make the run anew") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged (not a JSON object); make the run anew")
    return found


@contextmanager
def _open_fields(run: Path) -> Iterator[Fields]:
    """Give what returns a tensor of the run by its name, or None; one is read at a time."""
    from safetensors import SafetensorError, safe_open

    path = run / "fields.safetensors"
    if not path.is_file():
        yield lambda name: None
        return
    try:
        with safe_open(path, "numpy") as file:
            names = set(file.keys())
            yield lambda name: file.get_tensor(name) if name in names else None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}); make the run anew") from error


def _render(run: Path, document: Document, fields: Fields) -> Iterator[str]:
    """Yield the page, a piece at a time: one photo and its maps are held at once."""
    script = packaged("report.js") + packaged("theme.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "probability": probability}
    settings = document.settings
    shared = {
        "top": settings.top,
        "score": score_words(settings),
        "compared": document.model.reference is not None,
        "words_by_chance": document.model.words_by_chance,
        "sinks": sink_badge(document.model),
        "headings": {f"{r}.{v}": heading(r, v) for r, v in LISTS},
    }
    try:
        yield from environment.from_string(packaged("report.html.j2")).generate(
            style=Markup(packaged("report.css")),
            script=Markup(script),
            script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
            document=document,
            localises=[limit for limit in document.model.limits if "localise" in limit],
            sink_chance=sink_share(document.model),
            plain=to_plain,
            manifest=_read_manifest(run / "manifest.json"),
            photos=sorted(
                (_Photo(run, fields, n, image) for n, image in enumerate(document.images)),
                key=lambda photo: photo.sureness,
                reverse=True,
            ),
            data=embedded(shared),
        )
    except (TemplateError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{run} cannot be shown ({type(error).__name__}: {quote(error)}): its files do not "
            "belong together; make the run anew with `molyneux explain`"
        ) from error


def embedded(data: Any) -> Markup:
    """Return JSON that can stand inside a `<script>` element whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or change a script element; no other character does.
    return Markup(text.replace("<", "\\u003c"))


@dataclass(frozen=True)
class _Photo:
    """A photo on the page; what is large of it is read where it is written."""

    run: Path
    fields: Fields
    place: int
    image: Image

    @property
    def number(self) -> int:
        return self.place + 1

    @property
    def id(self) -> str:
        return f"photo-{self.number}"

    @property
    def name(self) -> str:
        return re.split(r"[/\\]", self.image.path)[-1]

    @property
    def has_source(self) -> bool:
        return self.image.error is None and self._file.exists()

    @property
    def _file(self) -> Path:
        return self.run / "photos" / f"{self.place}.jpg"

    @property
    def pieces(self) -> list[tuple[str, int | None]]:
        return caption_pieces(self.image.caption or "", self.image.words)

    @property
    def sureness(self) -> float:
        """The probability of the caption's first noun; below all where it has none."""
        return next((word.probability for word in self.image.words if word.span), -1.0)

    @property
    def otherwise(self) -> str | None:
        return seen_otherwise(self.image)

    @property
    def said(self) -> list[Said]:
        return said_by_layers(self.image)

    @property
    def compared(self) -> bool:
        return any(one.places or one.up or one.down for one in self.said)

    @property
    def share_read(self) -> str:
        share = next(one.fraction_of_units for one in self.image.reading or ())
        return f"{100 * share:g}\u00a0%"

    @cached_property
    def at_patches(self) -> list[list[tuple[str, float]]] | None:
        return said_at_patches(self.image)

    @property
    def rankings(self) -> list[Ranking]:
        """The rankings that the run has lists of."""
        words = self.image.words
        return [name for name in LISTED if any(word.ranked(ranking=name) for word in words)]

    @cached_property
    def words(self) -> list[dict[str, Any]]:
        return [_word(word) for word in self.image.words]

    def source(self) -> str:
        return _data_uri(self._file)

    def data(self) -> Markup:
        """Return what the page's script draws from: unit lists, fields and curves."""
        return embedded(
            {
                "grid": self.image.grid or (0, 0),
                "sinkPatches": self.image.sink_patches or (),
                "rankings": self.rankings,
                "atPatches": self.at_patches,
                "words": [self._word_data(n, word) for n, word in enumerate(self.image.words)],
            }
        )

    def _field(self, name: str) -> np.ndarray | None:
        """Return heat maps; those of `raw` had another name."""
        found = self.fields(name)
        return self.fields(name.replace(".raw.", ".top.")) if found is None else found

    def _word_data(self, number: int, word: Word) -> dict[str, Any]:
        stored = {
            f"{ranking}.{view}": f"{self.place}.{number}.{ranking}.{view}"
            for ranking, view in LISTS
        }
        return {
            "word": word.word,
            "units": {
                f"{ranking}.{view}": [
                    to_plain(row) for row in word.ranked(view=view, ranking=ranking)
                ]
                for ranking, view in LISTS
            },
            "others": {
                f"{ranking}.{view}": lists.others_in(view)
                for ranking, lists in word.rankings.items()
                for view in VIEWS
            },
            "fields": {
                listed: _packed(units, self._field(f"{name}.set"))
                for listed, name in stored.items()
                if (units := self._field(name)) is not None
            },
            "curves": [to_plain(curves) for curves in word.curves],
        }


def _data_uri(photo: Path) -> str:
    try:
        content = photo.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {photo} ({error.strerror}); check its permissions") from error
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def caption_pieces(caption: str, words: Sequence[Word]) -> list[tuple[str, int | None]]:
    """Return the caption cut into text and words, each word with its place in `words`.

    A word without a span (it was asked for), or whose span overlaps an earlier one, comes last.
    """
    pieces: list[tuple[str, int | None]] = []
    asked = []
    end = 0
    spans = [(word.span or (-1, -1), number) for number, word in enumerate(words)]
    for (start, stop), number in sorted(spans):
        if start < end or stop > len(caption):
            asked.append(number)
            continue
        if start > end:
            pieces.append((caption[end:start], None))
        pieces.append((caption[start:stop], number))
        end = stop
    if end < len(caption):
        pieces.append((caption[end:], None))
    return pieces + [(words[number].word, number) for number in sorted(asked)]


def marked(text: str, word: str) -> list[tuple[str, bool]]:
    """Return text cut into pieces, each with whether it is the word."""
    pieces = re.split(rf"(?<!\w)({re.escape(word)})(?!\w)", text, flags=re.IGNORECASE)
    return [(piece, place % 2 == 1) for place, piece in enumerate(pieces) if piece]


def _word(word: Word) -> dict[str, Any]:
    captions = word.ablated_caption
    rewrites = (
        {}
        if captions is None
        else {
            name: text if text is None else marked(text, word.word)
            for name in ("total", "specific", "other_specific", "top", "random")
            for text in [getattr(captions, name)]
        }
    )
    return {
        "word": word,
        # Under the floor, what is left of a word says nothing.
        "claims": []
        if word.warning
        else [claim for each in word.curves if (claim := claim_of(each)) is not None],
        "raw_claims": [
            None if word.warning else claim_of(each, compared=("top", "other"))
            for each in word.curves
        ],
        "tables": [(each, curve_table(each)) for each in word.curves],
        "rewrites": rewrites,
        "why": None if word.why is None else _why(word.word, word.why),
        "sight": sight_lines(None if word.warning else word.sight),
        "adds": [] if word.warning else _bars(carried(word.sight)),
        "adds_short": None if word.warning else sight_short(word.sight),
        "sight_table": sight_table(word.sight),
        "sight_columns": SIGHT_COLUMNS,
        "sinks": {
            view: [
                f"L{row.layer}.u{row.unit}"
                for row in word.ranked(view=view, ranking="raw")
                if row.sink
            ]
            for view in VIEWS
        },
    }


def _bars(values: Sequence[tuple[str, float]]) -> list[tuple[str, str, str, str]]:
    """Return each with its value, its length as a share of the largest, and its kind."""
    largest = max((value for _, value in values), default=0.0) or 1.0
    return [
        (name, nats(value), f"{max(0.0, value / largest):.3f}", "own" if place < 2 else "other")
        for place, (name, value) in enumerate(values)
    ]


def _why(word: str, why: Why) -> dict[str, Any]:
    return {
        "title": why_title(word, why),
        "lines": why_lines(word, why),
        "columns": WHY_COLUMNS,
        "table": why_table(why),
        "patches": _shades(why.patches or ()),
    }


def _shades(values: Sequence[Sequence[float]]) -> list[list[tuple[float, float]]]:
    """Return values, each with its size as a share of the largest."""
    largest = max((abs(value) for row in values for value in row), default=0.0) or 1.0
    return [[(value, round(abs(value) / largest, 3)) for value in row] for row in values]


def score_words(settings: SettingsRecord) -> str:
    """Say what a score is, and in what."""
    if settings.scorer is not None:
        return str(settings.scorer["name"])
    return f"gradient × activation in {'logits' if settings.of == 'logit' else 'nats'}"


def sink_share(model: ModelRecord) -> str | None:
    """Say how many of the units would be sinks by chance; None where that is not known."""
    chance = sinks_by_chance(model)
    return None if chance is None else percent(max(chance, 1e-9))  # it is never quite zero


def sink_badge(model: ModelRecord) -> str | None:
    """Say what the badge of a sink means and how often a fake has it; None where it would not do.

    It would not where that is not known, or is more than one in twenty.
    """
    if (sinks_by_chance(model) or 0) > BADGE or (share := sink_share(model)) is None:
        return None
    return (
        "near the top for at least half of the reference photos; were places drawn anew at each "
        f"photo, {share} of units would be"
    )


def _packed(units: np.ndarray, whole_set: np.ndarray | None) -> dict[str, Any]:
    """Return fields as signed bytes of their own largest magnitude: enough for a picture."""
    largest = [magnitude(field) for field in units]
    packed: dict[str, Any] = {"units": as_bytes(units, largest), "largest": largest}
    if whole_set is not None:
        packed["setLargest"] = magnitude(whole_set)
        packed["set"] = as_bytes(whole_set[None], [packed["setLargest"]])
    return packed
