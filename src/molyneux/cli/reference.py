"""`molyneux reference`: how every unit scores on photos in general."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Out, ScorerName
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.progress import Parts

if TYPE_CHECKING:
    from molyneux.data.dataset import Item
    from molyneux.data.selection import Selection


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
    partners: Annotated[
        str | None,
        typer.Option(
            "--partners",
            help="Photos of their own, none of them in DATA, for controls and partners.",
            metavar="DATA2",
        ),
    ] = None,
    partner_images: Annotated[
        int, typer.Option("--partner-images", min=1, help="At most this many of those.")
    ] = 400,
    partner_where: Annotated[
        list[str] | None, typer.Option("--partner-where", help="Which of those, as --where says.")
    ] = None,
    scorer: ScorerName = None,
    name: Annotated[str | None, typer.Option("--name", help="What the photos are.")] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Measure a reference table. Specific scores, controls and studies need one.

    Take photos that will not be explained or studied: those score themselves too low. Photos whose
    units are another's controls come from DATA too, unless --partners names photos for them. Some
    of those are also kept as partners: as what the model is given of them, to be shown instead of
    the photo explained.
    """
    import shutil

    from molyneux.data.apart import require_apart

    model.require_ready()
    selection, apart = _chosen(data, kind, where, images, seed), None
    if partners is not None:
        apart = _chosen(partners, None, partner_where, partner_images, seed)
        require_apart(_photos(selection), _photos(apart), (data, partners))
    model.begin()
    from molyneux.explain.measure_reference import measure_reference
    from molyneux.neurons.ablation import ablation_grid
    from molyneux.neurons.reference import MIN_PHOTOS, save_reference
    from molyneux.neurons.scorers import DEFAULT_SCORER, find_scorer
    from molyneux.store import Run
    from molyneux.words.animals import is_animal

    chosen = find_scorer(scorer or DEFAULT_SCORER.name)
    captioner = model.load()
    if len(selection) < MIN_PHOTOS:
        note(f"molyneux: {len(selection)} photos; {MIN_PHOTOS} or more make a steadier table")
    run = Run.create(
        out,
        "reference",
        hashes=captioner.hashes,
        data=_record(selection),
        **({} if apart is None else {"partners": _record(apart)}),
    )
    try:
        bars = Parts(photo=len(selection), partner=0 if apart is None else len(apart))
        table, left_out = measure_reference(
            captioner,
            _photos(selection),
            data=name or Path(data).name or selection.dataset.name,
            n_listed=max(
                *ablation_grid("full", captioner.language_model.n_units),
                *ablation_grid("short", captioner.language_model.n_units),
            ),
            scorer=chosen,
            partners=None if apart is None else _photos(apart),
            partners_data=Path(partners or "").name,
            on_photo=lambda number, said: bars.reach("photo", number + 1),
            on_partner=lambda number, said: bars.reach("partner", number + 1),
        )
        bars.close()
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
        "controls": {
            "photos": len(table.others),
            "animals": sum(is_animal(other.noun) for other in table.others),
        },
        "partners": {
            "photos": len(table.partners),
            "with_human_nouns": sum(bool(partner.human_nouns) for partner in table.partners),
        },
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
        controls, people = summary["controls"], summary["partners"]["with_human_nouns"]
        show(f"  control photos: {controls['photos']}, of them animals {controls['animals']}")
        show(f"  partner photos: {len(table.partners)}, of them with human nouns {people}")
        for view, sinks in summary["sinks"].items():
            show(f"  sink units, {view}: {' '.join(sinks) or 'none'}")
    return 0


def _chosen(
    place: str, kind: str | None, where: list[str] | None, images: int, seed: int
) -> Selection:
    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select

    selection = select(open_dataset(place, kind=kind), where or [], images, seed)
    for line in left_out_of(selection.dataset):
        note(f"left out of {place}: {line}")
    return selection


def _photos(selection: Selection) -> Iterator[Item]:
    return (item for _, item in selection.items())


def _record(selection: Selection) -> dict[str, Any]:
    return {**selection.dataset.record(), **selection.record()}
