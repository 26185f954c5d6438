"""What pages show of a photo that was explained, in a run folder or just now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from molyneux.explain.claims import VIEWS, Claim, claim_of, curve_table, percent
from molyneux.explain.document import Image, ModelRecord, SettingsRecord, Word
from molyneux.explain.opened import ExplainRun, Glance, MapsError
from molyneux.explain.sight_text import (
    SIGHT_COLUMNS,
    carried,
    nats,
    sight_lines,
    sight_short,
    sight_table,
)
from molyneux.explain.text import patches_say, seen_otherwise
from molyneux.explain.verdict import verdict
from molyneux.explain.why_text import WHY_COLUMNS, why_lines, why_table, why_title
from molyneux.pages.chances import sink_badge, sink_share
from molyneux.pages.model_words import sees
from molyneux.pages.quantised import as_bytes, magnitude
from molyneux.pages.reading import said_at_patches, said_at_patches_by_layers, said_by_layers
from molyneux.records import to_plain

SAYS = 8
_NO_MAPS = "The run's folder has no heat maps of this photo: fields.safetensors is not what it was."
_OTHER_MAPS = (
    "The heat maps of this photo are left out: those in fields.safetensors do not belong to it."
)


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
            "share": _share_read(image),
        },
        "lines": [line for line in (seen_otherwise(image), image.note, patches_say(image)) if line],
        "verdicts": {word.word: said for word in image.words if (said := verdict(word))},
        "told": [_told(word, model, settings) for word in image.words],
        **about(model, settings),
    }


def maps(run: ExplainRun, number: int, image: Image) -> tuple[dict[str, np.ndarray], str | None]:
    """Return a photo's heat maps, and why there are none where some should be.

    Raises:
        RunError: their file is damaged.
    """
    wanted = {
        f"{place}.{ranking}.{view}{of_all}": ((len(rows),) if not of_all else ()) + image.grid
        for place, word in enumerate(image.words if image.grid else ())
        for ranking, lists in word.rankings.items()
        for view, rows in (("patches", lists.patches), ("last", lists.last))
        for of_all in ("", ".set")
        if rows and image.grid is not None
    }
    try:
        found = run.fields(number)
    except MapsError:
        return {}, _OTHER_MAPS
    if wanted and not found:
        return {}, _NO_MAPS
    fit = all(wanted.get(name) == field.shape for name, field in found.items())
    return (found, None) if fit else ({}, _OTHER_MAPS)


def described(run: ExplainRun, grid: tuple[int, int] | None) -> dict[str, Any]:
    """Return what a list of runs shows of one.

    Args:
        grid: rows and columns of patches, where they are known.
    """
    model = run.model
    return {
        "model": {
            "name": model.preset
            or " + ".join(dict.fromkeys((model.language_model, model.encoder))),
            "language_model": model.language_model,
            "encoder": model.encoder,
            "sees": sees(model.projection, model.encoder),
            "layers": model.n_layers,
            "units": model.n_units,
            "patches": grid,
        },
        "photos": run.total,
        "finished": run.finished(),
        "claims": [],
        **about(model, run.settings),
    }


def about(model: ModelRecord, settings: SettingsRecord) -> dict[str, Any]:
    """Return what holds of all photos of a run: what scores are, and what has to be said."""
    return {
        "lead": model.layout.get("text") if isinstance(model.layout, Mapping) else None,
        "score": _score_words(settings),
        "reads": _reads(model),
        "sinks": sink_badge(model),
        "words_by_chance": model.words_by_chance,
        "limits": model.limits,
        "localises": [limit for limit in model.limits if "localise" in limit],
        "reference": None if model.reference is None else model.reference.get("photos"),
        "top": settings.top,
        "positions": settings.positions,
    }


def _reads(model: ModelRecord) -> dict[str, str]:
    """Return through what units are decoded in each view; at the last position the head reads."""
    head = (
        "the final norm's scale" if model.decoding and model.decoding["final_norm"] else "the head"
    )
    jacobian = model.lens is not None and model.lens["name"] == "jacobian"
    return {"patches": "the Jacobian lens" if jacobian else head, "last": head}


def grid_of(run: ExplainRun) -> tuple[int, int] | None:
    """Return rows and columns of patches, of the first photo that has some."""
    for number in range(min(run.finished(), 3)):
        image = run.image(number)
        if image.grid is not None:
            return image.grid
    return None


def name_of(path: str) -> str:
    """Return the name of a photo's file, without the folders it was in.

    Only Windows parts folders with backslashes; elsewhere they belong to a name, as they do to one
    whose bytes are no text.
    """
    parted = r"[/\\]" if re.match(r"[A-Za-z]:\\|\\\\", path) else "/"
    return re.split(parted, path)[-1]


def _says(image: Glance | Image) -> list[str]:
    for one in image.reading or ():
        if one.lens == "jacobian" and one.layers == "all":
            return [word.word for word in one.words[:SAYS]]
    return []


def _packed(field: np.ndarray) -> dict[str, Any]:
    maps = field if field.ndim == 3 else field[None]
    largest = [magnitude(each) for each in maps]
    return {"shape": list(field.shape), "scale": largest, "int8": as_bytes(maps, largest)}


def _share_read(image: Image) -> str | None:
    """Say how many of all units were read together."""
    shares = (f"{100 * one.fraction_of_units:g}\u00a0%" for one in image.reading or ())
    return next(shares, None)


def _told(word: Word, model: ModelRecord, settings: SettingsRecord) -> dict[str, Any]:
    """Return what is said of a word in sentences and tables of text."""
    # Under the floor, what is left of a word says nothing.
    claims = [] if word.warning else [c for each in word.curves if (c := claim_of(each))]
    shown = None if word.warning else word.sight
    return {
        "warning": word.warning,
        "trust": None if word.trust is None else word.trust.interval,
        "short": sight_short(shown) or (_short(claims[0]) if claims else None),
        "sight": sight_lines(shown),
        "bars": [[name, value, nats(value)] for name, value in carried(shown)],
        "sight_table": {"columns": SIGHT_COLUMNS, "rows": sight_table(word.sight)},
        "claims": [_claim(claim) for claim in claims],
        "missing": None if claims or word.warning else _missing(word, model, settings),
        "raw": _raw_claims(word),
        "listed_sinks": _listed_sinks(word, sink_share(model)),
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


def _short(claim: Claim) -> str:
    return f"{percent(claim.own)} left, another photo's units {percent(claim.other)}"


def _missing(word: Word, model: ModelRecord, settings: SettingsRecord) -> str:
    """Say why nothing is claimed of what switching units off takes from a word."""
    if not word.curves:
        return (
            "no units were switched off for this word; explain the photo with `--ablate all` to "
            "do so for every word"
        )
    if settings.note:
        return (
            "there is no specific ranking to compare: a reference table holds for one scorer, and "
            "this one was measured with another; make a table with `molyneux reference --scorer`"
        )
    if model.reference is None:
        return (
            "the run has no reference photos for this model, so there is no specific ranking to "
            "compare: make a table with `molyneux reference`"
        )
    return "there is no specific ranking of this word to compare: its raw one is below"


def _raw_claims(word: Word) -> dict[str, str]:
    """Say by view what the units of the raw ranking leave, and those of another photo's."""
    if word.warning:
        return {}
    found = (claim_of(each, compared=("top", "other")) for each in word.curves)
    return {
        claim.view: f"{claim.units} of this photo's leave {percent(claim.own)}, {claim.others} "
        f"{percent(claim.other)}"
        for claim in found
        if claim is not None
    }


def _listed_sinks(word: Word, share: str | None) -> list[str]:
    """Say which units of the raw ranking are sinks, and how often a fake would be one."""
    by_chance = f" (were places drawn anew at each photo, {share} of units would be)"
    said = []
    for view, where in VIEWS.items():
        listed = word.ranked(view=view, ranking="raw")
        names = [f"L{row.layer}.u{row.unit}" for row in listed if row.sink]
        if not names or not word.curves:
            continue
        are = "is a sink" if len(names) == 1 else "are sinks"
        said.append(
            f"{len(names)} of the raw top {len(listed)} {where[0].lower()}{where[1:]} {are}, units "
            f"near the top for at least half of the reference photos{by_chance if share else ''}: "
            "switching them off breaks any word, so the raw curve by itself proves nothing. "
            f"{' '.join(names)}"
        )
    return said


def _score_words(settings: SettingsRecord) -> str:
    """Say what a score is, and in what."""
    if settings.scorer is not None:
        return str(settings.scorer["name"])
    return f"gradient × activation in {'logits' if settings.of == 'logit' else 'nats'}"
