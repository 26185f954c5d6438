"""`molyneux demo`: the main job, on sample photos that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer

from molyneux.cli.model_choice import ModelChoice, takes_model
from molyneux.cli.options import AsJson, Opens, Out, open_page
from molyneux.cli.output import note, show_text

GRID = (0, 100)
"""Fewer than of `explain`, and five photos of the thirteen: a first look should take a minute."""


@takes_model("preset")
def demo(
    model: ModelChoice,
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="How many; there are 13.")
    ] = 5,
    out: Out = None,
    opens: Opens = False,
    as_json: AsJson = False,
) -> int:
    """Explain sample photos. Writes the page; fetches what the preset needs.

    Units are switched off 100 at a time; `molyneux explain` tries more numbers.
    """
    from molyneux.data.samples import sample_items
    from molyneux.errors import UsageError

    samples = sample_items()
    if images > len(samples):
        raise UsageError(
            f"there are {len(samples)} sample photos, not {images}; give --images less"
        )
    model.begin()
    from molyneux.cli.explain import run_explanation
    from molyneux.explain.settings import Settings

    captioner = model.load()
    samples = samples[:images]
    for sample in samples:
        note(f"{sample.id}: {sample.credit}")
    explained, page = run_explanation(captioner, samples, Settings(grid=GRID), out, as_json)
    if not as_json:
        show_text(f"\nOpen {page.resolve()} in a browser.")
    if opens:
        open_page(page)
    return int(bool(explained.bad))
