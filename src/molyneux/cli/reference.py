"""`molyneux reference`: how every unit scores on photos in general."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Out, ScorerName
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.progress import Bar


@takes_model(*SEES)
def reference(
    data: Annotated[
        str,
        typer.Argument(
            help="A data set, a folder of photos or a .txt that lists them.", metavar="DATA"
        ),
    ],
    model: ModelChoice,
    where: Where = None,
    images: Annotated[
        int, typer.Option("--images", min=2, help="At most this many of them, drawn by --seed.")
    ] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    kind: Kind = None,
    scorer: ScorerName = None,
    name: Annotated[str | None, typer.Option("--name", help="What the photos are.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Measure a reference table. Specific scores, controls and studies need one.

    Take photos that will not be explained or studied: those score themselves too low.
    """
    import shutil

    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select

    model.require_ready()
    selection = select(open_dataset(data, kind=kind), where or [], images, seed)
    for line in left_out_of(selection.dataset):
        note(f"left out of {data}: {line}")
    model.begin()
    from molyneux.explain.measure_reference import measure_reference
    from molyneux.neurons.ablation import ablation_grid
    from molyneux.neurons.reference import MIN_PHOTOS, save_reference
    from molyneux.neurons.scorers import DEFAULT_SCORER, find_scorer
    from molyneux.store import Run

    chosen = find_scorer(scorer or DEFAULT_SCORER.name)
    captioner = model.load()
    if len(selection) < MIN_PHOTOS:
        note(f"molyneux: {len(selection)} photos; {MIN_PHOTOS} or more make a steadier table")
    record = {**selection.dataset.record(), **selection.record()}
    run = Run.create(out, "reference", hashes=captioner.hashes, data=record)
    try:
        bar = Bar(len(selection), "photo")
        table, left_out = measure_reference(
            captioner,
            (item for _, item in selection.items()),
            data=name or Path(data).name or selection.dataset.name,
            n_listed=max(
                *ablation_grid("full", captioner.language_model.n_units),
                *ablation_grid("short", captioner.language_model.n_units),
            ),
            scorer=chosen,
            on_photo=lambda number, said: bar.reach(number + 1),
        )
        bar.close()
        path = run.folder / "reference.safetensors"
        with run.writing():
            save_reference(path, table)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    for line in left_out:
        complain(f"left out: {line}")
    summary: dict[str, Any] = {
        "reference": str(path),
        "photos": table.n_photos,
        "left_out": left_out,
        "sinks": {
            view: [f"L{layer}.u{unit}" for layer, unit in table.sinks(view).nonzero().tolist()]
            for view in table.mean
        },
    }
    if as_json:
        show_json(summary)
    else:
        show(f"{path}: {table.n_photos} photos; use it with --reference")
        for view, sinks in summary["sinks"].items():
            show(f"  sink units, {view}: {' '.join(sinks) or 'none'}")
    return 0
