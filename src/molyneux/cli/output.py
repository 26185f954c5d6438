"""What a command says: data on stdout; notes, errors and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from molyneux.errors import RunError, on_one_line


class _Voice:
    """Whether notes are said; of the whole process, threads that read photos included."""

    quiet = False


def is_quiet() -> bool:
    """Return whether `--quiet` was given."""
    return _Voice.quiet


def be_quiet() -> None:
    """Say no more notes and show no progress until `heard_afresh` ends; errors are still said."""
    _Voice.quiet = True


@contextmanager
def heard_afresh() -> Iterator[None]:
    """Take `--quiet` back at the end of the block, which is one command."""
    before, _Voice.quiet = _Voice.quiet, False
    try:
        yield
    finally:
        _Voice.quiet = before


def note(line: str) -> None:
    """Say on stderr what goes on, unless `--quiet` was given."""
    if not is_quiet():
        complain(line)


def complain(line: str) -> None:
    """Say a line on stderr, `--quiet` or not; names in it cannot make it two."""
    # A stderr that cannot be written, because its reader left (`2>&1 | head`) or the disk of its
    # file is full, is no reason to end hours of work, nor to end with another status.
    try:
        print(on_one_line(line), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _abandon(sys.stderr)


def shows_bars() -> bool:
    """Return whether bars that draw over themselves are in place: somebody looks at stderr."""
    return sys.stderr.isatty() and not is_quiet()


def show(line: str) -> None:
    """Print a line of data on stdout, as `show_text`; names in it cannot make it two."""
    show_text(on_one_line(line))


def show_text(text: str) -> None:
    """Print lines of data on stdout as they are.

    Raises:
        RunError: they cannot be written, other than because their reader left.
    """
    with _writing():
        print(text)  # noqa: T201


def finish() -> None:
    """Write what is still to be written to stdout, as `show` does."""
    with _writing():
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise RunError(
            f"stdout cannot be written ({error.strerror}); send it to another place"
        ) from error


def show_json(document: Any) -> None:
    """Print a document on stdout."""
    show_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def prepare_streams() -> None:
    """Give closed streams a place to go, and let stdout write any script.

    A process that was started with a closed stdout or stderr (`>&-`) would give its descriptor to
    the first file it opens, and what is printed to a missing stderr would land on stdout.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    with suppress(OSError):
        while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(lowest, True)
        os.close(lowest)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # Tokens hold any script, whatever the terminal's encoding.
        reconfigure(encoding="utf-8", errors="backslashreplace")


def abandon_stdout() -> None:
    """Write no more to a stdout that cannot be written, not even when the interpreter ends."""
    _abandon(sys.stdout)


def _abandon(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
