"""Another library's error, as a line of ours quotes it."""

from __future__ import annotations

import re

LONGEST_QUOTE = 160
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def quote(error: BaseException) -> str:
    """Return an error's text in one line, without colours, cut to what another's can hold."""
    words = " ".join(_COLOURS.sub("", str(error)).split()) or type(error).__name__
    return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"
