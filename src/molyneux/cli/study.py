"""`molyneux study`: the paper's experiments over a data set, resumable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import COMPARES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, ScorerName
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.progress import clock
from molyneux.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from molyneux.studies.parts import Progress


@takes_model(*COMPARES, "lens")
def study(
    data: Annotated[
        str, typer.Argument(help="A data set; `molyneux data` says which.", metavar="DATA")
    ],
    model: ModelChoice,
    where: Where = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="This many of them, drawn by the seed.")
    ] = None,
    experiments: Annotated[
        str | None,
        typer.Option("--experiments", help="Some of them, as in E2,E6; all if not given."),
    ] = None,
    selectivity: Annotated[
        str | None,
        typer.Option("--selectivity", help="The data set of labelled photos that E5 takes."),
    ] = None,
    selectivity_where: Annotated[
        list[str] | None, typer.Option("--selectivity-where", help="As --where, for that set.")
    ] = None,
    classes: Annotated[
        str, typer.Option("--classes", help="How many classes E5 takes, or their names: cat,dog.")
    ] = "10",
    per_class: Annotated[
        int,
        typer.Option("--per-class", min=4, help="Photos of each class; half find, half confirm."),
    ] = 40,
    subsets: Annotated[
        int, typer.Option("--subsets", min=0, help="Disjoint subsets to repeat E2, E6 and E7 on.")
    ] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Random controls of E6.")] = 5,
    sight: Annotated[
        Literal["none", "short", "full"],
        typer.Option("--sight", help="How many sets E7 measures; none leaves E7 out."),
    ] = "short",
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    scorer: ScorerName = None,
    bertscore: Annotated[
        str | None,
        typer.Option(
            "--bertscore", help="Backbone: a folder or hub name; all-MiniLM-L6-v2; `none`."
        ),
    ] = None,
    clip: Annotated[
        str, typer.Option("--clip", help="CLIPScore's checkpoint: a folder or hub name; `none`.")
    ] = "openai/clip-vit-large-patch14",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Of torch; a resumed study keeps its number."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a photo could not be read.")
    ] = False,
    kind: Kind = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Run folder, where a study goes on; molyneux-runs/<time> here if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run the paper's experiments, and sight, on a data set. Run it again to resume."""
    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.pages.one_file import write_report
    from molyneux.processes import is_first_process
    from molyneux.studies.experiment import parse_names
    from molyneux.studies.plan import require_begun_alike
    from molyneux.studies.settings import DEFAULT_SCORER, StudySettings

    names = None if experiments is None else parse_names(experiments)
    model.require_reference()
    model.require_ready()
    labelled = None
    if selectivity is not None:
        labelled = select(open_dataset(selectivity), selectivity_where or [], seed=seed)
    selection = select(open_dataset(data, kind=kind), where or [], images, seed)
    if is_first_process():
        for line in left_out_of(selection.dataset):
            note(f"left out of {data}: {line}")
    settings = StudySettings(
        seed=seed,
        seeds=seeds,
        sight=sight,
        subsets=subsets,
        threads=threads,
        classes=_classes(classes),
        per_class=per_class,
        scorer=scorer or DEFAULT_SCORER,
        bertscore=bertscore,
        clip=clip,
    )
    require_begun_alike(out, settings, selection)
    model.begin()
    from molyneux.studies.study import run_study

    done = run_study(
        model,
        selection,
        names,
        labelled=labelled,
        out=out,
        settings=settings,
        on_photo=progress_line(),
        note=note,
    )
    if not is_first_process():
        return 0
    page, bad = write_report(done.folder), done.bad
    say_bad(done.good, bad)
    if as_json:
        show_json(
            {
                "run": str(done.folder),
                "photos": done.good,
                "bad": [{"id": name, "error": error} for name, error in bad],
                "report": str(page),
            }
        )
    else:
        show(f"{done.good} photos in {done.folder}; page: {page}")
    return int(strict and bool(bad))


def _classes(text: str) -> int | tuple[str, ...]:
    if text.strip().isdigit():
        return int(text)
    return tuple(name.strip() for name in text.split(",") if name.strip())


def say_bad(good: int, bad: list[tuple[str, str]]) -> None:
    """Say on stderr which photos could not be read, and that they were left out."""
    if not bad:
        return
    for name, error in bad:
        complain(f"left out {printable(name)}: {error}")
    complain(
        f"molyneux: warning: {len(bad)} of {len(bad) + good} photos could "
        "not be read and were left out (above); --strict makes this an error"
    )


def progress_line() -> Callable[[Progress], None]:
    """Return what says one line on stderr after each photo, with the time left in its phase."""
    started = last = time.monotonic()
    phase = ""

    def say(progress: Progress) -> None:
        nonlocal started, last, phase
        if progress.phase != phase:
            phase, started = progress.phase, last
        last = time.monotonic()
        elapsed, own = last - started, progress.process
        left = elapsed / (progress.done - progress.before) * (progress.total - progress.done)
        where = f" process {own.rank + 1}/{own.world}" if own.world > 1 else ""
        note(
            f"[{progress.phase} {progress.done}/{progress.total}{where}, {clock(elapsed)}, "
            f"{clock(left)} left] {printable(progress.id)}: {progress.said}"
        )

    return say
