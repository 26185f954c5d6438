"""The page of a run: reads the run folder, nothing else, and writes one self-contained file."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from molyneux.errors import RunError
from molyneux.explain.document import (
    LISTS,
    VIEWS,
    Document,
    Image,
    SettingsRecord,
    Word,
    read_document,
)
from molyneux.records import to_plain
from molyneux.report.claims import claim_of, curve_table, percent, probability
from molyneux.report.files import PAGE, packaged, write_page

_QUANTA = 127

Fields = Mapping[str, np.ndarray]


def write_photo_report(run: Path) -> Path:
    """Write the page of a run of `molyneux explain` to `RUN/report.html` and return its path.

    An older page is replaced at once, or stays if anything fails.

    Raises:
        RunError: the folder is no such run, is of another version, is damaged, or cannot be
            written.
    """
    return write_page(run / PAGE, _render(run, read_document(run), _read_fields(run)))


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


def _read_fields(run: Path) -> Fields:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = run / "fields.safetensors"
    if not path.is_file():
        return {}
    try:
        fields: Fields = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} is damaged ({error}); make the run anew") from error
    return fields


def _render(run: Path, document: Document, fields: Fields) -> str:
    manifest = run / "manifest.json"
    script = packaged("report.js") + packaged("theme.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "probability": probability}
    return environment.from_string(packaged("report.html.j2")).render(
        style=Markup(packaged("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
        document=document,
        plain=to_plain,
        manifest=_read_json(manifest) if manifest.is_file() else {},
        photos=[_photo(run, image, number) for number, image in enumerate(document.images)],
        data=embedded(_data(document, fields)),
    )


def embedded(data: Any) -> Markup:
    """Return JSON that can stand inside a `<script>` element whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or change a script element; no other character does.
    return Markup(text.replace("<", "\\u003c"))


def _photo(run: Path, image: Image, number: int) -> dict[str, Any]:
    return {
        "id": f"photo-{number + 1}",
        "number": number + 1,
        "name": re.split(r"[/\\]", image.path)[-1],
        "image": image,
        "pieces": caption_pieces(image.caption or "", image.words),
        "source": None if image.error else _data_uri(run / "photos" / f"{number}.jpg"),
        "words": [_word(word) for word in image.words],
    }


def _data_uri(photo: Path) -> str | None:
    try:
        content = photo.read_bytes()
    except FileNotFoundError:
        return None
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
            for name in ("specific", "other_specific", "top", "random")
            for text in [getattr(captions, name)]
        }
    )
    return {
        "word": word,
        "claims": [claim for each in word.curves if (claim := claim_of(each)) is not None],
        "raw_claims": [claim_of(each, compared=("top", "other")) for each in word.curves],
        "tables": [(each, curve_table(each)) for each in word.curves],
        "rewrites": rewrites,
        "sinks": {
            view: [f"L{row.layer}.u{row.unit}" for row in word.lists.view(view) if row.sink]
            for view in VIEWS
        },
    }


def score_words(settings: SettingsRecord) -> str:
    """Say what a score is, and in what."""
    if settings.scorer is not None:
        return str(settings.scorer["name"])
    return f"gradient × activation in {'logits' if settings.of == 'logit' else 'nats'}"


def _data(document: Document, fields: Fields) -> dict[str, Any]:
    """Return what the page's script draws from: unit lists, fields and curves."""
    return {
        "top": document.settings.top,
        "score": score_words(document.settings),
        "compared": document.model.reference is not None,
        "photos": [
            {
                "grid": image.grid or (0, 0),
                "sinkPatches": image.sink_patches or (),
                "words": [
                    {
                        "word": word.word,
                        "units": {
                            f"{ranking}.{view}": [
                                to_plain(row) for row in word.ranked_rows(view, ranking)
                            ]
                            for ranking, view in LISTS
                        },
                        "fields": {
                            name: _packed(fields[stored], fields.get(f"{stored}.set"))
                            for name in (f"{ranking}.{view}" for ranking, view in LISTS)
                            if (stored := f"{number}.{place}.{name}") in fields
                        },
                        "curves": [to_plain(curves) for curves in word.curves],
                    }
                    for place, word in enumerate(image.words)
                ],
            }
            for number, image in enumerate(document.images)
        ],
    }


def _packed(units: np.ndarray, whole_set: np.ndarray | None) -> dict[str, Any]:
    """Return fields as signed bytes of their own largest magnitude: enough for a picture."""
    largest = [_magnitude(field) for field in units]
    packed: dict[str, Any] = {"units": _bytes(units, largest), "largest": largest}
    if whole_set is not None:
        packed["setLargest"] = _magnitude(whole_set)
        packed["set"] = _bytes(whole_set[None], [packed["setLargest"]])
    return packed


def _magnitude(field: np.ndarray) -> float:
    largest = float(np.abs(np.nan_to_num(field, posinf=0, neginf=0)).max(initial=0))
    return float(f"{largest:.4g}") if math.isfinite(largest) else 0.0


def _bytes(fields: np.ndarray, largest: Sequence[float]) -> str:
    scale = np.array([value or 1.0 for value in largest]).reshape(-1, 1, 1)
    quanta = np.rint(np.nan_to_num(fields, posinf=0, neginf=0) / scale * _QUANTA)
    return base64.b64encode(quanta.clip(-_QUANTA, _QUANTA).astype(np.int8).tobytes()).decode()
