"""The photos of a folder or of a list, and the captions that may lie beside them."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molyneux.data.annotated import AnnotatedPhotos
from molyneux.data.dataset import Item
from molyneux.data.texts import read_texts, tidy
from molyneux.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def photos_in(place: Path) -> list[Path]:
    """Return the photos below a folder, or those a text file lists, one a line, in its order.

    A folder's are in the order of the hashes of their names, so that the first of them are a
    fair sample of one that is sorted by class.

    Raises:
        UsageError: there is no such place, or no photo in it.
    """
    if place.is_file() and place.suffix == ".txt":
        try:
            names = place.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"{place} is not UTF-8 text; it should list one photo a line"
            ) from error
        found = [place.parent / name.strip() for name in names if name.strip()]
    elif place.is_dir():
        found = sorted(
            (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES),
            key=lambda path: hashlib.sha256(os.fsencode(path.name)).digest(),
        )
    else:
        raise UsageError(f"{place} is neither a folder of photos nor a .txt file that lists them")
    if not found:
        raise UsageError(f"no photos in {place}; it needs files that end in .jpg, .png, ...")
    return found


CAPTION_FILES = ("captions.jsonl", "captions.csv")
_FILE_KEYS = ("file", "file_name", "filename", "image")


@dataclass(slots=True)
class _Said:
    """What a caption file says of one photo."""

    captions: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    split: str | None = None


class Folder(AnnotatedPhotos):
    """The photos below a folder, in order of name, or those a `.txt` file lists, in its order.

    `captions.jsonl` or `captions.csv` in the folder may say more of them: `file` (below the
    folder), `caption` or `captions`, and if it likes `categories` and `split`. Several lines of one
    file add up.
    """

    name = "folder"

    def __init__(self, place: Path) -> None:
        """Find the photos and read the captions.

        Raises:
            UsageError: there are no photos, one is listed twice, or the captions are damaged.
        """
        super().__init__(place)
        if place.is_file():
            self.root = place.parent
        paths = photos_in(place)
        if place.is_dir():
            paths.sort(key=os.fsencode)
        self._files = [os.path.relpath(path, self.root).replace(os.sep, "/") for path in paths]
        if len(set(self._files)) != len(self._files):
            twice = next(name for name in self._files if self._files.count(name) > 1)
            raise UsageError(f"{place} lists {twice} twice; remove one of the lines")
        self.captions = next((p for n in CAPTION_FILES if (p := self.root / n).is_file()), None)
        self.files = [self.captions] if self.captions else []
        said = read_captions(self.captions) if self.captions else {}
        if place.is_file():
            self.files.append(place)
        known = set(self._files)
        self._said = {name: what for name, what in said.items() if name in known}
        self.missing = [name for name in said if name not in known] if place.is_dir() else []
        if said and not self._said:
            raise UsageError(
                f"none of the photos in {self.captions}, such as {next(iter(said))}, is in "
                f"{place}; its files are named from there, as in {self._files[0]}"
            )

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._files)

    def __getitem__(self, position: int) -> Item:
        """Return the item at a position; its id is the file's name from the folder."""
        file = self._files[position]
        said = self._said.get(file) or _Said()
        return Item(
            id=file,
            source=self.root / file,
            captions=tuple(said.captions),
            categories=tuple(said.categories),
            split=said.split,
        )

    def _lacking(self) -> dict[str, Any]:
        return {"captions_without_photo": len(self.missing)}


def read_captions(file: Path) -> dict[str, _Said]:
    """Return what `captions.jsonl` or `captions.csv` says, by file name.

    Raises:
        UsageError: a line names no file, or the text is damaged; the line is named.
    """
    said: dict[str, _Said] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in _rows(file, stream):
                name = next((str(row[key]) for key in _FILE_KEYS if row.get(key)), None)
                if name is None:
                    raise UsageError(
                        f"{file}, line {number}: no photo is named; a line has `file` and `caption`"
                    )
                what = said.setdefault(os.path.normpath(name).replace(os.sep, "/"), _Said())
                where = f"{file}, line {number}"
                for key in ("caption", "captions"):
                    for caption in map(tidy, read_texts(row.get(key), key, where)):
                        if caption not in what.captions:
                            what.captions.append(caption)
                for category in read_texts(row.get("categories"), "categories", where):
                    if (known := tidy(category).lower()) not in what.categories:
                        what.categories.append(known)
                what.split = str(row["split"]) if row.get("split") else what.split
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text; save it as UTF-8") from error
    return said


def _rows(file: Path, stream: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if file.suffix == ".csv":
        table = csv.DictReader(stream)
        if not set(table.fieldnames or ()) & set(_FILE_KEYS):
            raise UsageError(
                f"{file} has no column `file`; its first line names the columns: file,caption"
            )
        for record in table:
            yield table.line_num, record
        return
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{file}, line {number}: no JSON ({error})") from error
        if not isinstance(row, dict):
            raise UsageError(f"{file}, line {number}: not an object with `file` and `caption`")
        yield number, row
