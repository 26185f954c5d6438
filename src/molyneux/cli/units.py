"""`molyneux units`: the units of a study, and which of them pass as multimodal neurons."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from molyneux.cli.options import AsJson, StudyFolder
from molyneux.cli.output import show, show_json, show_text

Passing = Literal[
    "all", "top", "interpretable", "specific", "selective", "above_other", "multimodal"
]


def units(
    run: StudyFolder,
    passing: Annotated[
        Passing, typer.Option("--passing", help="Only the units that pass this step.")
    ] = "multimodal",
    top: Annotated[int, typer.Option("--top", min=1, help="How many are listed.")] = 50,
    as_json: AsJson = False,
) -> int:
    """List a study's units. Says how many pass each step to a multimodal neuron."""
    from molyneux.report.text import as_text
    from molyneux.report.units import list_units
    from molyneux.studies.derived.multimodal import NAME
    from molyneux.studies.folder import find_tables, read_results

    rows, total = list_units(run, passing, top)
    counts = find_tables(read_results(run), NAME)
    if as_json:
        show_json({"run": str(run), "passing": passing, "total": total, "units": rows})
        return 0
    show_text(as_text(counts, "md"))
    show_text(f"\n{total} units pass {passing!r}; {len(rows)} shown")
    for row in rows:
        show("  ".join(f"{name} {_said(v)}" for name, v in row.items() if v is not None))
    return 0


def _said(value: Any) -> str:
    """Return a cell as it is read: three digits that matter, line breaks as spaces."""
    from molyneux.report.numbers import digits

    return digits(value) if isinstance(value, float) else " ".join(str(value).split())
