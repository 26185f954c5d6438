"""The command line: one file per verb. Data goes to stdout, progress and errors to stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from molyneux.errors import MolyneuxError, is_out_of_memory

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for an error, 2 for a wrong call.

    An error the user can mend is one line on stderr; `--debug`, anywhere, shows the traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    if debug:
        given.remove("--debug")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Tokens hold any script, whatever the terminal's encoding.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    import typer

    try:
        from molyneux.cli.app import app

        status = int(app(given, prog_name="molyneux", standalone_mode=False) or 0)
        sys.stdout.flush()
    except MolyneuxError as error:
        if debug:
            raise
        return _say(str(error), 1)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`| head`); there is nobody to tell.
        sys.stderr.close()
        return 1
    except Exception as error:
        # typer may bring its own copy of click: the classes are found through typer itself.
        if isinstance(error, typer.Abort):
            status = INTERRUPTED
        elif isinstance(error, _usage_error()):
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)  # type: ignore[attr-defined]
        elif debug:
            raise
        else:
            return _say(_unforeseen(error), 1)
    if status == INTERRUPTED:
        return _say("interrupted; nothing half-written was left behind", INTERRUPTED)
    return status


def _usage_error() -> type[Exception]:
    import typer

    return next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


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
    print(f"molyneux: {message}", file=sys.stderr)  # noqa: T201
    return status
