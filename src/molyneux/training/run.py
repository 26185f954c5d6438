"""A training run: features cached, the loop run or resumed, the projection and its record kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from molyneux.errors import UsageError
from molyneux.models.captioner import Parts
from molyneux.store import Run, versions
from molyneux.studies.share import Share
from molyneux.training.batches import TrainingSet
from molyneux.training.card import NAME, write_card
from molyneux.training.evaluation import Backbone, Evaluator
from molyneux.training.examples import Example, Examples
from molyneux.training.features import cache_features
from molyneux.training.loop import train
from molyneux.training.publish import WEIGHTS
from molyneux.training.recipe import Recipe
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, save_projection

DRAWS_A_VIEW = 2.5


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


@dataclass(frozen=True)
class Conduct:
    """How a run is carried out; of the result it changes the last digits at most.

    Attributes:
        share: this process's.
        accumulate: parts of a step that a process runs one after another.
        checkpoint: steps between checkpoints; at every evaluation if None.
        cache: folder of the features; `features` in the run folder if None.
        backbone: loads what BERTScore needs; None for no BERTScore.
        on_photo: told how many photos this process has encoded, and of how many.
        on_step: told after every step, with the training loss.
        note: told, one line at a time, what takes long or goes wrong.
    """

    share: Share = field(default_factory=Share)
    accumulate: int = 1
    checkpoint: int | None = None
    cache: Path | None = None
    backbone: Backbone | None = None
    on_photo: Callable[[int, int], None] = lambda done, total: None
    on_step: Callable[[int, float], None] = lambda step, loss: None
    note: Callable[[str], None] = _silent


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


def views_needed(examples: Sequence[Example], recipe: Recipe, most: int) -> list[int]:
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
    training: Examples | list[Example],
    held_out: Examples | list[Example],
    layout: Layout,
    recipe: Recipe,
    run: Run,
    *,
    data_name: str,
    views: int = 8,
    record: Mapping[str, Any] | None = None,
    conduct: Conduct | None = None,
) -> tuple[Projection, list[dict[str, Any]]]:
    """Return the projection of lowest held-out loss and the log; both are in the run folder.

    Every process of a share calls this with the same arguments; the first one writes.

    Args:
        record: what else the provenance record says of the data.

    Raises:
        UsageError: no photo could be read, or the batch cannot be split.
        RunError: the folder holds a run with other settings.
    """
    conduct = conduct or Conduct()
    record = dict(record or {})
    training, held_out = Examples.of(training), Examples.of(held_out)
    share, note = conduct.share, conduct.note
    sets: list[TrainingSet] = []
    refused: list[str] = []
    counts = views_needed(training, recipe, views)
    for examples, of_each in ((training, counts), (held_out, [1] * len(held_out))):
        features, first, bad = cache_features(
            parts.encoder,
            examples,
            of_each,
            conduct.cache or run.folder / "features",
            recipe.seed,
            encoder_hash=parts.hashes.get("encoder", ""),
            share=share,
            on_photo=conduct.on_photo,
        )
        for line in bad:
            note(f"left out: {line}")
        refused += bad
        sets.append(TrainingSet(features, first, of_each, examples))
        if not sets[-1].usable():
            raise UsageError("no photo could be read; see the lines above for the reasons")
    model = parts.language_model
    evaluator = Evaluator(model, layout, sets[1], share)

    def told(linear: Any) -> dict[str, Any]:
        scores = evaluator.brief(linear)
        note(
            f"held out: loss {scores['loss_held_out']:.3f}, hit {scores['hit']:.2f}, "
            f"CIDEr-D {scores['cider']:.2f}, {scores['captions'][:3]}"
        )
        return scores

    linear, log = train(
        model,
        layout,
        sets[0],
        recipe,
        run.folder,
        told,
        conduct.on_step,
        share=share,
        accumulate=conduct.accumulate,
        checkpoint=conduct.checkpoint,
        settings={
            **parts.names,
            "dtype": str(model.dtype).removeprefix("torch."),
            "data": record.get("sets"),
            "held_out_categories": record.get("held_out_categories"),
        },
    )
    scored = [entry for entry in log if "loss_held_out" in entry]
    best = min(scored, key=lambda entry: float(entry["loss_held_out"]))
    note("evaluating what was kept, with intervals and controls")
    provenance = {
        "kind": "trained",
        **parts.names,
        "hashes": parts.hashes,
        "layout": layout.record(),
        "patches": parts.encoder.grid.n_patches,
        "data": data_name,
        "examples": dict(Counter(e.source or "photos" for e in training.rows)),
        "photos": len({e.id for e in training.rows}),
        "held_out_photos": len({e.id for e in held_out.rows}),
        "unreadable": len(refused),
        "recipe": asdict(recipe),
        "how": {
            "processes": share.world,
            "accumulate": conduct.accumulate,
            "device": model.device.type,
        },
        "step": best["step"],
        "held_out": {"loss": best["loss_held_out"], "hit": best["hit"]},
        "evaluation": evaluator.whole(linear, conduct.backbone, recipe.seed),
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": {k: v for k, v in versions().items() if k in ("torch", "transformers")},
        "licence": "MIT",
        **record,
    }
    projection = Projection(linear.cpu(), provenance)
    if share.is_first:
        _keep(run, projection, log, parts)
    share.wait()
    return projection, log


def _keep(run: Run, projection: Projection, log: list[dict[str, Any]], parts: Parts) -> None:
    """Write weights, curve and card."""
    with run.writing():
        save_projection(run.folder / WEIGHTS, projection)
    draw_loss_curve(run, log)
    manifest = run.folder / "manifest.json"
    command = json.loads(manifest.read_text(encoding="utf-8")).get("argv", [])
    card = write_card(
        projection.provenance,
        log,
        sha256=projection.hash(),
        command=command,
        versions=versions(),
        limits=parts.limits,
        licences=parts.licences,
    )
    run.write_bytes(NAME, card.encode("utf-8", "backslashreplace"))


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
