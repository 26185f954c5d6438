"""A training run: features cached, the loop run or resumed, the projection and its record kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from molyneux.errors import UsageError
from molyneux.models.captioner import Parts
from molyneux.store import Run, versions
from molyneux.training.evaluation import held_out_evaluation
from molyneux.training.examples import Example
from molyneux.training.features import cache_features
from molyneux.training.loop import Recipe, TrainingSet, train
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, save_projection

DRAWS_A_VIEW = 2.5


def open_training_run(out: Path | None) -> Run:
    """Return a new training run, or the one in `out` to be resumed."""
    manifest = None if out is None else out / "manifest.json"
    if out is not None and manifest is not None and manifest.exists():
        try:
            kind = json.loads(manifest.read_text(encoding="utf-8")).get("kind")
        except ValueError:
            kind = None
        if kind == "train":
            return Run(out)
    return Run.create(out, "train")


def views_needed(examples: list[Example], recipe: Recipe, most: int) -> list[int]:
    """Return how many views of each example to cache: one for every few times it is drawn."""
    total = sum(example.weight for example in examples)
    if total <= 0:
        raise UsageError("there is nothing to train on: no example has a weight above 0")
    draws = recipe.steps * recipe.batch / total
    return [
        min(most, max(1, math.ceil(draws * example.weight / DRAWS_A_VIEW))) for example in examples
    ]


def train_projection(
    parts: Parts,
    training: list[Example],
    held_out: list[Example],
    layout: Layout,
    recipe: Recipe,
    run: Run,
    *,
    data_name: str,
    views: int = 8,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Projection, list[dict[str, Any]]]:
    """Return the projection of lowest held-out loss and the log; both are in the run folder.

    Raises:
        UsageError: no photo could be read.
        RunError: the folder holds a run with other settings.
    """
    counts = views_needed(training, recipe, views)
    sets = []
    for examples, of_each in ((training, counts), (held_out, [1] * len(held_out))):
        progress = tqdm(range(len(examples)), unit="photo", desc="features", leave=False)
        features, first, refused = cache_features(
            parts.encoder, examples, of_each, run.folder / "features", recipe.seed, progress
        )
        for line in refused:
            note(f"left out: {line}")
        sets.append(TrainingSet(features, first, of_each, examples))
        if not sets[-1].usable():
            raise UsageError("no photo could be read; see the lines above for the reasons")
    model = parts.language_model
    evaluate = held_out_evaluation(model, layout, sets[1])

    def told(linear: Any) -> dict[str, Any]:
        scores = evaluate(linear)
        note(
            f"held out: loss {scores['loss_held_out']:.3f}, hit {scores['hit']:.2f}, "
            f"{scores['captions'][:3]}"
        )
        return scores

    linear, log = train(model, layout, sets[0], recipe, run.folder, told, on_step)
    scored = [entry for entry in log if "loss_held_out" in entry]
    best = min(scored, key=lambda entry: float(entry["loss_held_out"]))
    provenance = {
        "kind": "trained",
        **parts.names,
        "hashes": parts.hashes,
        "layout": layout.record(),
        "data": data_name,
        "examples": dict(Counter(e.source or "photos" for e in training)),
        "photos": len({e.file for e in training}),
        "held_out_photos": len({e.file for e in held_out}),
        "recipe": asdict(recipe),
        "step": best["step"],
        "held_out": {"loss": best["loss_held_out"], "hit": best["hit"]},
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {k: v for k, v in versions().items() if k in ("torch", "transformers")},
        "licence": "MIT",
    }
    projection = Projection(linear.cpu(), provenance)
    with run.writing():
        save_projection(run.folder / "projection.safetensors", projection)
    run.write_bytes("log.jsonl", "".join(json.dumps(e) + "\n" for e in log).encode())
    draw_loss_curve(run, log)
    return projection, log


def draw_loss_curve(run: Run, log: list[dict[str, Any]]) -> None:
    """Write the loss curve, training and held out, as a PNG."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([e["step"] for e in log], [e["loss"] for e in log], lw=0.6, label="training batch")
    scored = [e for e in log if "loss_held_out" in e]
    axes.plot(
        [e["step"] for e in scored],
        [e["loss_held_out"] for e in scored],
        "o-",
        label="held-out photos",
    )
    axes.set(xlabel="step", ylabel="nats per caption token")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=140)
    run.write_bytes("loss.png", buffer.getvalue())
