"""What can go wrong, as the user is told it.

Every message says what happened, why, and what to try next, on one line: the command line
prints it as it is, without a traceback.
"""

from __future__ import annotations

import re
import sys
import unicodedata

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_QUOTE = 160
_NO_CHARACTER = ("Cc", "Zl", "Zp", "Cs", "Cn", "Co")  # controls, line ends, halves of characters
_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def quote(error: BaseException | str) -> str:
    """Return another library's words in one line, without colours, cut to what a line can hold."""
    words = " ".join(_COLOURS.sub("", str(error)).split()) or type(error).__name__
    return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"


def on_one_line(text: str) -> str:
    """Return a text with escapes for what would end a line, colour a terminal or turn its order.

    Names of files, words and captions come from others: what prints one takes care that it cannot
    make a second line of output.
    """
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(c) in _NO_CHARACTER or c in _TURNING
        else c
        for c in text
    )


def printable(name: object) -> str:
    """Return a name on one line; what has no characters is shown as empty quotes."""
    return on_one_line(str(name)) or "''"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on a GPU or beside the CPU."""
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch
        or "DefaultCPUAllocator" in said
        or "CUDA out of memory" in said
    )


class MolyneuxError(Exception):
    """The base of every error a user can cause or mend; what it says is one line."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())


class PhotoError(MolyneuxError):
    """A photo cannot be read, and the others go on; or none of them can be used."""


class WeightsError(MolyneuxError):
    """Weights are missing, cannot be fetched, are corrupt, or do not belong together."""


class AdapterError(MolyneuxError):
    """A language model or an encoder is not known, or did not prove to be what its row says."""


class RunError(MolyneuxError):
    """A run folder cannot be written, read, or resumed."""


class UsageError(MolyneuxError):
    """A call is wrong: an argument does not make sense, or names what is not there."""


class BegunOtherwiseError(RunError, UsageError):
    """Work was begun with something else than the call that goes on says: a wrong call."""


def require_docstrings() -> None:
    """Refuse an interpreter that strips docstrings, which transformers reads on import.

    Raises:
        UsageError: it does.
    """
    if sys.flags.optimize > 1:
        raise UsageError(
            "python -OO (PYTHONOPTIMIZE=2) strips the docstrings that transformers and --help "
            "read; run without it, or with -O"
        )
