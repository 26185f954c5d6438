"""Arguments, looked at where they come in: each check takes microseconds and says what is wrong.

What comes from outside is refused at the door, in one line that names the argument: further in,
a wrong one would be another library's error, or an answer to another question.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from molyneux.errors import UsageError

T = TypeVar("T")
_LONGEST_NAME = 255


def shown(value: Any) -> str:
    """Return a value as a message can hold it: short, on one line; of tensors, the shape."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
        return f"{type(value).__name__} of shape {tuple(shape)}{f', {kind}' if kind else ''}"
    try:
        text = " ".join(reprlib.repr(value).split())
    except Exception:  # whatever another's class does when it is printed
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_of(name: str, value: Any, options: Sequence[T]) -> T:
    """Return the option that a value is.

    Raises:
        UsageError: it is none of them.
    """
    for option in options:
        if type(value) is type(option) and value == option:
            return option
    listed = " or ".join(map(repr, options))
    raise UsageError(f"{name} is {listed}, not {shown(value)}; give one of them")


def whole_number(
    name: str, value: Any, *, least: int | None = None, below: int | None = None
) -> int:
    """Return a whole number, of numpy and torch too, that lies in a range.

    Raises:
        UsageError: it is none (True and 2.0 are none), or lies outside.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None:
        raise UsageError(f"{name} takes a whole number, not {shown(value)}; give one")
    if (least is not None and number < least) or (below is not None and number >= below):
        if least is None:
            span = f"below {below}"
        else:
            span = f"at least {least}" if below is None else f"from {least} to {below - 1}"
        raise UsageError(f"{name} is {span}, not {shown(number)}; give another number")
    return number


def number(name: str, value: Any, wanted: str) -> float:
    """Return a finite number.

    Args:
        wanted: what the argument may be, as the message says it.

    Raises:
        UsageError: it is none (True is none), or not finite.
    """
    try:
        found = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise UsageError(f"{name} takes {wanted}, not {shown(value)}; give one")
    return found


def is_a(name: str, value: Any, kind: type[T], example: str) -> T:
    """Return a value that is of a class.

    Args:
        example: where one comes from, as the message ends.

    Raises:
        UsageError: it is of another.
    """
    if isinstance(value, kind):
        return value
    article = "an" if kind.__name__[0] in "AEIO" else "a"
    raise UsageError(f"{name} takes {article} {kind.__name__}, not {shown(value)}; give {example}")


def true_or_false(name: str, value: Any) -> bool:
    """Return a value that is True or False.

    Raises:
        UsageError: it is anything else.
    """
    return one_of(name, value, (True, False))


def text_of(name: str, value: Any, example: str) -> str:
    """Return a text that is not empty.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, str) and value.strip():
        return value
    raise UsageError(f"{name} takes a text, not {shown(value)}; give one, as in {example}")


def path_of(name: str, value: Any) -> Path:
    """Return a path, `~` read as the home folder.

    Raises:
        UsageError: it is none, or an empty one.
    """
    if isinstance(value, str | os.PathLike) and str(value) and "\0" not in str(value):
        try:
            path = Path(value).expanduser()
            if all(len(os.fsencode(part)) <= _LONGEST_NAME for part in path.parts):
                return path
            raise ValueError("no file can have so long a name")
        except (TypeError, RuntimeError, ValueError) as error:
            # Of bytes; of an unknown user; of half a character, which no file's name holds.
            raise UsageError(f"{name} takes a path, not {shown(value)} ({error})") from error
    raise UsageError(f"{name} takes a path, not {shown(value)}; give a text or a Path")


def several(name: str, values: Any, example: str, *, least: int = 0) -> list[Any]:
    """Return what a list, or anything that can be gone through, holds; a text is one thing.

    Args:
        example: how the argument looks when it is right.
        least: how many there have to be.

    Raises:
        UsageError: it is none, or holds too few.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{name} takes a list, not {shown(values)}; give one, as in {example}")
    try:
        found = list(values)
    except Exception as error:  # a tensor of no dimension, a generator that fails
        raise UsageError(
            f"{name} takes a list, not {shown(values)}; give one, as in {example}"
        ) from error
    if len(found) < least:
        need = "at least one" if least == 1 else f"at least {least}"
        raise UsageError(f"{name} needs {need}, and {len(found)} are given, as in {example}")
    return found
