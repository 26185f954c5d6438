"""`molyneux demo`: the main job, on sample photos that come with a dependency."""

from __future__ import annotations

from molyneux.cli.model_choice import ModelChoice, takes_model
from molyneux.cli.options import AsJson, Out
from molyneux.cli.output import note, show_json, show_text


@takes_model("preset")
def demo(model: ModelChoice, out: Out = None, as_json: AsJson = False) -> int:
    """Explain the sample photos. Writes the page; fetches what the preset needs."""
    model.begin()
    from pathlib import Path

    from molyneux.cli.explain import run_explanation, show_summary
    from molyneux.data.samples import CREDITS, sample_photos
    from molyneux.explain.photo import Settings
    from molyneux.neurons.ablation import ablation_grid
    from molyneux.records import to_plain

    captioner = model.load()
    samples = sample_photos()
    for name in samples:
        note(f"{name}: {CREDITS[name]}")
    settings = Settings(grid=ablation_grid("short", captioner.language_model.n_units))
    document = run_explanation(captioner, list(samples.values()), settings, out)
    if as_json:
        show_json(to_plain(document))
    else:
        for image in document.images:
            show_summary(image)
        show_text(f"\nOpen {(Path(document.run) / 'report.html').resolve()} in a browser.")
    return int(any(image.error for image in document.images))
