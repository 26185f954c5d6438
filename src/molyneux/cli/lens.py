"""`molyneux lens`: measuring the lens that reads what patches hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from molyneux.cli.data import Kind, Where
from molyneux.cli.model_choice import SEES, ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import complain, note, show, show_json
from molyneux.cli.progress import Bar, clock

UNFINISHED = ".unfinished"


@takes_model(*SEES)
def lens(
    action: Annotated[
        Literal["build"], typer.Argument(help="Measure a Jacobian lens.", metavar="ACTION")
    ],
    model: ModelChoice,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A data set, a folder of photos or a .txt that lists them.", metavar="DATA"
        ),
    ] = None,
    sentences: Annotated[
        bool,
        typer.Option(
            "--sentences", help="Instead of photos: plain sentences, read where patches would be."
        ),
    ] = False,
    where: Where = None,
    images: Annotated[
        int, typer.Option("--images", min=1, help="At most this many photos, drawn by --seed.")
    ] = 48,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    kind: Kind = None,
    name: Annotated[str | None, typer.Option("--name", help="What the photos are.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The lens's file, beside which unfinished work is kept."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Measure the Jacobian lens, which reads what patches hold; give it with --lens.

    Takes about a minute a photo. Ended before, it goes on where it was when it is called again.
    """
    from molyneux.errors import UsageError
    from molyneux.store import Run, require_free

    if (data is None) == (not sentences):
        raise UsageError("lens build takes photos (DATA) or --sentences; give one of them")
    if out is None:
        raise UsageError("lens build needs --out FILE, as in --out lens.safetensors")
    require_free(out)
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give --out a file, as in {out / 'lens.safetensors'}")
    model.require_ready()
    selection = None
    if data is not None:
        from molyneux.data.dataset import left_out_of
        from molyneux.data.open import open_dataset
        from molyneux.data.selection import select

        selection = select(open_dataset(data, kind=kind), where or [], images, seed)
        for line in left_out_of(selection.dataset):
            note(f"left out of {data}: {line}")
    model.begin()
    from molyneux.explain.measure_lens import (
        MIN_CONTEXTS,
        chosen_record,
        lens_provenance,
        measure_lens,
        photo_contexts,
        sentence_contexts,
    )
    from molyneux.neurons.jacobian import LensBuilder
    from molyneux.neurons.lens import save_lens
    from molyneux.words.sentences import PLAIN_SENTENCES

    chosen, total, what, of = list(PLAIN_SENTENCES), len(PLAIN_SENTENCES), "sentence", "tokens"
    called = "plain sentences"
    if selection is not None:
        chosen, total, what, of = selection.ids, len(selection), "photo", "patches"
        called = name or Path(str(data)).name or selection.dataset.name
    unfinished = out.with_name(out.name + UNFINISHED)
    begun = None
    if unfinished.is_file():
        begun = LensBuilder.restore(unfinished, chosen_record(chosen, data=called, of=of))
    captioner = model.load()
    provenance = lens_provenance(captioner, chosen, data=called, of=of)
    if selection is None:
        contexts = sentence_contexts(captioner, PLAIN_SENTENCES)
    else:
        contexts = photo_contexts(captioner, (item for _, item in selection.items()))
    if total < MIN_CONTEXTS:
        note(f"molyneux: {total} {what}s; {MIN_CONTEXTS} or more make a steadier lens")
    builder = begun or LensBuilder(dict(provenance))
    builder.require(provenance, unfinished)
    before = len(builder.measured) + len(builder.left_out)
    if begun is not None:
        note(f"molyneux: goes on after {before} of {total} {what}s")
    bar = Bar(total, what, done=before)
    said = _Forecast(total - before, what)
    with Run.writing():
        out.parent.mkdir(parents=True, exist_ok=True)

    def on_context(number: int, caption: str) -> None:
        if len(builder.measured) + len(builder.left_out) > bar.done:
            with Run.writing():
                builder.save(unfinished)
            bar.reach(len(builder.measured) + len(builder.left_out), caption)

    measure_lens(captioner, contexts, builder, on_context=on_context, on_part=said.on_part)
    bar.close()
    found = builder.build()
    with Run.writing():
        save_lens(out, found)
    unfinished.unlink(missing_ok=True)
    for line in builder.left_out.values():
        complain(f"left out: {line}")
    summary: dict[str, Any] = {
        "lens": str(out),
        "of": provenance["of"],
        "measured": len(builder.measured),
        "left_out": list(builder.left_out.values()),
        "layers": len(found.jacobians),
    }
    if as_json:
        show_json(summary)
    else:
        show(f"{out}: {summary['measured']} {what}s; use it with --lens")
    return 0


class _Forecast:
    """Says once, before the first photo is done, how long all of them will take."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._first: tuple[int, float] | None = None
        self._said = False

    def on_part(self, done: int, of: int) -> None:
        """Be told that so many of a photo's coordinates are done."""
        now = time.monotonic()
        if self._said:
            return
        if self._first is None:
            self._first = (done, now)  # the first part warms up
            return
        each = (now - self._first[1]) / (done - self._first[0]) * of
        note(
            f"molyneux: about {clock(each)} for a {self._what}, {clock(each * self._total)} for "
            f"all {self._total}; what is done is kept when it is ended before"
        )
        self._said = True
