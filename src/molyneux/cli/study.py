"""`molyneux study`: the paper's experiments over a data set, resumable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import COMPARES, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from molyneux.studies.parts import Progress
    from molyneux.studies.study import Outcome


@takes_model(*COMPARES)
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
        str, typer.Option("--experiments", help="Some of E1,E2,E3,E4,E5,E6.")
    ] = "E1,E2,E3,E4,E5,E6",
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
        int, typer.Option("--subsets", min=0, help="Disjoint subsets to repeat E2 and E6 on.")
    ] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Random controls of E6.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
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
    """Run the paper's experiments on a data set. Run it again to resume."""
    from dataclasses import asdict, replace

    import torch

    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.errors import UsageError
    from molyneux.neurons.ablation import ablation_grid
    from molyneux.processes import Share
    from molyneux.report import write_report
    from molyneux.studies.experiment import SELECTIVITY, parse_names
    from molyneux.studies.manifest import MANIFEST, read_manifest, require_settings
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.study import begin, load_needed_scorers, run_study

    names = parse_names(experiments)
    if SELECTIVITY in names and selectivity is None:
        names = tuple(name for name in names if name != SELECTIVITY)
        if not names:
            raise UsageError("E5 takes labelled photos; name their data set with --selectivity")
    model.require_reference()
    selection = select(open_dataset(data, kind=kind), where or [], images, seed)
    labelled = None
    if SELECTIVITY in names and selectivity is not None:
        labelled = select(open_dataset(selectivity), selectivity_where or [], None, seed)
    if threads is None and out is not None and (out / MANIFEST).exists():
        threads = int(read_manifest(out)["settings"]["threads"])
    torch.set_num_threads(threads or torch.get_num_threads())
    share = Share.join()
    if share.world > 1 and out is None:
        raise UsageError("several processes need one folder; give it with --out")
    speaks = note if share.is_first else _silent
    if SELECTIVITY not in names:
        speaks("molyneux: no E5, which takes labelled photos; name their set with --selectivity")
    settings = StudySettings(
        experiments=names,
        seed=seed,
        seeds=seeds,
        subsets=subsets,
        threads=torch.get_num_threads(),
        classes=_classes(classes),
        per_class=per_class,
        bertscore=bertscore,
        clip=clip,
    )
    # Only the grid hangs on the model, which is not loaded for a folder of another study.
    require_settings(out, {k: v for k, v in asdict(settings).items() if k != "grid"})
    scorers = load_needed_scorers(settings, speaks)
    captioner = model.load()
    grid = ablation_grid("full", captioner.language_model.n_units)
    settings = replace(settings, grid=tuple(grid))
    if not share.is_first:
        share.wait()  # until the first process has begun the folder
    run, changed = begin(captioner, selection, labelled, settings, out)
    if share.is_first:
        share.wait()
    if changed:
        speaks(f"molyneux: the folder was begun with other versions: {', '.join(changed)}")
    speaks(f"{len(selection)} photos, experiments {' '.join(names)}, into {run.folder}")
    outcome = run_study(
        captioner,
        selection,
        labelled,
        settings,
        run,
        share,
        scorers=scorers,
        on_photo=progress_line(share.rank, share.world),
        note=speaks,
    )
    share.leave()
    if not share.is_first:
        return 0
    page = write_report(run.folder)
    _say_bad(outcome)
    if as_json:
        show_json(
            {
                "run": str(outcome.folder),
                "photos": outcome.good,
                "bad": [{"id": name, "error": error} for name, error in outcome.bad],
                "report": str(page),
            }
        )
    else:
        show(f"{outcome.good} photos in {outcome.folder}; page: {page}")
    return int(strict and bool(outcome.bad))


def _silent(_: str) -> None:
    """Say nothing: one process of several speaks."""


def _classes(text: str) -> int | tuple[str, ...]:
    if text.strip().isdigit():
        return int(text)
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _say_bad(outcome: Outcome) -> None:
    if not outcome.bad:
        return
    for name, error in outcome.bad:
        note(f"left out {name}: {error}")
    note(
        f"molyneux: warning: {len(outcome.bad)} of {len(outcome.bad) + outcome.good} photos could "
        "not be read and were left out (above); --strict makes this an error"
    )


def progress_line(rank: int, world: int) -> Callable[[Progress], None]:
    """Return what says one line on stderr after each photo, with the time left in its phase."""
    started = last = time.monotonic()
    phase = ""

    def say(progress: Progress) -> None:
        nonlocal started, last, phase
        if progress.phase != phase:
            phase, started = progress.phase, last
        last = time.monotonic()
        elapsed = last - started
        left = elapsed / (progress.done - progress.before) * (progress.total - progress.done)
        process = f" process {rank + 1}/{world}" if world > 1 else ""
        note(
            f"[{progress.phase} {progress.done}/{progress.total}{process}, {_clock(elapsed)}, "
            f"{_clock(left)} left] {progress.id}: {progress.said}"
        )

    return say


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
