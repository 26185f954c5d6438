"""The application and its verbs, one file each."""

from __future__ import annotations

import typer

from molyneux.cli.calibrate_bertscore import calibrate_bertscore
from molyneux.cli.caption import caption
from molyneux.cli.data import data
from molyneux.cli.decode import decode
from molyneux.cli.demo import demo
from molyneux.cli.doctor import doctor
from molyneux.cli.explain import explain
from molyneux.cli.models import models
from molyneux.cli.prompts import prompts
from molyneux.cli.reference import reference
from molyneux.cli.report import report
from molyneux.cli.runs import runs
from molyneux.cli.study import study
from molyneux.cli.table import table
from molyneux.cli.train import train
from molyneux.cli.units import units

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
    """Take options that come before a command."""


for verb in (
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
):
    app.command()(verb)
app.command("calibrate-bertscore")(calibrate_bertscore)
