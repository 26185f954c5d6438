"""`molyneux explain`: the neurons behind every noun of a photo's caption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molyneux.cli.model_choice import COMPARES, TRUSTS, ModelChoice, takes_model
from molyneux.cli.options import AsJson, Opens, Out, Photos, ScorerName, open_page
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.photos import gather_photos
from molyneux.cli.progress import Stages
from molyneux.errors import printable

if TYPE_CHECKING:
    from molyneux.data.dataset import Item
    from molyneux.explain.claims import Claim
    from molyneux.explain.document import Image, View
    from molyneux.explain.run import Explained
    from molyneux.explain.settings import Settings
    from molyneux.models.seeing_model import SeeingModel

NO_SCALE = (
    "molyneux: no trust scale for this model, so no floor for words asked for: `molyneux trust "
    "DATA --check DATA2` measures one"
)
PLACES: dict[View, str] = {"patches": "at the patches", "last": "where it is written"}


@takes_model(*COMPARES, *TRUSTS, "lens")
def explain(
    photos: Photos,
    model: ModelChoice,
    word: Annotated[
        list[str] | None,
        typer.Option(
            "--word",
            help='Also score this word where the first noun is predicted, and ask "Why did it say '
            'X?" of it; may be given several times.',
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
    sight: Annotated[
        Literal["none", "short", "full"],
        typer.Option(
            "--sight",
            help="What the photo adds to each word, and which units carry it: short, with 8 other "
            "photos; full; none.",
        ),
    ] = "short",
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
    scorer: ScorerName = None,
    of: Annotated[
        Literal["logit", "logprob"] | None,
        typer.Option("--of", help="What gradient-activation attributes; logit if not given."),
    ] = None,
    site: Annotated[
        Literal["activation", "preactivation"] | None,
        typer.Option(
            "--site",
            help="Where it does; preactivation is the paper's; activation if not given.",
        ),
    ] = None,
    out: Out = None,
    opens: Opens = False,
    as_json: AsJson = False,
) -> int:
    """Find the units behind every noun of a caption.

    They are named, decoded, located and switched off, and the page is written.
    """
    from molyneux.errors import UsageError
    from molyneux.explain.folder import require_place

    if any(not text.strip() for text in word or ()):
        raise UsageError("--word needs a word; give one, as in --word dog")
    model.require_ready()
    paths = gather_photos(photos)
    if out is not None:
        require_place(out)
    model.begin()
    from molyneux.explain.settings import Settings
    from molyneux.neurons.scorers import DEFAULT_SCORER, find_scorer, restore_scorer, scorer_text

    record = find_scorer(scorer or DEFAULT_SCORER.name).record()
    chosen = restore_scorer(record | {k: v for k, v in (("of", of), ("site", site)) if v})
    settings = Settings(
        grid=grid,
        top=top,
        words=tuple(word or ()),
        ablate=ablate,
        sight=sight,
        positions=positions,
        seeds=seeds,
        seed=seed,
        scorer=chosen,
    )
    captioner = model.load()
    if captioner.reference is None or not captioner.reference.fits(chosen):
        note(
            "molyneux: no reference table for this model and scorer, so no specific ranking and no "
            "other photo as control; `molyneux reference DATA --scorer "
            f"{scorer_text(chosen.record())}` measures one"
        )
    if captioner.trust is None and settings.words:
        note(NO_SCALE)
    explained, page = run_explanation(captioner, paths, settings, out, as_json)
    if not as_json:
        show(f"page: {page}")
    if opens:
        open_page(page)
    return int(bool(explained.bad))


def run_explanation(
    captioner: SeeingModel,
    photos: Sequence[Path | Item],
    settings: Settings,
    out: Path | None,
    as_json: bool,
) -> tuple[Explained, Path]:
    """Explain photos into a run folder, print what was found, and return the run and its page."""
    import time

    from molyneux.explain.run import explain_photos
    from molyneux.pages.one_file import write_report
    from molyneux.records import to_plain

    started = time.monotonic()
    begun, stages = 0, Stages()

    def on_photo(number: int, image: Image) -> None:
        nonlocal begun
        stages.close()
        begun += 1
        elapsed = time.monotonic() - started
        left = elapsed / begun * (len(photos) - number - 1)
        said = f"error: {image.error}" if image.error else image.caption
        when = f"{elapsed:.0f} s, {left:.0f} s left"
        line = f"[{number + 1}/{len(photos)}, {when}] {printable(image.path)}: {said}"
        (complain if image.error else note)(line)
        if not as_json:
            show_summary(image)

    note(f"explaining {len(photos)} photo{'s' if len(photos) > 1 else ''}")
    try:
        explained = explain_photos(captioner, photos, settings, out, on_photo, stages.reach)
    except BaseException as error:
        stages.close()
        for line in getattr(error, "__notes__", ()):
            note(f"molyneux: {line}")
        raise
    page = write_report(explained.folder)
    if as_json:
        show_json(to_plain(explained.document()))
    return explained, page


def show_summary(image: Image) -> None:
    """Print what matters most of one photo."""
    from molyneux.explain.claims import UNITS, claim_of, percent, probability
    from molyneux.explain.sight_text import sight_lines
    from molyneux.explain.text import patches_say, seen_otherwise

    if image.error:
        return
    show(f"{printable(image.path)}: {image.caption}")
    for line in (seen_otherwise(image), image.note, patches_say(image)):
        if line:
            show(f"  {line}")
    for word in image.words:
        note_ = f" ({word.note})" if word.note else ""
        trust = f", {word.trust.short}" if word.trust and word.trust.short else ""
        show(f"  {word.word}  p = {probability(word.probability)}{trust}{note_}")
        if word.warning:
            show(f"    {word.warning}")
        for line in sight_lines(None if word.warning else word.sight):
            show(f"    {line}")
        for view, where in PLACES.items():
            rows = word.ranked(view=view)
            names = ", ".join(
                f"{row.name} ({' '.join(token.strip() for token in row.tokens[:3])})"
                for row in rows[:4]
            )
            show(f"    units of the largest total {where}: {names}")
        for curves in () if word.warning else word.curves:
            claim = claim_of(curves)
            if claim is not None and claim.units == UNITS:
                show(
                    f"    100 units most specific {PLACES[curves.view]}, off at "
                    f"{curves.positions} positions, leave {percent(claim.own)} of its probability; "
                    f"those of another photo ({claim.other_noun}), {percent(claim.other)}"
                    f"{_beside(claim)}: no evidence of sight"
                )


def _beside(claim: Claim) -> str:
    """Say what an absent word's own units leave of it, where that was measured."""
    from molyneux.explain.claims import percent

    if claim.absent is None:
        return ""
    return f"; of “{claim.absent_word}”, not named here, its own 100, {percent(claim.absent)}"
