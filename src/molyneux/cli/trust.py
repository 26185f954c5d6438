"""`molyneux trust`: how often a word of this probability is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Out
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.progress import Bar

if TYPE_CHECKING:
    from molyneux.models.trust import TrustScale


@takes_model(*SEES)
def trust(
    data: Annotated[
        str,
        typer.Argument(
            help="Captioned photos that set the scale: a data set or a caption file.",
            metavar="DATA",
        ),
    ],
    model: ModelChoice,
    check: Annotated[str, typer.Option("--check", help="Other captioned photos, that verify it.")],
    where: Where = None,
    images: Annotated[
        int | None,
        typer.Option("--images", min=1, help="At most this many of either, drawn by --seed."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    kind: Kind = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Measure a trust scale: how often a word of this probability is right.

    Take photos that the projection was not trained on, with human captions: 300 or more for the
    scale and 200 to verify it. Each is captioned and read once.
    """
    import shutil

    from molyneux.data.apart import require_apart
    from molyneux.data.dataset import left_out_of
    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.errors import UsageError
    from molyneux.records import to_plain
    from molyneux.statistics.calibration import LEAST

    model.require_ready()
    chosen = [
        select(open_dataset(place, kind=kind), ["captions", *(where or [])], images, seed)
        for place in (data, check)
    ]
    for place, selection in zip((data, check), chosen, strict=True):
        for line in left_out_of(selection.dataset):
            note(f"left out of {place}: {line}")
    if len(chosen[0]) < LEAST:
        raise UsageError(
            f"{data} has {len(chosen[0])} photos with captions, and a trust scale takes {LEAST} or "
            "more; name others, or more --images"
        )
    first, second = ((item for _, item in selection.items()) for selection in chosen)
    # Of two sets, files that are called alike may be two photos.
    require_apart(first, second, (data, check), by_name=False)
    model.begin()
    from molyneux.explain.measure_trust import TrustPhotos, measure_trust
    from molyneux.models.trust import save_trust
    from molyneux.store import Run

    captioner = model.load()
    records = [
        _without_places(selection.dataset.record(), selection.record(), place)
        for selection, place in zip(chosen, (data, check), strict=True)
    ]
    run = Run.create(out, "trust", hashes=captioner.hashes, data=records)
    try:
        bar = Bar(sum(map(len, chosen)), "photo")
        sets, verifying = (
            TrustPhotos((item for _, item in selection.items()), record)
            for selection, record in zip(chosen, records, strict=True)
        )
        scale, left_out = measure_trust(
            captioner,
            sets,
            verifying,
            on_photo=lambda number, said: bar.reach(number + 1),
        )
        bar.close()
        path = run.folder / "trust.json"
        with run.writing():
            save_trust(path, scale)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    for line in left_out:
        complain(f"left out: {line}")
    if not scale.is_verified:
        note("molyneux: the scale is not verified, and nothing is claimed with it")
    if as_json:
        summary: dict[str, Any] = to_plain(scale)
        del summary["photos"], summary["schema"]
        show_json(
            {
                "trust": str(path),
                "verified": scale.is_verified,
                "floor_verified": scale.floor_is_verified,
                **summary,
                "left_out": left_out,
            }
        )
    else:
        show_scale(path, scale)
    return 0


def show_scale(path: Path, scale: TrustScale) -> None:
    """Print a scale and how it was verified."""
    show(f"{path}: {len(scale.photos)} photos; use it with --trust")
    checked = {} if scale.check is None else {each.least: each for each in scale.check.bins}
    show("  first nouns: probability, right on, 95 % interval; on the photos that set no bin")
    for each in scale.bins:
        other = checked.get(each.least)
        beside = "no photo" if other is None else _rate(other.right, other.photos, other)
        show(f"    {each.least:.2g} to {each.below:.2g}: {_rate(each.right, each.photos, each)}")
        show(f"      checked: {beside}")
    for name, found in (("check", scale.check), ("control, wrong captions", scale.control)):
        if found is not None:
            verdict = "fits" if found.fits else "does not fit"
            show(
                f"  {name}: calibration error {found.error:.3f} (p = {found.p:.2g}: {verdict}), "
                f"Brier {found.brier:.3f}, with one rate for all {found.brier_of_one_rate:.3f}"
            )
    show(f"  {'verified' if scale.is_verified else 'not verified'}")
    show("  nouns asked for: probability, right on, 95 % interval over photos")
    for asked in scale.asked:
        show(
            f"    {asked.least:.2g} to {asked.below:.2g}: {_rate(asked.right, asked.pairs, asked)}"
        )
    if scale.floor is None:
        show("  floor: none")
    else:
        under = scale.floor_check
        beside = "too few photos" if under is None else _rate(under.right, under.pairs, under)
        show(
            f"  floor: {scale.floor:.2g}; within a decade under it on the photos that did not set "
            f"it: {beside}{'' if scale.floor_is_verified else '; not verified'}"
        )


def _rate(right: int, n: int, interval: Any) -> str:
    return f"{right} of {n} ({100 * interval.low:.1f} to {100 * interval.high:.1f} %)"


def _without_places(
    dataset: dict[str, Any], selection: dict[str, Any], place: str
) -> dict[str, Any]:
    """Return what a data set and a choice of its photos are, and nothing of the machine's paths."""
    kept = {name: dataset.get(name) for name in ("name", "licence", "annotations")}
    chosen = {name: selection[name] for name in ("images", "seed", "chosen", "ids_sha256")}
    conditions = [
        f"{name}={Path(value).name}" if value else name
        for name, _, value in (condition.partition("=") for condition in selection["where"])
    ]
    return {"data": Path(place).name, **kept, **chosen, "where": conditions}
