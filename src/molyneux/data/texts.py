"""What data sets hold where sentences, names and ids belong; a number is none of the first two."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from molyneux.errors import UsageError

_HALVES = re.compile("[\ud800-\udfff]")  # of characters that were cut in two
_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?")


def read_texts(value: Any, name: str, where: str) -> list[str]:
    """Return the texts in a text, a list of texts, or records with `caption`, as COCO's are.

    Nothing is the same as no texts; texts of white space alone are left out. Half a character, as
    where a text was cut within an emoji, is read as U+FFFD.

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
            raise UsageError(
                f"{where}: `{name}` is {_shown(value)}, and neither a text nor a list of texts; "
                "mend it, or leave it out"
            )
        if text.strip():
            found.append(_HALVES.sub("\ufffd", text))
    return found


def read_name(value: Any, name: str, where: str) -> str | None:
    """Return the name of a class or a split: a text, a whole number, or true and false.

    Nothing, and a text of white space alone, is no name.

    Raises:
        UsageError: it is something else, such as a list or a number with a fraction.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return tidy(_HALVES.sub("\ufffd", value)) or None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    raise UsageError(
        f"{where}: `{name}` is {_shown(value)}, and neither a name nor a whole number; mend it, or "
        "leave it out"
    )


def read_id(value: Any) -> str:
    """Return an id as text: whole numbers digit by digit, however large, and texts as they are.

    A whole number written as text, or with a fraction of zero, is that number.

    Raises:
        ValueError: it is no id, or a number with a fraction that is not exact.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip() and not is_cut(value):
        whole = _WHOLE.fullmatch(value.strip())
        return whole[1] if whole else value.strip()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        if abs(value) < 2**53:  # beyond, neighbouring whole numbers are one float
            return str(int(value))
        raise ValueError(f"the id {value!r} is a number with a fraction, too large to be exact")
    raise ValueError(f"{_shown(value)} is no id")


def is_cut(text: str) -> bool:
    """Whether a text holds half a character or a zero byte, as no file's name and no id does."""
    return "\0" in text or _HALVES.search(text) is not None


def tidy(text: str) -> str:
    """Return a text with its white space single and none at its ends."""
    return " ".join(text.split())


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)[:60]
