"""A run's page as a browser would find it: elements, text without scripts, and what lies inside."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from molyneux.pages.packed import COLUMNS, ROWS


class ReportPage(HTMLParser):
    """The page in a file.

    Attributes:
        elements: names and attributes, in order.
        text: what is read without scripts.
        data: what the page's script reads, by key, in order.
        script: the one that runs.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.source = path.read_text(encoding="utf-8")
        self.script, self.text = "", ""
        self.scripts = 0
        self._raw: dict[str, str] = {}
        self._key: str | None = None
        self._inside: str | None = None
        self.feed(self.source)
        self.close()
        self.text = re.sub(r"\s+", " ", self.text)
        self.data: dict[str, Any] = {k: unpacked(json.loads(v)) for k, v in self._raw.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "script":
            self.scripts += 1
            self._key = found.get("data-key")
            if self._key is not None:
                assert found["type"] == "application/json"
                assert self._key not in self._raw
                self._raw[self._key] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None
        elif tag in ("td", "th", "li", "p", "h1", "h2"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script" and self._key is not None:
            self._raw[self._key] += data
        elif self._inside == "script":
            self.script += data
        elif self._inside is None:
            self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]

    def photo(self, number: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = self.data[f"photo/r0/{number}"]
        return found

    @property
    def order(self) -> list[int]:
        """The numbers of the photos, as they follow one another."""
        return [card["n"] for card in self.data["gallery/r0"]["cards"]]

    @property
    def said(self) -> str:
        """Every text that the page's script may show."""
        return "\n".join(texts(self.data))


def unpacked(data: Any) -> Any:
    """Return data as it was before it was packed."""
    if isinstance(data, list):
        return [unpacked(one) for one in data]
    if not isinstance(data, dict):
        return data
    if COLUMNS in data:
        return [dict(zip(data[COLUMNS], map(unpacked, row), strict=True)) for row in data[ROWS]]
    return {name: unpacked(value) for name, value in data.items()}


def texts(data: Any) -> Iterator[str]:
    """Yield every text of some data."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)
