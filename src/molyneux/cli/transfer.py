"""`molyneux transfer`: do the same units keep their concepts on photos of another source?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import COMPARES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, StudyFolder
from molyneux.cli.output import note, show, show_json
from molyneux.cli.study import progress_line, say_bad


@takes_model(*COMPARES, "lens")
def transfer(
    run: StudyFolder,
    data: Annotated[
        str,
        typer.Argument(
            help="Another data set, with captions, categories or classes.", metavar="DATA"
        ),
    ],
    model: ModelChoice,
    where: Where = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="This many of them, drawn by the seed.")
    ] = None,
    per_concept: Annotated[
        int,
        typer.Option("--per-concept", min=5, help="Photos of each concept that are measured."),
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Of torch; a resumed run keeps its number."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a photo could not be read.")
    ] = False,
    kind: Kind = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Run folder, where a transfer goes on; molyneux-runs/<time> here if not given.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Measure on DATA the units that RUN found for concepts elsewhere. Run it again to resume.

    RUN is a folder of `molyneux study OTHER --experiments E8`. Its units, signs and words are
    taken as they are.
    """
    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.pages.one_file import write_report
    from molyneux.processes import is_first_process
    from molyneux.studies.e9_transfer.experiment import TRANSFER, Taken
    from molyneux.studies.finished import bad_photos, good_photos
    from molyneux.studies.folder import find_tables
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.transfer import run_transfer, transfer_settings

    given = StudySettings(seed=seed, threads=threads, per_class=per_concept)
    settings = transfer_settings(run, given)
    model.require_reference()
    model.require_ready()
    selection = select(open_dataset(data, kind=kind), where or [], images, seed)
    if is_first_process():
        for line in left_out_of(selection.dataset):
            note(f"left out of {data}: {line}")
    shared = Taken.of(settings, selection).shared
    note(
        f"{len(shared.ids)} photos of {len(shared.concepts)} concepts: {' '.join(shared.concepts)}"
    )
    for concept, there, here in shared.left_out:
        note(f"left out {concept}: units were found on {there} photos, {here} are here")
    model.begin()
    captioner = model.load()
    if captioner.lens is None:
        measured = model.measured_lens(captioner.language_model)
        captioner = captioner if measured is None else captioner.with_lens(measured)
    if captioner.lens is None:
        note(
            "molyneux: no lens comes with the model, so that sets are not read; give one by --lens"
        )
    done = run_transfer(
        run,
        captioner,
        selection,
        out=out,
        settings=given,
        on_photo=progress_line(),
        note=note,
    )
    if not is_first_process():
        return 0
    page = write_report(done.folder)
    good, bad = len(good_photos(done.folder, TRANSFER)), bad_photos(done.folder, TRANSFER)
    say_bad(good, bad)
    verdicts = [verdict for result in done.results for verdict in result.verdicts]
    if as_json:
        tables = find_tables(done.results, "E9.transfer")
        show_json(
            {
                "run": str(done.folder),
                "photos": good,
                "bad": [{"id": name, "error": error} for name, error in bad],
                "concepts": list(shared.concepts),
                "left_out": [
                    {"concept": concept, "found_on": there, "here": here}
                    for concept, there, here in shared.left_out
                ],
                "tables": [table.document() for table in tables],
                "verdicts": [
                    {"claim": verdict.claim, "verdict": verdict.verdict} for verdict in verdicts
                ],
                "report": str(page),
            }
        )
    else:
        for verdict in verdicts:
            show(f"{verdict.verdict}: {verdict.claim}")
        show(f"{good} photos in {done.folder}; page: {page}")
    return int(strict and bool(bad))
