"""A measurement as rows: a line for each photo, appended; figures are made of them alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item
from molyneux.errors import MolyneuxError, PhotoError, UsageError
from molyneux.statistics.bootstrap import Estimate
from molyneux.store import write_at_once

Row = dict[str, Any]


def load_rows(file: Path) -> list[Row]:
    """Return the rows of a file, none if it is not there; a last line cut short is taken off it.

    Raises:
        SystemExit: another line is no row; names it.
    """
    if not file.is_file():
        return []
    text = file.read_bytes()
    start = text.rfind(b"\n") + 1
    if text[start:]:
        with file.open("r+b") as rows:  # never emptied: a full disk would keep nothing
            if _is_row(text[start:]):
                rows.seek(0, 2)
                rows.write(b"\n")
            else:
                text = text[:start]
                rows.truncate(start)
    return [
        _row(file, number, line) for number, line in enumerate(text.split(b"\n"), start=1) if line
    ]


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _row(file: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        row, why = None, str(error)
    else:
        why = "it is no object"
    if not isinstance(row, dict):
        sys.exit(f"{file}, line {number} is damaged ({why}); take it out and measure again")
    return row


def load_record(file: Path) -> Row:
    """Return a document of a run.

    Raises:
        SystemExit: it is not there or is damaged.
    """
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        sys.exit(f"{file} cannot be read ({error.strerror}); name a run that was measured")
    except ValueError as error:
        sys.exit(f"{file} is damaged ({error}); restore it, or measure into another folder")
    if not isinstance(found, dict):
        sys.exit(f"{file} is damaged (it is no object); restore it, or measure into another folder")
    return found


def readable(items: Iterable[Item]) -> list[Item]:
    """Return the photos that can be read, before a model is loaded; says which are left out.

    Raises:
        PhotoError: none can.
    """
    found = []
    bad = ""
    for item in items:
        try:
            item.read()
        except PhotoError as error:
            bad = str(error)
            print(f"left out: {bad}", file=sys.stderr, flush=True)
        else:
            found.append(item)
    if not found and bad:
        raise PhotoError(f"not one photo can be read; the last: {bad}")
    return found


def append_row(file: Path, row: Row) -> None:
    with file.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")


def write_json(file: Path, value: Any) -> None:
    write_at_once(file, (json.dumps(value, indent=1) + "\n").encode())


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
        known = load_record(file)
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


def named_files(option: str, given: Sequence[str]) -> dict[str, Path]:
    """Return files by name, of an option that takes NAME=FILE and may be given several times.

    Raises:
        SystemExit: one is not so, is not there, or two have one name.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, _, file = text.partition("=")
        if not file:
            sys.exit(f"{option} takes NAME=FILE, not {text!r}")
        if name in found:
            sys.exit(f"{option} names {name!r} twice; give each a name of its own")
        if not Path(file).is_file():
            sys.exit(f"{option} {name}: there is no file {file}")
        found[name] = Path(file)
    return found


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
        SystemExit: a row lacks what belongs to it; or, with `again`, the rows give another summary
            than the one that is there.
    """
    file = run / "summary.json"
    before = load_record(file) if again else None
    # As it is read back: what JSON makes of it is what is compared.
    summary = json.loads(json.dumps(concluded(run, lambda: summarise(run))))
    print(show(summary))
    if not again:
        write_json(file, summary)
    elif before != summary:
        sys.exit(f"{file} is not what the rows give")
    else:
        print(f"{file} is what the rows give")


def concluded(run: Path, summarise: Callable[[], Row]) -> Row:
    """Return a summary of rows.

    Raises:
        SystemExit: a row lacks what belongs to it.
    """
    try:
        return summarise()
    except (KeyError, TypeError) as error:
        raise SystemExit(
            f"rows of {run} are damaged or another version's ({type(error).__name__}: {error}); "
            "take them out and measure again"
        ) from error


def program(main: Callable[[], None]) -> None:
    """Run a program: what its user can mend is one line, 2 the status of a wrong call."""
    try:
        main()
    except MolyneuxError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        sys.exit(
            f"{error.filename or 'the run'} cannot be written or read ({error.strerror or error}); "
            "free some space or give --out another place"
        )
    except KeyboardInterrupt:
        print("interrupted; rows that were written are kept", file=sys.stderr)
        sys.exit(130)
