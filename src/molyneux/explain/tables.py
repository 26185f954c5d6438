"""The units of a run as one columnar table, for pandas, DuckDB and the like."""

from __future__ import annotations

from molyneux.explain.document import LISTS, Document
from molyneux.parquet import parquet_bytes

COLUMNS = (
    "layer", "unit", "score", "total", "share", "specific", "sign", "sink", "interpretable",
)  # fmt: skip


def units_table(document: Document) -> bytes:
    """Return a Parquet file with a row for every listed unit of every word, view and ranking."""
    import pyarrow as pa

    rows = [
        {
            "image": number,
            "path": image.path.encode("utf-8", "backslashreplace").decode(),
            "word": word.word,
            "view": view,
            "ranking": ranking,
            "rank": rank,
            **{name: getattr(unit, name) for name in COLUMNS},
            "tokens": unit.tokens,
        }
        for number, image in enumerate(document.images)
        for word in image.words
        for ranking, view in LISTS
        for rank, unit in enumerate(word.ranked_rows(view, ranking))
    ]
    schema = pa.schema(
        [
            ("image", pa.int32()),
            ("path", pa.string()),
            ("word", pa.string()),
            ("view", pa.string()),
            ("ranking", pa.string()),
            ("rank", pa.int32()),
            ("layer", pa.int32()),
            ("unit", pa.int32()),
            ("score", pa.float32()),
            ("total", pa.float32()),
            ("share", pa.float32()),
            ("specific", pa.float32()),
            ("sign", pa.int8()),
            ("sink", pa.bool_()),
            ("interpretable", pa.bool_()),
            ("tokens", pa.list_(pa.string())),
        ]
    )
    return parquet_bytes(pa.Table.from_pylist(rows, schema=schema))
