"""The rows of a study as a few files that can be committed, and its results made of them again.

    python benchmarks/study_rows.py RUN --out benchmarks/results/sight
    python benchmarks/study_rows.py --again benchmarks/results/sight

A study keeps one file for each photo. Here those of a phase are one, which is a fifth of the size:
`parts/photos/0000000.parquet`, a row for each photo. Beside it are the manifest, what the summary
needs of the model, and `results/*.json`, whose every number and interval `--again` computes anew
from the rows and compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from kept_rows import load_record, program

from molyneux.errors import RunError
from molyneux.parquet import parquet_bytes, read_parquet
from molyneux.store import Run, write_at_once
from molyneux.studies.finished import read_study
from molyneux.studies.study import conclude

MADE = ("tables", "results", "report.html")
"""What a study makes of its rows."""


def keep(run: Path, out: Path) -> None:
    """Write a finished study's rows to a folder, each phase as one file, and conclude there.

    Raises:
        SystemExit: the folder is there already.
    """
    if out.exists():
        sys.exit(f"{out} is there already; give another --out, or remove it")
    read_study(run)  # which refuses what is no study, or damaged
    with tempfile.TemporaryDirectory(dir=out.absolute().parent) as folder:
        whole = Path(folder) / out.name  # moved there when all of it is written
        shutil.copytree(run, whole, ignore=shutil.ignore_patterns("parts", *MADE))
        for phase in sorted(path for path in (run / "parts").iterdir() if path.is_dir()):
            tables = [read_parquet(file) for file in sorted(phase.glob("[0-9]*.parquet"))]
            (whole / "parts" / phase.name).mkdir(parents=True)
            rows = whole / "parts" / phase.name / "0000000.parquet"
            rows.write_bytes(parquet_bytes(pa.concat_tables(tables), "zstd"))
        conclude_in(whole, whole)
        whole.rename(out)


def conclude_in(rows: Path, out: Path) -> None:
    """Write the results of rows to `out/results`, and nothing else there."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(rows, copy, ignore=shutil.ignore_patterns(*MADE))
        conclude(Run(copy))
        (out / "results").mkdir(exist_ok=True)
        for file in sorted((copy / "results").glob("*.json")):
            write_at_once(out / "results" / file.name, file.read_bytes())


def again(rows: Path) -> None:
    """Conclude from the rows once more, and say what differs from the results that are there.

    Raises:
        SystemExit: a result is missing, or is not what the rows give.
    """
    load_record(rows / "manifest.json")
    with tempfile.TemporaryDirectory() as folder:
        try:
            conclude_in(rows, Path(folder))
        except RunError:
            sys.exit(f"{rows} is damaged: its rows cannot be read; restore it as it was committed")
        made = {file.name: json.loads(file.read_bytes()) for file in Path(folder).glob("*/*.json")}
    for name, document in sorted(made.items()):
        if load_record(rows / "results" / name) != document:
            sys.exit(f"{rows / 'results' / name} is not what the rows give")
        print(f"{name}: what the rows give")


def main() -> None:
    """Keep a study's rows, or conclude from kept ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.again is not None:
        again(options.again)
    elif options.run is None or options.out is None:
        parser.error("RUN and --out are needed, or --again FOLDER")
    else:
        keep(options.run, options.out)


if __name__ == "__main__":
    program(main)
