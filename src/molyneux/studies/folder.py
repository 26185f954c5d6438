"""A study's run folder, as its reader opens it: no model, no torch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from molyneux.errors import RunError, UsageError
from molyneux.parquet import import_pandas, read_parquet
from molyneux.studies.finished import bad_photos, good_photos
from molyneux.studies.manifest import WITH_RESULTS, read_manifest
from molyneux.studies.parts import TABLES
from molyneux.studies.results import Result, ResultTable, read_result
from molyneux.studies.verdicts import verdict_table

RESULTS = "results"


@dataclass(frozen=True)
class MeasuredTable:
    """Rows of one kind, over all photos.

    Attributes:
        arrow: the table as `pyarrow` has it.
    """

    name: str
    arrow: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.arrow.column_names)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return every row as a dictionary."""
        rows: list[dict[str, Any]] = self.arrow.to_pylist()
        return rows

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.
        """
        import_pandas()
        return self.arrow.to_pandas()

    def __repr__(self) -> str:
        return f"MeasuredTable({self.name}: {len(self)} rows of {', '.join(self.columns)})"


class Study:
    """A study in its folder: how far it is, every measured row, and what it concluded.

    `Study.open("my-run").table("e6_curves")` has the rows of a measured table, and
    `Study.open("my-run").result("E6.word")` is one of the results.

    Attributes:
        folder: the run folder.
        manifest: as written when the study began: settings, data, model, versions.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Open a folder; `Study.open` says the same.

        Raises:
            RunError: it is no study's.
        """
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = read_manifest(self.folder)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Study:
        """Return the study of a run folder, finished or not.

        Raises:
            RunError: it is no study's.
        """
        return cls(folder)

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names of the experiments that were asked for."""
        return tuple(self.manifest["settings"]["experiments"])

    @property
    def good(self) -> int:
        """Number of photos measured so far."""
        return len(good_photos(self.folder))

    @property
    def bad(self) -> list[tuple[str, str]]:
        """The photos that could not be read, and why, in the order of the data set."""
        return bad_photos(self.folder)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names that `table` takes; none before the study is finished."""
        return tuple(sorted(path.stem for path in (self.folder / TABLES).glob("*.parquet")))

    def table(self, name: str) -> MeasuredTable:
        """Return a table of rows, such as `e6_curves`: all that was measured.

        The column `photo` is the photo's row in the table `photos`, `id` its name in the data set.

        Raises:
            UsageError: there is none of that name.
            RunError: the study is not finished, or the file is damaged.
        """
        if name not in self.tables:
            self.results  # noqa: B018  # says so if the study is not finished
            near = difflib.get_close_matches(str(name), self.tables, n=1, cutoff=0.3)
            hint = f", did you mean {near[0]}" if near else ""
            raise UsageError(
                f"there is no table {name!r}{hint}; there are {', '.join(self.tables)}"
            )
        path = self.folder / TABLES / f"{name}.parquet"
        try:
            return MeasuredTable(name, read_parquet(path))
        except (OSError, pa.ArrowException) as error:
            raise RunError(
                f"{path} is missing or damaged; run the same `molyneux study` again"
            ) from error

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """What every experiment concluded: tables and figures, numbers with their intervals.

        Raises:
            RunError: the study is not finished, or a file is damaged.
        """
        return tuple(read_results(self.folder))

    def result(self, name: str) -> ResultTable:
        """Return one table of the results, such as `E6.word`.

        Raises:
            UsageError: there is none of that name.
            RunError: the study is not finished, or a file is damaged.
        """
        found = find_tables(self.results, name)
        if len(found) > 1:
            raise UsageError(f"{name} has {', '.join(table.name for table in found)}; name one")
        return found[0]

    def __repr__(self) -> str:
        state = "finished" if any((self.folder / RESULTS).glob("*.json")) else "not finished"
        asked = " ".join(self.experiments)
        return f"Study({str(self.folder)!r}, {asked}, {self.good} photos, {state})"


def read_results(run: Path) -> list[Result]:
    """Return the results of a finished study, by experiment, or of a comparison of scorers.

    Raises:
        RunError: the folder is of another kind, is not finished, or is damaged.
    """
    read_manifest(run, *WITH_RESULTS)
    paths = sorted((run / RESULTS).glob("*.json"))
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
    """Return all tables, those of an experiment, or the one of a name: `verdicts` of all claims.

    Raises:
        UsageError: there is none of that name.
    """
    verdicts = verdict_table(results)
    tables = {} if verdicts is None else {verdicts.name: ("", verdicts)}
    tables |= {t.name: (result.experiment, t) for result in results for t in result.tables}
    found = [
        table
        for key, (experiment, table) in tables.items()
        if name is None or name.lower() in (key.lower(), experiment.lower())
    ]
    if not found:
        near = difflib.get_close_matches(str(name), tables, n=1, cutoff=0.3)
        hint = f", did you mean {near[0]}" if near else ""
        raise UsageError(f"there is no table {name!r}{hint}; there are {', '.join(tables)}")
    return found
