"""The units of a study, as a list to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from molyneux.errors import RunError, UsageError
from molyneux.parquet import read_parquet
from molyneux.studies.e2_agreement import NAME as LISTS_UNITS
from molyneux.studies.folder import read_results
from molyneux.studies.parts import TABLES

_CONDITIONS = {
    "top": pc.field("n_top") > 0,
    "specific": pc.field("n_specific") > 0,
    **{name: pc.field(name) for name in ("interpretable", "selective", "above_other")},
    "multimodal": pc.field("multimodal"),
}


def list_units(run: Path, passing: str, top: int) -> tuple[list[dict[str, Any]], int]:
    """Return the first units that meet a condition, and how many meet it.

    Those in the specific lists of most photos come first, then those in most top lists.

    Args:
        passing: `all`, or a column of `units.parquet`: a condition left untested is not met.

    Raises:
        RunError: the folder is no study, is not finished, or lists no units.
        UsageError: there is no such condition.
    """
    read_results(run)
    path = run / TABLES / "units.parquet"
    if not path.exists():
        raise RunError(
            f"{run} is a study without {LISTS_UNITS}, which finds units; run `molyneux study` with "
            "it into another folder"
        )
    try:
        table = read_parquet(path)
    except (OSError, pa.ArrowException) as error:
        raise RunError(
            f"{path} is missing or damaged; run the same `molyneux study` again"
        ) from error
    if "n_multimodal" not in table.column_names:  # of before one photo had to meet all conditions
        names = ["apart" if name == "multimodal" else name for name in table.column_names]
        table = table.rename_columns(names)
        for name, kind in (("n_multimodal", pa.int32()), ("multimodal", pa.bool_())):
            table = table.append_column(name, pa.nulls(table.num_rows, kind))
    if passing != "all":
        if passing not in _CONDITIONS:
            raise UsageError(
                f"no condition is called {passing!r}; there are {', '.join(_CONDITIONS)}"
            )
        table = table.filter(_CONDITIONS[passing])
    order = [("n_specific", "descending"), ("n_top", "descending"), ("layer", "ascending")]
    rows = table.sort_by([*order, ("unit", "ascending")]).slice(0, top).to_pylist()
    return [_named(row) for row in rows], table.num_rows


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row that begins with the unit's name, in the direction it writes."""
    layer, unit, sign = row.pop("layer"), row.pop("unit"), row["sign"]
    # As `Unit` prints, whose module loads torch, which no reading of a run needs.
    return {"unit": f"L{layer}.u{unit}{'-' if sign < 0 else ''}", **row}
