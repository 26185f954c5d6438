"""The command line: one file per verb. Data goes to stdout, progress and errors to stderr."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Sequence

from molyneux.cli.interrupts import INTERRUPTED, Ended, like_ctrl_c
from molyneux.cli.output import abandon_stdout, complain, finish, heard_afresh, prepare_streams
from molyneux.errors import (
    MolyneuxError,
    UsageError,
    is_out_of_memory,
    require_docstrings,
)

FAILED, WRONG_CALL = 1, 2
# What pydantic, which reads typer's arguments, says of them.
_PLAIN_WORDS = (
    (r"Value error, ('.*') is not one of (.*)", r"\1 is none of \2"),
    (r"Value error, ", ""),
    (r"Input should be a valid integer, .*", "it takes a whole number"),
    (r"Input should be a valid number, .*", "it takes a number"),
    (r"Input should be greater than or equal to (\S+)", r"it takes \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"it takes \1 or less"),
    (r"Input should be ", "it takes "),
)
READER_LEFT = 128 + getattr(signal, "SIGPIPE", 13)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0, 1 for what failed, 2 for a wrong call, 130 after Ctrl-C, 143 after SIGTERM, 141 where the
    reader of its output left. An error is one line on stderr; `--debug`, anywhere, shows the
    traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
    prepare_streams()
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with heard_afresh(), like_ctrl_c() as ended:
        return _run(given, debug, ended)


def _run(given: list[str], debug: bool, ended: Ended) -> int:
    try:
        require_docstrings()
        from molyneux.cli.app import app

        status = int(app(given, prog_name="molyneux", standalone_mode=False) or 0)
        finish()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except SystemExit as error:  # completion ends so, and typer where a pipe is broken
        if isinstance(error.__context__, BrokenPipeError):
            abandon_stdout()
            return READER_LEFT
        return error.code if isinstance(error.code, int) else 0
    except BrokenPipeError:
        # The reader of our output left (`| head`); there is nobody to tell.
        abandon_stdout()
        return READER_LEFT
    except Exception as error:
        if debug:
            raise
        return _say_what_failed(error)
    if status == INTERRUPTED:
        how = "" if ended.number == signal.SIGINT else f" by {ended.number.name}"
        return _say(f"interrupted{how}; nothing half-written was left behind", ended.status)
    return status


def _say_what_failed(error: Exception) -> int:
    """Say an error in one line and return the exit status that goes with it."""
    if isinstance(error, MolyneuxError):
        return _say(str(error), WRONG_CALL if isinstance(error, UsageError) else FAILED)
    import typer

    # typer may bring its own copy of click: its classes are found through typer itself.
    if isinstance(error, typer.Abort):
        return _say("there is nothing to read an answer from; give --yes", WRONG_CALL)
    clicks = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    if not isinstance(error, clicks):
        return _say(_unforeseen(error), FAILED)
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return WRONG_CALL
    context = getattr(error, "ctx", None)
    command = "molyneux" if context is None else context.command_path
    words = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    for theirs, ours in _PLAIN_WORDS:
        words = re.sub(theirs, ours, words)
    return _say(f"{words[:1].lower()}{words[1:]}; see `{command} --help`", WRONG_CALL)


def _unforeseen(error: Exception) -> str:
    from molyneux.weights.cache import is_disk_full

    if is_disk_full(error):
        return "the disk is full; free some space, or give --out or MOLYNEUX_CACHE another place"
    if is_out_of_memory(error):
        return (
            "memory ran out; give --dtype bfloat16 or a smaller model; explain takes less with "
            "--ablate none, train with --accumulate and --recompute, all but train with --device "
            "split on several GPUs"
        )
    said = " ".join(str(error).split())[:300]
    return (
        f"{type(error).__name__}: {said}; this was not foreseen, so please report it with the "
        "traceback that --debug shows and the versions `molyneux doctor` prints"
    )


def _say(message: str, status: int) -> int:
    complain(f"molyneux: {message}")
    return status
