"""The application that the verbs register themselves with."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="molyneux",
    help="Find, decode and switch off the neurons that let a text-only language model see.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
)


@app.callback()
def _root() -> None:
    """Commands are registered by the imports below."""


from molyneux.cli import (  # noqa: E402, F401
    calibrate_bertscore,
    caption,
    data,
    decode,
    demo,
    doctor,
    explain,
    models,
    prompts,
    reference,
    report,
    runs,
    study,
    table,
    train,
    units,
)
