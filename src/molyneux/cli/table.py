"""`molyneux table`: a study's tables as text."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from molyneux.cli.options import AsJson, StudyFolder
from molyneux.cli.output import show_json, show_text


def table(
    run: StudyFolder,
    name: Annotated[
        str | None,
        typer.Argument(
            help="An experiment (E6) or one table (E6.word); all if not given.", metavar="NAME"
        ),
    ] = None,
    form: Annotated[
        Literal["md", "csv", "latex"], typer.Option("--format", help="How it is printed.")
    ] = "md",
    as_json: AsJson = False,
) -> int:
    """Print a study's tables. Every number with its interval and sample size."""
    from molyneux.report.text import as_text
    from molyneux.studies.folder import find_tables, read_results

    tables = find_tables(read_results(run), name)
    if as_json:
        show_json({"tables": [table.document() for table in tables]})
    else:
        show_text(as_text(tables, form))
    return 0
