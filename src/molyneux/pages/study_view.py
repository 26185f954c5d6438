"""What pages show of a study: its claims, and what was measured of each photo."""

from __future__ import annotations

import math
from typing import Any

from molyneux.pages.study_run import StudyRun
from molyneux.pages.study_words import FACTS, column_title, table_title
from molyneux.report.numbers import digits, shown
from molyneux.studies.parts import PHOTO
from molyneux.studies.results import Result

SMALL = 60
"""Rows of a table that is shown as it is; of a longer one the first are."""


def described(run: StudyRun) -> dict[str, Any]:
    """Return what a list of runs shows of a study.

    Raises:
        RunError: a result is damaged.
    """
    model = run.manifest["model"]
    return {
        "model": {
            "name": model.get("preset") or model["language_model"],
            "language_model": model["language_model"],
            "encoder": model["encoder"],
            "layers": model["n_layers"],
            "units": model["n_units"],
            "patches": None,
        },
        "photos": run.total,
        "finished": len(run.measured()),
        "claims": [claim for result in run.results() for claim in _claims(result)],
    }


def card(run: StudyRun, number: int) -> dict[str, Any]:
    """Return what a list of photos shows of one, without its picture.

    Raises:
        RunError: its part is damaged.
    """
    row = run.glance(number)
    return {
        "n": number,
        "name": row["id"],
        "caption": row["caption"],
        "error": row["error"],
        "trust": None,
        "noun": row["noun"],
        "probability": None,
        "agrees": None,
        "words": row["human_nouns"] or [],
        "says": [],
    }


def photo(run: StudyRun, number: int) -> dict[str, Any]:
    """Return what was measured of a photo, without its picture.

    Raises:
        UsageError: it is not measured, or there is no such photo.
        RunError: its part is damaged.
    """
    row = run.row(number)
    return {
        "image": None,
        "row": {name: row.get(name) for name in PHOTO.names},
        "facts": [[title, row[name]] for name, title in FACTS.items() if row.get(name)],
        "tables": [
            _table(name, rows)
            for name, rows in row.items()
            if name not in PHOTO.names and isinstance(rows, list) and rows
        ],
    }


def _claims(result: Result) -> list[dict[str, str]]:
    """Return what a result says to each claim of its experiment, beside the control."""
    return [
        {
            "experiment": result.experiment,
            "claim": one.claim,
            "here": shown(one.here),
            "control": shown(one.control),
            "paper": shown(one.paper),
            "verdict": one.verdict,
        }
        for one in result.verdicts
    ]


def _table(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = list(rows[0])
    return {
        "title": table_title(name),
        "columns": [column_title(column) for column in columns],
        "rows": [[_cell(row[column]) for column in columns] for row in rows[:SMALL]],
        "more": max(0, len(rows) - SMALL),
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return digits(value) if math.isfinite(value) else None
    if isinstance(value, list):
        return " ".join(str(_cell(one)) for one in value[:8]) + (" …" if len(value) > 8 else "")
    return value
