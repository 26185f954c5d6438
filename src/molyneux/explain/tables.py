"""The units of a run as one columnar table, for pandas, DuckDB and the like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from molyneux.explain.document import LISTS, Image
from molyneux.parquet import parquet_of

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "layer", "unit", "score", "total", "share", "specific", "contrast", "change", "sign", "sink",
    "interpretable",
)  # fmt: skip
_ROWS = 100_000  # written together


def units_table(images: Iterable[Image]) -> bytes:
    """Return a Parquet file with a row for every listed unit of every word, view and ranking.

    The photos are taken one at a time.
    """
    import pyarrow as pa

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
            ("contrast", pa.float32()),
            ("change", pa.float32()),
            ("sign", pa.int8()),
            ("sink", pa.bool_()),
            ("interpretable", pa.bool_()),
            ("tokens", pa.list_(pa.string())),
            ("peak_patch", pa.int32()),
        ]
    )
    return parquet_of(schema, _tables(images, schema))


def _tables(images: Iterable[Image], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    gathered: list[pa.Table] = []
    for number, image in enumerate(images):
        gathered.append(pa.Table.from_pylist(list(unit_rows(number, image)), schema=schema))
        if sum(table.num_rows for table in gathered) >= _ROWS:
            yield pa.concat_tables(gathered)
            gathered = []
    yield pa.concat_tables([schema.empty_table(), *gathered])


def unit_rows(number: int, image: Image) -> Iterator[dict[str, Any]]:
    """Yield a row for every listed unit of every word, view and ranking of a photo."""
    for word in image.words:
        for ranking, view in LISTS:
            for rank, unit in enumerate(word.ranked(view=view, ranking=ranking)):
                yield {
                    "image": number,
                    "path": image.path,
                    "word": word.word,
                    "view": view,
                    "ranking": ranking,
                    "rank": rank,
                    **{name: getattr(unit, name) for name in COLUMNS},
                    "tokens": unit.tokens,
                    "peak_patch": _number_of(unit.peak_patch, image.grid),
                }


def _number_of(patch: tuple[int, int] | None, grid: tuple[int, int] | None) -> int | None:
    """Return a patch's place in reading order, as studies have it."""
    return None if patch is None or grid is None else patch[0] * grid[1] + patch[1]
