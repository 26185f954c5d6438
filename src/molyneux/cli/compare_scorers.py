"""`molyneux compare-scorers`: every scorer beside what units do exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import COMPARES, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import note, show, show_json
from molyneux.cli.study import progress_line


@takes_model(*COMPARES, "lens")
def compare_scorers(
    data: Annotated[
        str, typer.Argument(help="A data set; `molyneux data` says which.", metavar="DATA")
    ],
    model: ModelChoice,
    where: Where = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="This many of them, drawn by the seed.")
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer",
            help="One to compare, perhaps with choices; may be given several times; all that are "
            "known if not given. Others may be added to a folder later.",
        ),
    ] = None,
    all_units: Annotated[
        int,
        typer.Option("--all-units", min=0, help="Measure every unit on the first so many photos."),
    ] = 0,
    areas: Annotated[
        int,
        typer.Option("--areas", min=0, help="On so many photos, put whole sets to the mean too."),
    ] = 20,
    passes: Annotated[
        int,
        typer.Option(
            "--passes",
            min=1,
            help="Of the model that a scorer may take in all, one back counting as two: one that "
            "takes many is measured on the first photos alone.",
        ),
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampled photos and units.")] = 0,
    kind: Kind = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Run folder, where a comparison goes on; molyneux-runs/<time> here if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Hold scorers against the exact effect of single units. Run it again to resume."""
    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.processes import is_first_process

    model.require_reference()
    model.require_ready()
    selection = select(open_dataset(data, kind=kind), where or [], images, seed)
    if is_first_process():
        for line in left_out_of(selection.dataset):
            note(f"left out of {data}: {line}")
    model.begin()
    from molyneux.studies.compare.run import ComparisonSettings, compare_scorers
    from molyneux.studies.compare.summary import headline

    found = compare_scorers(
        model,
        selection,
        out=out,
        seed=seed,
        settings=ComparisonSettings(tuple(scorer or ()), all_units, areas, passes),
        on_photo=progress_line(),
        note=note,
    )
    if not is_first_process():
        return 0
    if as_json:
        show_json(
            {
                "run": str(found.folder),
                "photos": found.photos,
                "all_units_photos": found.whole,
                "effects": str(found.effects),
                "rows": found.rows,
            }
        )
        return 0
    show(f"{found.photos} photos in {found.folder}; `molyneux table` prints all tables")
    show("Spearman with a unit's exact effect at zero (uniform units, the caption's first noun)")
    for row in headline(found.rows):
        rank = "-" if row["spearman"] is None else f"{row['spearman']:.3f}"
        ends = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
        show(f"  {row['scorer']}, {row['ranking']}: {rank}{ends}, sign {row['sign_agreement']:.2f}")
    show(f"effects, to score others against: {found.effects}")
    return 0
