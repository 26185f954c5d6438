"""Tables as Parquet files, read and written on the calling thread.

Arrow's threads may still hold a Python file object when the interpreter ends, which kills the
process (apache/arrow#50482): everything was written, and the exit status says that it failed. So no
Python file is handed to Arrow and nothing is read by its threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def parquet_bytes(table: pa.Table, compression: str = "snappy") -> bytes:
    """Return a table as the contents of a Parquet file."""
    return parquet_of(table.schema, [table], compression)


def parquet_of(schema: pa.Schema, tables: Iterable[pa.Table], compression: str = "snappy") -> bytes:
    """Return tables of one schema, one below the other, as the contents of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression=compression) as writer:
        for table in tables:
            writer.write_table(table)
    contents: bytes = sink.getvalue().to_pybytes()
    return contents


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a Parquet file's table: all its columns, or those named, in that order.

    Raises:
        OSError: the file cannot be read.
        pyarrow.ArrowException: it is no Parquet file, or has no such column.
    """
    return parquet_from(path.read_bytes(), columns)


def parquet_from(contents: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return the table of a Parquet file's contents, as `read_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(contents))
    missing = [name for name in columns or () if name not in file.schema_arrow.names]
    if missing:
        raise pa.ArrowKeyError(f"no column {', '.join(missing)}")
    table = file.read(columns=columns, use_threads=False)
    return table if columns is None else table.select(columns)


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield those of some columns that a Parquet file has, a part at a time.

    Raises:
        OSError: the file cannot be read.
        pyarrow.ArrowException: it is no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
    there = [name for name in columns if name in file.schema_arrow.names]
    for batch in file.iter_batches(columns=there, use_threads=False):
        yield batch.select(there)


def import_pandas() -> Any:
    """Return the module pandas, which only those who ask for frames need.

    Raises:
        UsageError: it is not installed; the line names the extra that brings it.
    """
    try:
        return import_module("pandas")
    except ImportError as error:
        raise UsageError(
            "pandas is not installed; pip install 'molyneux[sql]' brings it, or take the rows as "
            "they are, without to_pandas()"
        ) from error
