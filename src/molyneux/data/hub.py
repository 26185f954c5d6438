"""Sets of the Hugging Face hub: by name, as `datasets` saved them, or as parquet files.

A parquet file is read here without the `datasets` package, which the other two need.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item, LeftOut
from molyneux.data.files import matching
from molyneux.data.loader import Loader, Sure
from molyneux.data.names import inside, photo_file
from molyneux.data.texts import read_name, read_texts, tidy
from molyneux.errors import UsageError, quote
from molyneux.weights.cache import sha256_of

_PHOTO_COLUMNS = ("image", "img", "photo", "jpg", "png")
_CAPTION_COLUMN = re.compile(r"(caption|sentence|text|description)s?(_?\d+|_text|_raw)?")
_NEEDS_DATASETS = (
    "this data set needs the package datasets, which is not installed; "
    "run `pip install 'datasets>=4'`"
)


class Hub:
    """`hf:NAME` or `hf:NAME#CONFIG` on the hub, a folder that `datasets` saved, or parquet files.

    Photos are the image column: the bytes of files, or their names from where the parquet file
    lies, which may not lead out of there. Captions are every column named `caption`,
    `captions`, `text`, `sentences` and the like; `label`, `categories` and `split` are taken where
    they are there. An item's id is its split (or file) and its row.
    """

    name = "hub"

    def __init__(self, spec: str | Path) -> None:
        """Open the set; photos are read later.

        Raises:
            UsageError: the set cannot be had or has no image column.
        """
        self.spec = str(spec)
        self.left_out = LeftOut()
        place = Path(spec)
        self._parts: list[_Saved | _Parquet | _Remote]
        if self.spec.startswith("hf:"):
            self._parts = _remote(self.spec.removeprefix("hf:"))
        elif place.is_file():
            self._parts = [_Parquet(place)]
        elif parquet := parquet_files(place):
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
        self.left_out.clear()
        for part in self._parts:
            for row, columns in enumerate(part.rows()):
                yield part_item(part, row, columns, self.left_out)

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


def parquet_files(folder: Path) -> list[Path]:
    """Return the parquet files of a folder and of its `data/`, in order of name."""
    return sorted(f for place in (folder, folder / "data") for f in matching(place, "*.parquet"))


def part_item(
    part: _Saved | _Parquet | _Remote,
    row: int,
    columns: Mapping[str, Any],
    left_out: LeftOut | None = None,
) -> Item:
    """Return the item of one row; without its photo where the row came without.

    Args:
        left_out: told of categories that are numbers, which name nothing.

    Raises:
        UsageError: a number stands where a text belongs, or the photo's file lies outside the
            data set.
    """
    where = f"{part.where}, row {row}"
    captions: list[str] = []
    for name, value in columns.items():
        if _CAPTION_COLUMN.fullmatch(name.lower()):
            captions += _texts(value, name, where)
    label = columns.get("label")
    if isinstance(label, float) and math.isnan(label):  # how a table says that there is none
        label = None
    if label == -1 and part.labels:  # and how `datasets` says it of a class
        label = None
    if isinstance(label, int) and part.labels and 0 <= label < len(part.labels):
        label = part.labels[label]
    label = read_name(label, "label", where)
    said = columns.get("categories")
    numbers = [one for one in said if isinstance(one, int)] if isinstance(said, list) else []
    if numbers and left_out is not None:
        left_out.add("rows whose categories are numbers and name nothing", where)
    categories = [one.lower() for one in _texts(None if numbers else said, "categories", where)]
    if not categories and label is not None:
        categories = [label.lower()]
    return Item(
        id=f"{part.name}/{row}",
        source=_source(part, columns.get(part.photo), where),
        captions=tuple(dict.fromkeys(captions)),
        categories=tuple(dict.fromkeys(categories)),
        split=read_name(columns.get("split"), "split", where) or part.split,
        label=label,
    )


class _Parquet:
    """One parquet file, read a row group at a time."""

    def __init__(self, file: Path) -> None:
        import pyarrow.parquet as pq

        self.file = file
        self.where = str(file)
        self.folder: Path | None = file.parent
        self.name = file.name
        # The hub names its files <split>-00000-of-00001.parquet.
        named = re.match(r"(train|validation|val|test)\b", file.name)
        self.split = named.group(1) if named else None
        try:
            self._table = pq.ParquetFile(file)
        except Exception as error:  # pyarrow has several for a broken file
            raise UsageError(f"cannot read {file}: {quote(error)}; download it again") from error
        schema = self._table.schema_arrow
        features = _features_written(schema.metadata or {})
        names = features.get("label", {}).get("names")
        self.labels = names if isinstance(names, list) else []
        images = [name for name, feature in features.items() if feature.get("_type") == "Image"]
        self.photo = _photo_column(images, schema.names, str(file))
        self._others = [name for name in schema.names if name != self.photo]

    def rows(self) -> Iterator[dict[str, Any]]:
        if not self._others:
            yield from ({} for _ in range(self.counted()))
            return
        for batch in self._batches(batch_size=256, columns=self._others):
            yield from batch.to_pylist()

    def photos(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        first = 0
        for group in range(self._table.num_row_groups):
            count = self._table.metadata.row_group(group).num_rows
            if any(wanted(row) for row in range(first, first + count)):
                row = first
                for batch in self._batches(batch_size=16, row_groups=[group]):
                    for index in range(batch.num_rows):
                        if wanted(row):
                            yield row, batch.slice(index, 1).to_pylist()[0]
                        row += 1
            first += count

    def _batches(self, **chosen: Any) -> Iterator[Any]:
        batches = self._table.iter_batches(**chosen)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # of damaged pages: pyarrow's own kinds and OSError
                raise UsageError(
                    f"cannot read {self.file}: {quote(error)}; download it again"
                ) from error
            if batch is None:
                return
            yield batch

    def counted(self) -> int:
        return int(self._table.metadata.num_rows)

    def identity(self) -> str:
        return sha256_of(self.file)


class _Saved:
    """One split that `datasets` saved to disk: any row can be had at once."""

    def __init__(self, rows: Any, split: str | None, where: str) -> None:
        self.split = split
        self.name = split or "rows"
        self.where = where
        self.folder: Path | None = Path(where)
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
        self.folder: Path | None = None  # `datasets` itself says where it put a file
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
                f"cannot read {self.where}: {quote(error)}; check the connection and run it again"
            ) from error


def _remote(name: str) -> list[_Saved | _Parquet | _Remote]:
    datasets = _import_datasets()
    name, _, config = name.partition("#")
    try:
        found = datasets.load_dataset(name, config or None, streaming=True)
    except Exception as error:  # the hub's client raises many kinds for what is one: not to be had
        raise UsageError(
            f"cannot get hf:{name} from the hub: {quote(error)}; check the name and the connection"
        ) from error
    return [_Remote(rows, str(split), f"hf:{name}") for split, rows in found.items()]


def _saved(place: Path) -> list[_Saved | _Parquet | _Remote]:
    datasets = _import_datasets()
    try:
        found = datasets.load_from_disk(str(place))
    except Exception as error:
        raise UsageError(
            f"cannot read {place}: {quote(error)}; it should be a folder that `save_to_disk` wrote"
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


def _features_written(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return what `datasets` wrote of a parquet file's columns; nothing where it did not."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    described = features.items() if isinstance(features, dict) else ()
    return {name: feature for name, feature in described if isinstance(feature, dict)}


def _source(part: _Saved | _Parquet | _Remote, value: Any, where: str) -> Path | bytes:
    """Return a photo's bytes, or its file; nothing where the row came without."""
    path: Any = None
    if isinstance(value, Mapping):
        path, value = value.get("path"), value.get("bytes")
    if isinstance(value, bytes | bytearray | memoryview) and value:
        return bytes(value)
    path = value if isinstance(value, str) else path
    if (value is None and path is None) or (isinstance(value, bytes) and not path):
        return b""
    try:
        return Path(path) if part.folder is None else photo_file(part.folder, inside(path))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{where}: {quote(error)}; a photo is the bytes of a file, or its name from "
            f"{part.folder}"
        ) from error


def _texts(value: Any, name: str, where: str) -> list[str]:
    """Return the sentences in a text, a list of texts, or records of texts with `raw`."""
    if isinstance(value, Mapping):  # of lists, where a column holds a list of records
        held = [value[key] for key in ("raw", "caption", "text") if value.get(key) is not None]
        return _texts(held[0], name, where) if held else read_texts(value, name, where)
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one, name, where)]
    return [tidy(text) for text in read_texts(value, name, where)]


def _recognises(spec: str | Path) -> Sure:
    place = Path(spec)
    if str(spec).startswith("hf:"):
        return Sure.NAMED
    if place.suffix.lower() == ".parquet" and place.is_file():
        return Sure.NAMED
    saved = any((place / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))
    return Sure.NAMED if saved or parquet_files(place) else Sure.NO


LOADER = Loader("hub", "hf:NAME, *.parquet, or a folder that `datasets` saved", _recognises, Hub)
