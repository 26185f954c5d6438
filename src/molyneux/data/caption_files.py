"""Caption files, `captions.jsonl`, `captions.csv` and `captions.tsv`: the one reader."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molyneux.data.files import matching
from molyneux.data.tables import read_table
from molyneux.data.text_files import read_json_lines
from molyneux.data.texts import is_cut, read_name, read_texts, tidy
from molyneux.errors import UsageError

CAPTION_FILES = ("captions.jsonl", "captions.csv", "captions.tsv")
SUFFIXES = (".jsonl", ".csv", ".tsv")
"""What a caption file ends in, whatever it is called."""

_FILE_KEYS = ("file", "file_name", "filename", "image")
_CAPTION_KEYS = ("caption", "captions")


@dataclass(frozen=True, slots=True)
class CaptionLine:
    """One line of a caption file.

    Attributes:
        where: file and line, as a message names them.
        file: the photo's name, as it is written.
        captions: each with its white space single.
        categories: in lower case.
        credit: who took the photo, on what terms.
        said: all keys of the line; in a table, those whose field is not empty.
    """

    where: str
    file: str
    captions: tuple[str, ...]
    categories: tuple[str, ...]
    split: str | None
    credit: str | None
    said: Mapping[str, Any]


def is_caption_file(place: Path) -> bool:
    """Whether a file is a caption file, by its suffix."""
    return place.suffix.lower() in SUFFIXES


def caption_file(folder: Path) -> Path | None:
    """Return the caption file of a folder, its name in either case; None if it has none."""
    return next((file for name in CAPTION_FILES for file in matching(folder, name)), None)


def read_caption_file(file: Path) -> Iterator[CaptionLine]:
    """Yield what each line says: `file`, `caption` or `captions`, `categories`, `split`, `credit`.

    Raises:
        UsageError: a line names no photo, holds a number where a text belongs, or is damaged; the
            line is named.
    """
    for number, said in _rows(file):
        where = f"{file}, line {number}"
        name = next((said[key] for key in _FILE_KEYS if isinstance(said.get(key), str)), "")
        if not name.strip() or is_cut(name):
            raise UsageError(f"{where}: no photo is named; a line has `file` and `caption`")
        captions = [c for key in _CAPTION_KEYS for c in read_texts(said.get(key), key, where)]
        categories = read_texts(said.get("categories"), "categories", where)
        yield CaptionLine(
            where,
            name,
            tuple(dict.fromkeys(map(tidy, captions))),
            tuple(dict.fromkeys(tidy(category).lower() for category in categories)),
            read_name(said.get("split"), "split", where),
            read_name(said.get("credit"), "credit", where),
            said,
        )


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if file.suffix.lower() == ".jsonl":
        yield from read_json_lines(file)
        return
    for number, row in read_table(file, {"file": _FILE_KEYS}):
        said: dict[str, Any] = {name: field for name, field in row.items() if field.strip()}
        for key in ("crop", "weight"):  # numbers, which a table holds as text
            if key in said:
                with suppress(ValueError):  # whoever wants the number refuses the text
                    said[key] = json.loads(said[key])
        yield number, said
