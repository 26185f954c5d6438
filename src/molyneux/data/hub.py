"""Sets of the Hugging Face hub: by name, as `datasets` saved them, or as parquet files.

A parquet file is read here without the `datasets` package, which the other two need.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.weights.cache import sha256_of

_PHOTO_COLUMNS = ("image", "img", "photo", "jpg", "png")
_CAPTION_COLUMN = re.compile(r"(caption|sentence|text|description)s?(_?\d+|_text|_raw)?")
_NEEDS_DATASETS = (
    "this data set needs the package datasets, which is not installed; "
    "run `pip install 'datasets>=4'`"
)


class Hub:
    """`hf:NAME` or `hf:NAME#CONFIG` on the hub, a folder that `datasets` saved, or parquet files.

    Photos are the image column; captions every column named `caption`, `captions`, `text`,
    `sentences` and the like; `label`, `categories` and `split` are taken where they are there. An
    item's id is its split (or file) and its row.
    """

    name = "hub"

    def __init__(self, spec: str | Path) -> None:
        """Open the set; photos are read later.

        Raises:
            UsageError: the set cannot be had or has no image column.
        """
        self.spec = str(spec)
        place = Path(spec)
        self._parts: list[_Saved | _Parquet | _Remote]
        if self.spec.startswith("hf:"):
            self._parts = _remote(self.spec.removeprefix("hf:"))
        elif place.is_file():
            self._parts = [_Parquet(place)]
        elif parquet := sorted([*place.glob("*.parquet"), *place.glob("data/*.parquet")]):
            self._parts = [_Parquet(file) for file in parquet]
        elif place.is_dir():
            self._parts = _saved(place)
        else:
            raise UsageError(f"there is no {place}; name a folder, a .parquet file or hf:NAME")

    def __iter__(self) -> Iterator[Item]:
        """Yield every item, photos included, part by part."""
        return (item for _, item in self.only(lambda position: True))

    def entries(self) -> Iterator[Item]:
        """Yield every item with empty bytes for its photo."""
        for part in self._parts:
            for row, columns in enumerate(part.rows()):
                yield part_item(part, row, columns)

    def only(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Item]]:
        """Yield position and item of the wanted positions.

        Of saved sets and parquet files only what holds a wanted photo is read (a row, a row
        group); from the hub everything before the last wanted photo is.
        """
        first = 0
        for part in self._parts:
            for row, columns in part.photos(lambda row, first=first: wanted(first + row)):  # type: ignore[misc]
                yield first + row, part_item(part, row, columns)
            first += part.counted()

    def record(self) -> dict[str, Any]:
        """Return name, place, and each part with what identifies its contents."""
        return {
            "name": self.name,
            "where": self.spec,
            "licence": None,
            "parts": {part.name: part.identity() for part in self._parts},
        }


def part_item(part: _Saved | _Parquet | _Remote, row: int, columns: Mapping[str, Any]) -> Item:
    """Return the item of one row; without its photo where the row came without."""
    captions: list[str] = []
    for name, value in columns.items():
        if _CAPTION_COLUMN.fullmatch(name.lower()):
            captions += _texts(value)
    label = columns.get("label")
    if isinstance(label, int) and part.labels and 0 <= label < len(part.labels):
        label = part.labels[label]
    said = columns.get("categories")
    categories = [one.lower() for one in _texts(said) if not one.isdigit()]
    if not categories and label is not None:
        categories = [str(label).lower()]
    split = columns.get("split") or part.split
    return Item(
        id=f"{part.name}/{row}",
        source=_source(columns.get(part.photo)),
        captions=tuple(dict.fromkeys(captions)),
        categories=tuple(dict.fromkeys(categories)),
        split=None if split is None else str(split),
        label=None if label is None else str(label),
    )


class _Parquet:
    """One parquet file, read a row group at a time."""

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self.file = file
        self.name = file.name
        # The hub names its files <split>-00000-of-00001.parquet.
        named = re.match(r"(train|validation|val|test)\b", file.name)
        self.split = named.group(1) if named else None
        try:
            self._table = pq.ParquetFile(file)
        except Exception as error:  # pyarrow has several for a broken file
            raise UsageError(
                f"cannot read {file}: {' '.join(str(error).split())}; download it again"
            ) from error
        schema = self._table.schema_arrow
        written = (schema.metadata or {}).get(b"huggingface", b"{}")
        features = (json.loads(written).get("info") or {}).get("features") or {}
        self.labels = list((features.get("label") or {}).get("names") or ())
        images = [
            n for n, f in features.items() if isinstance(f, dict) and f.get("_type") == "Image"
        ]
        self.photo = _photo_column(images, schema.names, str(file))
        self._others = [name for name in schema.names if name != self.photo]

    def rows(self) -> Iterator[dict[str, Any]]:
        if not self._others:
            yield from ({} for _ in range(self.counted()))
            return
        for batch in self._table.iter_batches(batch_size=256, columns=self._others):
            yield from batch.to_pylist()

    def photos(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        first = 0
        for group in range(self._table.num_row_groups):
            count = self._table.metadata.row_group(group).num_rows
            if any(wanted(row) for row in range(first, first + count)):
                row = first
                for batch in self._table.iter_batches(batch_size=16, row_groups=[group]):
                    for index in range(batch.num_rows):
                        if wanted(row):
                            yield row, batch.slice(index, 1).to_pylist()[0]
                        row += 1
            first += count

    def counted(self) -> int:
        return int(self._table.metadata.num_rows)

    def identity(self) -> str:
        return sha256_of(self.file)


class _Saved:
    """One split that `datasets` saved to disk: any row can be had at once."""

    def __init__(self, rows: Any, split: str | None, where: str) -> None:
        self.split = split
        self.name = split or "rows"
        self.photo, self.labels = _features(rows.features, where)
        self._rows = _undecoded(rows, self.photo)

    def rows(self) -> Iterator[dict[str, Any]]:
        others = self._rows.remove_columns([self.photo])
        if not others.column_names:
            yield from ({} for _ in range(len(self._rows)))
            return
        yield from others

    def photos(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in range(len(self._rows)):
            if wanted(row):
                yield row, self._rows[row]

    def counted(self) -> int:
        return len(self._rows)

    def identity(self) -> str:
        return str(self._rows._fingerprint)


class _Remote:
    """One split of a set on the hub, read from front to back as it arrives."""

    def __init__(self, rows: Any, split: str | None, where: str) -> None:
        self.split = split
        self.name = split or "rows"
        self.where = where
        features = rows.features or rows._resolve_features().features
        self.photo, self.labels = _features(features, where)
        self._rows = _undecoded(rows, self.photo)
        self._count: int | None = None

    def rows(self) -> Iterator[dict[str, Any]]:
        for count, row in enumerate(self._arriving(), 1):
            yield {name: value for name, value in row.items() if name != self.photo}
            self._count = count

    def photos(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in enumerate(self._arriving()):
            self._count = number + 1
            if wanted(number):
                yield number, row

    def counted(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self.rows())
        return self._count

    def identity(self) -> str:
        return str(getattr(self._rows.info, "version", None) or "unknown")

    def _arriving(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self._rows
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"cannot read {self.where}: {' '.join(str(error).split())}; "
                "check the connection and run it again"
            ) from error


def _remote(name: str) -> list[_Saved | _Parquet | _Remote]:
    datasets = _import_datasets()
    name, _, config = name.partition("#")
    try:
        found = datasets.load_dataset(name, config or None, streaming=True)
    except Exception as error:  # the hub's client raises many kinds for what is one: not to be had
        raise UsageError(
            f"cannot get hf:{name} from the hub: {' '.join(str(error).split())[:300]}; "
            "check the name and the connection"
        ) from error
    return [_Remote(rows, str(split), f"hf:{name}") for split, rows in found.items()]


def _saved(place: Path) -> list[_Saved | _Parquet | _Remote]:
    datasets = _import_datasets()
    try:
        found = datasets.load_from_disk(str(place))
    except Exception as error:
        raise UsageError(
            f"cannot read {place}: {' '.join(str(error).split())}; it should be a folder that "
            "`save_to_disk` wrote"
        ) from error
    if isinstance(found, Mapping):
        return [_Saved(rows, str(split), str(place)) for split, rows in found.items()]
    return [_Saved(found, str(found.split) if found.split else None, str(place))]


def _import_datasets() -> Any:
    try:
        import datasets  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError as error:
        raise UsageError(_NEEDS_DATASETS) from error
    return datasets


def _features(features: Mapping[str, Any], where: str) -> tuple[str, list[str]]:
    """Return the image column and the names of the labels."""
    images = [n for n, feature in features.items() if type(feature).__name__ == "Image"]
    photo = _photo_column(images, list(features), where)
    return photo, list(getattr(features.get("label"), "names", None) or ())


def _photo_column(images: list[str], columns: list[str], where: str) -> str:
    found = [*images, *(name for name in _PHOTO_COLUMNS if name in columns)]
    if not found:
        raise UsageError(f"{where} has no column of images; its columns are {', '.join(columns)}")
    return found[0]


def _undecoded(rows: Any, column: str) -> Any:
    """Return the rows with photos as the bytes of their files, which `Item.read` decodes."""
    datasets = _import_datasets()
    if type(rows.features.get(column) if rows.features else None).__name__ != "Image":
        return rows
    return rows.cast_column(column, datasets.Image(decode=False))


def _source(value: Any) -> Path | bytes:
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        return bytes(data) if data else Path(path) if path else b""
    if isinstance(value, str):
        return Path(value)
    return bytes(value) if value else b""


def _texts(value: Any) -> list[str]:
    """Return the sentences in a text, a list of texts, or a list of records with `raw`."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        value = value.get("raw") or value.get("caption") or value.get("text")
        return _texts(value)
    if isinstance(value, (list, tuple)):
        return [text for one in value for text in _texts(one)]
    text = " ".join(str(value).split())
    return [text] if text else []
