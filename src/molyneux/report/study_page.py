"""The page of a study: reads the run folder, nothing else, and writes one self-contained file."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from molyneux.report.figures import as_svg, keys
from molyneux.report.files import PAGE, packaged, write_page
from molyneux.report.numbers import brief, digits
from molyneux.studies.finished import bad_photos, good_photos, written_captions
from molyneux.studies.folder import read_results
from molyneux.studies.manifest import read_manifest
from molyneux.studies.results import FEW, Number
from molyneux.studies.verdicts import verdict_table

_SCRIPT = "theme.js"
LISTED = 200
"""Photos whose captions are on the page: the table `photos` has all."""


def write_study_report(run: Path) -> Path:
    """Write the page of a run of `molyneux study` to `RUN/report.html` and return its path.

    An older page is replaced at once, or stays if anything fails.

    Raises:
        RunError: the folder is no finished study, is damaged, or cannot be written.
    """
    manifest, results = read_manifest(run), read_results(run)
    script, photos = packaged(_SCRIPT), len(good_photos(run))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"digits": digits, "brief": brief}
    environment.tests["number_cell"] = lambda cell: isinstance(cell, Number)
    page = environment.from_string(packaged("study.html.j2")).render(
        style=Markup(packaged("report.css") + packaged("study.css")),
        script=Markup(script),
        script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
        manifest=manifest,
        record=json.dumps(manifest, indent=1, ensure_ascii=False),
        model=manifest["model"],
        verdicts=verdict_table(results),
        results=[_drawn(result) for result in results],
        photos=photos,
        written=written_captions(run, LISTED),
        few=FEW if 0 < photos < FEW else None,
        bad=bad_photos(run),
    )
    return write_page(run / PAGE, page)


def _drawn(result: Any) -> dict[str, Any]:
    return {
        "experiment": result.experiment,
        "title": result.title,
        "notes": result.notes,
        "tables": result.tables,
        "verdicts": verdict_table([result]),
        "figures": [(figure, Markup(as_svg(figure)), keys(figure)) for figure in result.figures],
    }
