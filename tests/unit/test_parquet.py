"""Tables go to a file and come back, and no thread of Arrow's outlives the reading."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from molyneux.parquet import parquet_bytes, read_parquet

TABLE = pa.table({"unit": [3, 1], "tokens": [[{"text": "cat"}], []], "sign": [1.0, None]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "units.parquet"
    file.write_bytes(parquet_bytes(TABLE))
    return file


def test_what_was_written_is_read(path: Path) -> None:
    assert read_parquet(path).equals(TABLE)


def test_columns_come_in_the_order_asked_for(path: Path) -> None:
    assert read_parquet(path, ["sign", "unit"]).equals(TABLE.select(["sign", "unit"]))


def test_a_column_that_is_not_there(path: Path) -> None:
    with pytest.raises(pa.ArrowException, match="no column layer, patch"):
        read_parquet(path, ["unit", "layer", "patch"])


@pytest.mark.parametrize("contents", [b"", b"<html>not found</html>"])
def test_no_parquet_file(path: Path, contents: bytes) -> None:
    path.write_bytes(contents)
    with pytest.raises(pa.ArrowException):
        read_parquet(path)


_THREADS_STARTED = """
import os, sys
from pathlib import Path
import pyarrow.parquet as pq
from molyneux.parquet import read_parquet
path = Path(sys.argv[1])
pq.ParquetFile(path).close()  # what loading the library itself starts is not counted
before = len(os.listdir("/proc/self/task"))
if sys.argv[2] == "here":
    read_parquet(path)
else:
    pq.read_table(path.open("rb"))
print(len(os.listdir("/proc/self/task")) - before, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counting threads takes /proc")
@pytest.mark.parametrize("how", ["here", "by Arrow's threads"])
def test_reading_starts_no_thread(path: Path, how: str) -> None:
    # A thread of Arrow's that lets go of a Python file as the interpreter ends kills the process.
    command = [sys.executable, "-c", _THREADS_STARTED, str(path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 0) == (how == "here")
