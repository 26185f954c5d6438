"""`molyneux demo`: the main job, on sample photos that come with a dependency."""

from __future__ import annotations

from molyneux.cli.model_choice import ModelChoice, takes_model
from molyneux.cli.options import AsJson, Opens, Out, open_page
from molyneux.cli.output import note, show_text


@takes_model("preset")
def demo(model: ModelChoice, out: Out = None, opens: Opens = False, as_json: AsJson = False) -> int:
    """Explain the sample photos. Writes the page; fetches what the preset needs."""
    model.begin()
    from molyneux.cli.explain import run_explanation
    from molyneux.data.samples import CREDITS, sample_photos
    from molyneux.explain.settings import Settings

    captioner = model.load()
    samples = sample_photos()
    for name in samples:
        note(f"{name}: {CREDITS[name]}")
    explained, page = run_explanation(captioner, list(samples.values()), Settings(), out, as_json)
    if not as_json:
        show_text(f"\nOpen {page.resolve()} in a browser.")
    if opens:
        open_page(page)
    return int(bool(explained.bad))
