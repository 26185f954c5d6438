"""What pages show of a photo that was explained, in a run folder or just now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from molyneux.explain.claims import Claim, claim_of, curve_table
from molyneux.explain.document import LISTS, Image, ModelRecord, SettingsRecord, Word
from molyneux.explain.opened import ExplainRun, Glance
from molyneux.explain.sight_text import SIGHT_COLUMNS, carried, nats, sight_lines, sight_table
from molyneux.explain.text import heading, patches_say, seen_otherwise
from molyneux.explain.verdict import verdict
from molyneux.explain.why_text import WHY_COLUMNS, why_lines, why_table, why_title
from molyneux.records import to_plain
from molyneux.report.page import score_words, sink_badge
from molyneux.report.quantised import as_bytes, magnitude
from molyneux.report.reading import said_at_patches, said_at_patches_by_layers, said_by_layers

SAYS = 8
UNITS_AT_A_PATCH = 12


def card(run: ExplainRun, number: int) -> dict[str, Any]:
    """Return what a list of photos shows of one, without its picture.

    Raises:
        UsageError: there is no such photo.
        RunError: it is damaged.
    """
    image = run.glance(number)
    first = next((word for word in image.words if word.span), None)
    trust = next((word.trust for word in image.words if word.trust is not None), None)
    return {
        "n": number,
        "name": name_of(image.path),
        "caption": image.caption,
        "error": image.error,
        "trust": None if trust is None else {"text": trust.short, "value": trust.rate},
        "noun": None if first is None else first.word,
        "probability": None if first is None else first.probability,
        "agrees": image.agrees,
        "words": [word.word for word in image.words],
        "says": _says(image),
    }


def photo(
    model: ModelRecord, settings: SettingsRecord, image: Image, fields: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return all that was found of a photo, but for its picture.

    Args:
        fields: heat maps by `<word>.<ranking>.<view>`, units x rows x columns, and that with
            `.set`, rows x columns.
    """
    return {
        "image": to_plain(image),
        "name": name_of(image.path),
        "fields": {name: _packed(field) for name, field in fields.items()},
        "grid": image.grid,
        "said": {
            "layers": [asdict(one) for one in said_by_layers(image)],
            "patches": said_at_patches(image),
            "parts": [
                {"layers": layers, "patches": patches}
                for layers, patches in said_at_patches_by_layers(image)
            ],
        },
        "lines": [line for line in (seen_otherwise(image), image.note, patches_say(image)) if line],
        "patch_units": [_at_patches(word, image.grid) for word in image.words],
        "verdicts": {word.word: said for word in image.words if (said := verdict(word))},
        "told": [_told(word) for word in image.words],
        "lists": {
            f"{ranking}.{view}": heading(ranking, view)
            for ranking, view in LISTS
            if any(word.ranked(view=view, ranking=ranking) for word in image.words)
        },
        **about(model, settings),
    }


def about(model: ModelRecord, settings: SettingsRecord) -> dict[str, Any]:
    """Return what holds of all photos of a run: what scores are, and what has to be said."""
    return {
        "lead": model.layout.get("text") if isinstance(model.layout, Mapping) else None,
        "score": score_words(settings),
        "sinks": sink_badge(model),
        "words_by_chance": model.words_by_chance,
        "limits": model.limits,
        "reference": None if model.reference is None else model.reference.get("photos"),
        "top": settings.top,
        "positions": settings.positions,
    }


def grid_of(run: ExplainRun) -> tuple[int, int] | None:
    """Return rows and columns of patches, of the first photo that has some."""
    for number in range(min(run.finished(), 3)):
        image = run.image(number)
        if image.grid is not None:
            return image.grid
    return None


def name_of(path: str) -> str:
    """Return the name of a photo's file, without the folders it was in."""
    return re.split(r"[/\\]", path)[-1]


def _says(image: Glance | Image) -> list[str]:
    for one in image.reading or ():
        if one.lens == "jacobian" and one.layers == "all":
            return [word.word for word in one.words[:SAYS]]
    return []


def _packed(field: np.ndarray) -> dict[str, Any]:
    maps = field if field.ndim == 3 else field[None]
    largest = [magnitude(each) for each in maps]
    return {"shape": list(field.shape), "scale": largest, "int8": as_bytes(maps, largest)}


def _at_patches(word: Word, grid: tuple[int, int] | None) -> dict[str, list[dict[str, Any]]]:
    """Return, by a patch's number, the units of any list that are strongest there."""
    if grid is None:
        return {}
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for ranking, lists in word.rankings.items():
        for rank, row in enumerate(lists.patches):
            if row.peak_patch is None:
                continue
            there = found.setdefault(row.peak_patch[0] * grid[1] + row.peak_patch[1], {})
            unit = there.setdefault(
                row.name,
                {
                    "unit": row.name,
                    "score": row.score,
                    "total": row.total,
                    "tokens": row.tokens[:4],
                    "ranks": {},
                },
            )
            unit["ranks"][ranking] = rank
    return {
        str(patch): sorted(units.values(), key=lambda unit: -abs(unit["score"]))[:UNITS_AT_A_PATCH]
        for patch, units in sorted(found.items())
    }


def _told(word: Word) -> dict[str, Any]:
    """Return what is said of a word in sentences and tables of text."""
    # Under the floor, what is left of a word says nothing.
    claims = [] if word.warning else [c for each in word.curves if (c := claim_of(each))]
    shown = None if word.warning else word.sight
    return {
        "warning": word.warning,
        "trust": None if word.trust is None else word.trust.interval,
        "sight": sight_lines(shown),
        "bars": [[name, value, nats(value)] for name, value in carried(shown)],
        "sight_table": {"columns": SIGHT_COLUMNS, "rows": sight_table(word.sight)},
        "claims": [_claim(claim) for claim in claims],
        "curves": [
            {"view": each.view, "grid": each.grid, "rows": curve_table(each)}
            for each in word.curves
        ],
        "why": None
        if word.why is None
        else {
            "title": why_title(word.word, word.why),
            "lines": why_lines(word.word, word.why),
            "columns": WHY_COLUMNS,
            "rows": why_table(word.why),
        },
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "view": claim.view,
        "title": claim.title,
        "sentence": claim.sentence,
        "caveat": claim.caveat,
        "interval": claim.interval,
        "units": claim.units,
        "own": claim.own,
        "other": claim.other,
        "others": claim.others,
        "absent": claim.absent,
        "absent_word": claim.absent_word,
    }
