"""What a caption file may hold where sentences or names belong: a text, or a list of texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from molyneux.errors import UsageError


def read_texts(value: Any, name: str, where: str) -> list[str]:
    """Return the texts in a text, a list of texts, or records with `caption`, as COCO's are.

    Nothing is the same as no texts; texts of white space alone are left out.

    Args:
        name: of the key that holds the value.
        where: file and line, or whatever else the user finds it by.

    Raises:
        UsageError: it is something else, such as a number; nothing is guessed from it.
    """
    found = []
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        text = one.get("caption") if isinstance(one, Mapping) else one
        if not isinstance(text, str):
            shown = json.dumps(value, ensure_ascii=False, default=str)
            raise UsageError(
                f"{where}: `{name}` is {shown[:60]}, and neither a text nor a list of texts; "
                "mend it, or leave it out"
            )
        if text.strip():
            found.append(text)
    return found


def tidy(text: str) -> str:
    """Return a text with its white space single and none at its ends."""
    return " ".join(text.split())
