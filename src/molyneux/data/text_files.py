"""Reading the text files that people give: UTF-8, whatever system wrote them, line by line.

A line ends with a line feed, a carriage return or both, and with nothing else: U+2028, U+0085 and
form feeds are characters of a sentence, at which `str.splitlines` would break it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from molyneux.errors import UsageError, quote

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins as UTF-16's does, so it is looked for first
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_LINE_END = re.compile(r"\r\n|\r|\n")


@contextmanager
def open_text(file: Path) -> Iterator[TextIO]:
    r"""Yield the open text; its lines keep their ends, and a byte-order mark is not part of it.

    Raises:
        UsageError: it cannot be read, or is not UTF-8; another encoding is named.
    """
    try:
        with file.open("rb") as raw:
            _require_utf8(file, raw.read(512))
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text{_where_not(file)}; save it as UTF-8") from error
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror or quote(error)}; check the name"
        ) from error


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line that is not blank, without its end.

    Raises:
        UsageError: as `open_text`.
    """
    with open_text(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def split_lines(text: str) -> list[str]:
    """Return the lines of a text, blank ones left out."""
    return [line for line in _LINE_END.split(text) if line.strip()]


def decode_text(data: bytes) -> str:
    """Return the text in bytes, without a byte-order mark.

    Raises:
        ValueError: it is not UTF-8; another encoding is named.
    """
    if (encoding := _other_encoding(data)) is not None:
        raise ValueError(f"{encoding} text, not UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text, at byte {error.start}") from error


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        UsageError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}; check the name") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{file} is damaged: it is no JSON ({quote(error)}); download it again"
        ) from error


def read_json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number, from 1, and object of each line of a JSON Lines file that is not blank.

    Raises:
        UsageError: a line is no JSON object; the line is named.
    """
    for number, line in read_lines(file):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{file}, line {number}: no JSON ({quote(error)})") from error
        if not isinstance(row, dict):
            raise UsageError(
                f"{file}, line {number}: not an object such as "
                '{"file": "a.jpg", "caption": "..."}'
            )
        yield number, row


def _require_utf8(file: Path, beginning: bytes) -> None:
    if (encoding := _other_encoding(beginning)) is not None:
        raise UsageError(f"{file} is {encoding} text; save it as UTF-8")


def _other_encoding(beginning: bytes) -> str | None:
    for mark, name in _MARKS:
        if beginning.startswith(mark):
            return name
    # Without a mark: in UTF-16 every second byte of plain Latin text is zero.
    if len(beginning) >= 4 and 0 in beginning and (beginning[0] == 0) != (beginning[1] == 0):
        return "UTF-16"
    return None


def _where_not(file: Path) -> str:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f" (line {number}, byte {error.start + 1})"
    return ""
