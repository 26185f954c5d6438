"""A study's results, read from its run folder."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from molyneux.errors import RunError, UsageError
from molyneux.studies.manifest import read_manifest
from molyneux.studies.results import Result, ResultTable, read_result


def read_results(run: Path) -> list[Result]:
    """Return a finished study's results, by experiment.

    Raises:
        RunError: the folder is no study, is not finished, or is damaged.
    """
    read_manifest(run)
    paths = sorted((run / "results").glob("*.json"))
    if not paths:
        raise RunError(
            f"{run} has no results yet; run the same `molyneux study` again and it goes on"
        )
    results = []
    for path in paths:
        try:
            results.append(read_result(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is damaged ({type(error).__name__}: {error}); run the same "
                "`molyneux study` again: it is made anew from the measured photos"
            ) from error
    return results


def find_tables(results: Sequence[Result], name: str | None) -> list[ResultTable]:
    """Return all tables, those of an experiment, or the one of a name.

    Raises:
        UsageError: there is none of that name.
    """
    tables = {table.name: (result, table) for result in results for table in result.tables}
    found = [
        table
        for key, (result, table) in tables.items()
        if name is None or name.lower() in (key.lower(), result.experiment.lower())
    ]
    if not found:
        near = difflib.get_close_matches(str(name), tables, n=1, cutoff=0.3)
        hint = f", did you mean {near[0]}" if near else ""
        raise UsageError(f"there is no table {name!r}{hint}; there are {', '.join(tables)}")
    return found
