"""`molyneux explain`: the neurons behind every noun of a photo's caption."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from molyneux.cli.model_choice import COMPARES, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Out, Photos, note, show, show_json

if TYPE_CHECKING:
    from molyneux.explain.photo import Settings
    from molyneux.models.seeing_model import SeeingModel


@takes_model(*COMPARES)
def explain(
    photos: Photos,
    model: ModelChoice,
    word: Annotated[
        list[str] | None,
        typer.Option(
            "--word",
            help="Also score this word where the first noun is predicted; may be given several "
            "times.",
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Units listed in each ranking.")] = 100,
    ablate: Annotated[
        Literal["first", "all", "none"],
        typer.Option(
            "--ablate",
            help="Whose units are switched off: the first noun's (and those "
            "of words asked for), all words', none.",
        ),
    ] = "first",
    grid: Annotated[
        Literal["short", "full"],
        typer.Option(
            "--grid", help="short: 0, 10, 50, 100, 1.4 % of all units; full: the paper's."
        ),
    ] = "short",
    positions: Annotated[
        Literal["all", "patches"],
        typer.Option("--positions", help="Where units are switched off."),
    ] = "all",
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Random controls; 3, full grid 5.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random controls.")] = 0,
    of: Annotated[
        Literal["logit", "logprob"], typer.Option("--of", help="What is attributed.")
    ] = "logit",
    site: Annotated[
        Literal["activation", "preactivation"],
        typer.Option("--site", help="Where; preactivation is the paper's."),
    ] = "activation",
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Find the units behind every noun of a caption.

    They are named, decoded, located and switched off, and the page is written.
    """
    from molyneux.explain.photo import Settings
    from molyneux.neurons.ablation import ablation_grid

    captioner = model.load()
    settings = Settings(
        grid=ablation_grid(grid, captioner.language_model.n_units),
        top=top,
        words=tuple(word or ()),
        ablate=ablate,
        positions=positions,
        seeds=seeds or (5 if grid == "full" else 3),
        seed=seed,
        of=of,
        site=site,
    )
    if captioner.reference is None or not captioner.reference.fits(of, site):
        note(
            "molyneux: no reference table for this model, target and site, so no specific "
            "ranking and no other photo as control; `molyneux reference` measures one"
        )
    document = run_explanation(captioner, list(photos), settings, out)
    if as_json:
        show_json(document)
    else:
        for image in document["images"]:
            show_summary(image)
        show(f"page: {Path(document['run']) / 'report.html'}")
    return int(any(image["error"] for image in document["images"]))


def run_explanation(
    captioner: SeeingModel, photos: list[Path], settings: Settings, out: Path | None
) -> dict[str, Any]:
    """Return the document of photos explained into a new run folder, its page written."""
    import shutil
    import time

    import torch

    from molyneux.explain.run import explain_photos
    from molyneux.report import write_report
    from molyneux.store import Run

    run = Run.create(
        out, "explain", seed=settings.seed, threads=torch.get_num_threads(), hashes=captioner.hashes
    )
    started = time.monotonic()
    finished = 0

    def on_photo(number: int, image: dict[str, Any]) -> None:
        nonlocal finished
        finished = number + 1
        elapsed = time.monotonic() - started
        left = elapsed / finished * (len(photos) - finished)
        said = f"error: {image['error']}" if image["error"] else image["caption"]
        when = f"{elapsed:.0f} s, {left:.0f} s left"
        note(f"[{finished}/{len(photos)}, {when}] {image['path']}: {said}")

    try:
        document = explain_photos(captioner, photos, settings, run, on_photo)
    except BaseException:
        # What is finished is whole and stays; a run without a photo is nothing.
        if finished == 0:
            shutil.rmtree(run.folder, ignore_errors=True)
        else:
            note(f"molyneux: {finished} of {len(photos)} photos are in {run.folder}")
        raise
    write_report(run.folder)
    return document


def show_summary(image: dict[str, Any]) -> None:
    """Print what matters most of one photo."""
    from molyneux.report.claims import percent, probability

    if image["error"]:
        return
    show(f"{image['path']}: {image['caption']}")
    if image["note"]:
        show(f"  {image['note']}")
    for word in image["words"]:
        note_ = f" ({word['note']})" if word["note"] else ""
        show(f"  {word['word']}  p = {probability(word['probability'])}{note_}")
        for view, where in (("patches", "at the patches"), ("last", "where it is written")):
            rows = word["specific_units"][view] or word["units"][view]
            kind = "most specific" if word["specific_units"][view] else "top"
            names = ", ".join(
                f"{_unit_name(row)} ({' '.join(t.strip() for t in row['tokens'][:3])})"
                for row in rows[:4]
            )
            show(f"    {kind} units {where}: {names}")
        for name, where in (
            ("ablation", "at the patches"),
            ("ablation_last", "where it is written"),
        ):
            curve = word[name]
            if curve is None or 100 not in curve["grid"] or curve["specific"] is None:
                continue
            at = curve["grid"].index(100)
            own, other = curve["specific"][at], curve["other_specific"][at]
            if own is not None and other is not None:
                show(
                    f"    100 units most specific {where}, off at {curve['positions']} positions, "
                    f"leave {percent(own)} of its probability; those of another photo "
                    f"({curve['other_noun']}), {percent(other)}"
                )


def _unit_name(row: dict[str, Any]) -> str:
    """Return a unit as `molyneux decode` takes it, in the direction in which it acted."""
    return f"L{row['layer']}.u{row['unit']}{'-' if row['sign'] < 0 else ''}"
