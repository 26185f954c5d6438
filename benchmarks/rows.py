"""A measurement as rows: a line for each photo, appended; figures are made of them alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from molyneux.statistics.bootstrap import Estimate

Row = dict[str, Any]


def load_rows(file: Path) -> list[Row]:
    """Return the rows of a file, none if it is not there; a last line cut short is taken off it."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def append_row(file: Path, row: Row) -> None:
    with file.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")


def write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def begin(run: Path, record: Row, *, growing: str = "") -> None:
    """Record what is measured; a run that was begun with something else is not gone on with.

    Args:
        growing: the entry that may get more of what it lists; what it has stays.

    Raises:
        SystemExit: says what differs.
    """
    run.mkdir(parents=True, exist_ok=True)
    file = run / "record.json"
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if growing:
            own = record[growing]
            more = {key: value for key, value in own.items() if key not in known[growing]}
            kept = {key: value for key, value in known[growing].items() if key not in own}
            record = {**record, growing: {**kept, **own}}
            known = {**known, growing: {**known[growing], **more}}
        differs = [key for key in {**known, **record} if known.get(key) != record.get(key)]
        differs = [key for key in differs if key != "source"]
        if differs:
            sys.exit(f"{run} was begun with another {differs[0]}; give another --out")
        record = known
    write_json(file, record)


class Progress:
    """Tells how far a measurement is and how long the rest takes, on stderr."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.began = total, done, done
        self.started, self.cpu = time.monotonic(), time.process_time()

    def step(self, what: str) -> None:
        """Count one photo."""
        self.done += 1
        measured = self.done - self.began
        each = (time.monotonic() - self.started) / measured
        cpu = (time.process_time() - self.cpu) / measured
        left = (self.total - self.done) * each
        line = f"{self.done}/{self.total} {what}: {each:.1f} s a photo ({cpu:.1f} s of CPU)"
        print(f"{line}, {left / 60:.0f} min left", file=sys.stderr, flush=True)


def cell(estimate: Estimate) -> dict[str, float | int]:
    """Return an estimate as it stands in a summary."""
    ends = {k: getattr(estimate, k) for k in ("value", "low", "high")}
    return {**{k: round(v, 6) for k, v in ends.items()}, "n": estimate.n}


def shown(one: dict[str, Any] | None, digits: int = 2) -> str:
    """Return a cell as text."""
    if one is None:
        return "-"
    value, low, high = (f"{one[k]:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def conclude(
    run: Path, summarise: Callable[[Path], Row], show: Callable[[Row], str], *, again: bool
) -> None:
    """Write and print the summary of a run's rows; `again` leaves it, and says if it differs.

    Raises:
        SystemExit: with `again`, where the rows give another summary than the one that is there.
    """
    # As it is read back: what JSON makes of it is what is compared.
    summary = json.loads(json.dumps(summarise(run)))
    file = run / "summary.json"
    print(show(summary))
    if not again:
        write_json(file, summary)
    elif json.loads(file.read_text(encoding="utf-8")) != summary:
        sys.exit(f"{file} is not what the rows give")
