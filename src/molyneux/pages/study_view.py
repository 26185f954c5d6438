"""What pages show of a study: its claims, and what was measured of each photo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from molyneux.pages.model_words import sees
from molyneux.pages.study_run import StudyRun
from molyneux.pages.study_words import FACTS, column_title, table_title
from molyneux.report.numbers import brief, digits
from molyneux.studies.finished import bad_photos, good_photos, written_captions
from molyneux.studies.folder import read_results
from molyneux.studies.parts import PHOTO
from molyneux.studies.results import FEW, Cell, Number, Result
from molyneux.studies.verdicts import verdict_table

SMALL = 60
"""Rows of a table that is shown as it is; of a longer one the first are."""
LISTED = 200
"""Photos whose captions are shown: the table `photos` has all."""


def described(run: StudyRun) -> dict[str, Any]:
    """Return what a list of runs shows of a study.

    Raises:
        RunError: a result is damaged.
    """
    model, results = run.manifest["model"], run.results()
    return {
        "model": {
            "name": model.get("preset") or model["language_model"],
            "language_model": model["language_model"],
            "encoder": model["encoder"],
            "sees": sees(model.get("projection", {}), model["encoder"]),
            "layers": model["n_layers"],
            "units": model["n_units"],
            "patches": None,
        },
        "photos": run.total,
        "finished": len(run.measured()),
        "claims": [row for result in results for row in _verdicts(result)],
        "results": len(results),
    }


def study(run: StudyRun) -> dict[str, Any]:
    """Return all that a study concluded: verdicts, then each experiment's figures and tables.

    Raises:
        RunError: it is not finished, or damaged.
    """
    results, model = read_results(run.folder), run.manifest["model"]
    photos = len(good_photos(run.folder))
    many = "" if photos == 1 else "s"
    verdicts = verdict_table(results)
    return {
        "title": f"{photos} photo{many}, {len(results)} result{'' if len(results) == 1 else 's'}",
        "photos": photos,
        "few": f"{photos} photo{many}. Intervals over fewer than {FEW} photos are too narrow and "
        "are marked few; so are the bands in the figures."
        if 0 < photos < FEW
        else None,
        "model": _model_lines(model),
        "verdicts": None
        if verdicts is None
        else {
            "title": verdicts.title,
            "rows": [row for result in results for row in _verdicts(result)],
            "said": verdicts.said,
        },
        "written": [
            [row["id"], row["caption"], (row["captions"] or [None])[0]]
            for row in written_captions(run.folder, LISTED)
        ],
        "bad": bad_photos(run.folder),
        "results": [_result(result) for result in results],
        "limits": model.get("limits", ()),
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


def _verdicts(result: Result) -> list[dict[str, Any]]:
    """Return what a result says to each claim of its experiment, beside the control."""
    return [
        {
            "experiment": result.experiment,
            "claim": one.claim,
            "here": cell(one.here),
            "control": cell(one.control),
            "paper": one.paper,
            "verdict": one.verdict,
        }
        for one in result.verdicts
    ]


def _result(result: Result) -> dict[str, Any]:
    return {
        "experiment": result.experiment,
        "title": result.title,
        "notes": result.notes,
        "verdicts": _verdicts(result),
        "figures": [asdict(figure) for figure in result.figures],
        "tables": [
            {
                "name": table.name,
                "title": table.title,
                "columns": table.columns,
                "rows": [[cell(row.get(column)) for column in table.columns] for row in table.rows],
                "said": table.said,
            }
            for table in result.tables
        ],
    }


def cell(value: Cell) -> Any:
    """Return a cell of a table as pages show it: a text, or a number's digits and what it is of."""
    if not isinstance(value, Number):
        return None if value is None else str(value)
    return {
        "value": None if value.value is None else digits(value.value),
        "low": None if value.low is None else digits(value.low),
        "high": None if value.high is None else digits(value.high),
        "n": value.n,
        "few": value.few,
        "why": None if value.why is None else brief(value.why),
    }


def _model_lines(model: Mapping[str, Any]) -> str:
    """Say with what a study's model computed, what it continued, and what it is compared with."""
    preset, layout = model.get("preset"), model.get("layout", {})
    text = f"The model{f' (preset {preset})' if preset else ''} computes in {model.get('dtype')} "
    text += f"on the {model.get('device', 'cpu')} and continues "
    if "prompt" in layout:
        text += f"“{layout['prompt']}”, {{image}} being the photo."
    else:
        text += f"the patches with “{layout.get('text')}”."
    reference = model.get("reference")
    if reference:
        of = f" ({reference['data']})" if "data" in reference else ""
        text += (
            f" Specific scores compare a unit with itself on {reference['photos']} reference "
            f"photos{of}."
        )
    return text


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
