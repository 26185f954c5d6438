"""The application and its verbs, one file each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from molyneux.cli.atlas import atlas
from molyneux.cli.cache import cache
from molyneux.cli.calibrate_bertscore import calibrate_bertscore
from molyneux.cli.caption import caption
from molyneux.cli.compare_scorers import compare_scorers
from molyneux.cli.data import data
from molyneux.cli.decode import decode
from molyneux.cli.demo import demo
from molyneux.cli.doctor import doctor
from molyneux.cli.explain import explain
from molyneux.cli.explore import explore
from molyneux.cli.find import find
from molyneux.cli.help import Command
from molyneux.cli.lens import lens
from molyneux.cli.models import models
from molyneux.cli.output import be_quiet, show
from molyneux.cli.prompts import prompts
from molyneux.cli.reference import reference
from molyneux.cli.report import report
from molyneux.cli.runs import runs
from molyneux.cli.size import size
from molyneux.cli.study import study
from molyneux.cli.table import table
from molyneux.cli.train import train
from molyneux.cli.transfer import transfer
from molyneux.cli.trust import trust
from molyneux.cli.units import units

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes; errors are still said.")
]

app = typer.Typer(
    name="molyneux",
    help="Find, decode and switch off the neurons that let a text-only language model see.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from molyneux import __version__

        show(f"molyneux {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    quiet: Quiet = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Take options that come before a command."""
    if quiet:
        be_quiet()


def _can_be_quiet(verb: Callable[..., int]) -> Callable[..., int]:
    """Return a verb with the options that every one has."""
    hints = get_type_hints(verb, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(verb).parameters.items()
    ]
    parameters.append(
        inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    )

    @wraps(verb)
    def command(*, quiet: bool, **given: Any) -> int:
        if quiet:
            be_quiet()
        return verb(**given)

    signature = inspect.Signature(parameters, return_annotation=int)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


for verb in (
    atlas,
    calibrate_bertscore,
    cache,
    caption,
    compare_scorers,
    data,
    decode,
    demo,
    doctor,
    explain,
    explore,
    find,
    lens,
    models,
    prompts,
    reference,
    report,
    runs,
    size,
    study,
    table,
    train,
    transfer,
    trust,
    units,
):
    app.command(verb.__name__.replace("_", "-"), cls=Command)(_can_be_quiet(verb))
