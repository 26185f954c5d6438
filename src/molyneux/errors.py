"""What can go wrong, as the user is told it.

Every message says what happened, why, and what to try next, on one line: the command line
prints it as it is, without a traceback.
"""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_QUOTE = 160


def quote(error: BaseException | str) -> str:
    """Return another library's words in one line, without colours, cut to what a line can hold."""
    words = " ".join(_COLOURS.sub("", str(error)).split()) or type(error).__name__
    return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"


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
    """The base of every error a user can cause or mend."""


class PhotoError(MolyneuxError):
    """A photo cannot be read; the other photos go on."""


class WeightsError(MolyneuxError):
    """Weights are missing, cannot be fetched, are corrupt, or do not belong together."""


class AdapterError(MolyneuxError):
    """A language model or an encoder is not known, or did not prove to be what its row says."""


class RunError(MolyneuxError):
    """A run folder cannot be written, read, or resumed."""


class UsageError(MolyneuxError):
    """An argument does not make sense: a unit that does not exist, a word without a token."""
