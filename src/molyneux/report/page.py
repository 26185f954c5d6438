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
from jinja2 import Environment, StrictUndefined, TemplateError
from markupsafe import Markup

from molyneux.errors import RunError
from molyneux.report.claims import claim_of, curve_table, percent, probability
from molyneux.report.files import PAGE, packaged, write_page

SCHEMA = 1
_RANKINGS = {"top": "units", "specific": "specific_units"}  # name in fields -> key of a word
_VIEWS = ("patches", "last")
_QUANTA = 127

Fields = Mapping[str, np.ndarray]


def write_report(run: Path) -> Path:
    """Write the page of a run of `molyneux explain` to `RUN/report.html` and return its path.

    An older page is replaced at once, or stays if anything fails.

    Raises:
        RunError: the folder is no such run, is of another version, is damaged, or cannot be
            written.
    """
    document = _read_document(run)
    fields = _read_fields(run)
    try:
        page = _render(run, document, fields)
    except (TemplateError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{run / 'explain.json'} is not the document this molyneux reads "
            f"({type(error).__name__}: {error}); make the run anew with `molyneux explain`"
        ) from error
    return write_page(run / PAGE, page)


def _read_document(run: Path) -> dict[str, Any]:
    path = run / "explain.json"
    if not path.is_file():
        raise RunError(
            f"{run} is not a run of `molyneux explain`: it has no explain.json; give the folder "
            "that `molyneux explain` named"
        )
    document = _read_json(path)
    if document.get("schema") != SCHEMA:
        raise RunError(
            f"{path} has schema {document.get('schema')!r}, this molyneux reads {SCHEMA}; use the "
            "version that made it (manifest.json names it), or make the run anew"
        )
    return document


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


def _render(run: Path, document: dict[str, Any], fields: Fields) -> str:
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
        model=document["model"],
        settings=document["settings"],
        manifest=_read_json(manifest) if manifest.is_file() else {},
        photos=[_photo(run, document, number) for number in range(len(document["images"]))],
        data=embedded(_data(document, fields)),
    )


def embedded(data: Any) -> Markup:
    """Return JSON that can stand inside a `<script>` element whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # `</script>` and `<!--` end or change a script element; no other character does.
    return Markup(text.replace("<", "\\u003c"))


def _photo(run: Path, document: Mapping[str, Any], number: int) -> dict[str, Any]:
    image = document["images"][number]
    words = [_word(word) for word in image.get("words") or []]
    return {
        "id": f"photo-{number + 1}",
        "number": number + 1,
        "name": re.split(r"[/\\]", image["path"])[-1],
        "path": image["path"],
        "sha256": image.get("sha256"),
        "error": image.get("error"),
        "note": image.get("note"),
        "caption": image.get("caption"),
        "pieces": caption_pieces(image.get("caption") or "", image.get("words") or []),
        "source": None if image.get("error") else _data_uri(run / "photos" / f"{number}.jpg"),
        "words": words,
    }


def _data_uri(photo: Path) -> str | None:
    try:
        content = photo.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {photo} ({error.strerror}); check its permissions") from error
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def caption_pieces(
    caption: str, words: Sequence[Mapping[str, Any]]
) -> list[tuple[str, int | None]]:
    """Return the caption cut into text and words, each word with its place in `words`.

    A word without a span (it was asked for), or whose span overlaps an earlier one, comes last.
    """
    pieces: list[tuple[str, int | None]] = []
    asked = []
    end = 0
    spans = [(tuple(word.get("span") or (-1, -1)), number) for number, word in enumerate(words)]
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
    return pieces + [(words[number]["word"], number) for number in sorted(asked)]


def marked(text: str, word: str) -> list[tuple[str, bool]]:
    """Return text cut into pieces, each with whether it is the word."""
    pieces = re.split(rf"(?<!\w)({re.escape(word)})(?!\w)", text, flags=re.IGNORECASE)
    return [(piece, place % 2 == 1) for place, piece in enumerate(pieces) if piece]


def _word(word: Mapping[str, Any]) -> dict[str, Any]:
    curves = [
        ablation for key in ("ablation", "ablation_last") if (ablation := word.get(key)) is not None
    ]
    captions = word.get("ablated_caption")
    raw = {view: word["units"].get(view) or [] for view in _VIEWS}
    return {
        "word": word["word"],
        "token": word["token"],
        "token_id": word["token_id"],
        "position": word["position"],
        "probability": word["probability"],
        "note": word.get("note"),
        "asked": word.get("span") is None,
        "unrelated": word.get("unrelated") or [],
        "curves": curves,
        "claims": [claim for each in curves if (claim := claim_of(each)) is not None],
        "raw_claims": [claim_of(each, curves=("top", "other")) for each in curves],
        "tables": [(each, curve_table(each)) for each in curves],
        "captions": captions
        and {
            key: marked(text, word["word"]) if isinstance(text, str) else text
            for key, text in captions.items()
        },
        "raw": {view: len(units) for view, units in raw.items()},
        "sinks": {
            view: [f"L{unit['layer']}.u{unit['unit']}" for unit in units if unit["sink"]]
            for view, units in raw.items()
        },
    }


def _data(document: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return what the page's script draws from: unit lists, fields and curves."""
    photos = []
    for number, image in enumerate(document["images"]):
        words = []
        for place, word in enumerate(image.get("words") or []):
            units, maps = {}, {}
            for ranking, key in _RANKINGS.items():
                for view in _VIEWS:
                    name = f"{ranking}.{view}"
                    units[name] = (word.get(key) or {}).get(view) or []
                    stored = f"{number}.{place}.{name}"
                    if stored in fields:
                        maps[name] = _packed(fields[stored], fields.get(f"{stored}.set"))
            curves = [word.get("ablation"), word.get("ablation_last")]
            words.append(
                {
                    "word": word["word"],
                    "units": units,
                    "fields": maps,
                    "curves": [each for each in curves if each is not None],
                }
            )
        grid, sinks = image.get("grid") or [0, 0], image.get("sink_patches") or []
        photos.append({"grid": grid, "sinkPatches": sinks, "words": words})
    settings = document["settings"]
    return {
        "top": settings["top"],
        "of": settings["of"],
        "compared": document["model"]["reference"] is not None,
        "photos": photos,
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
