"""A training run: features cached, the loop run or resumed, the projection and its record kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from molyneux.errors import PhotoError, UsageError
from molyneux.models.parts import Parts
from molyneux.processes import Process, together
from molyneux.store import Run, versions
from molyneux.training.batches import TrainingSet, drawn_together, require_split
from molyneux.training.begin_token import require_begin
from molyneux.training.card import NAME, draw_loss_curve, write_card
from molyneux.training.evaluation import BRIEF, Backbone, Evaluator, said_of_people
from molyneux.training.examples import Example, Examples
from molyneux.training.features import cache_features
from molyneux.training.live_features import LiveFeatures
from molyneux.training.loop import train
from molyneux.training.loss import require_end_token
from molyneux.training.permuted import PERMUTED
from molyneux.training.publish import WEIGHTS
from molyneux.training.recipe import Recipe
from molyneux.training.run_folder import (
    MANIFEST,
    SHA256,
    keep_unreadable,
    read_unreadable,
    taken_back,
)
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, save_projection

DRAWS_A_VIEW = 2.5
FEATURES = ("cache", "live")


def _silent(_: str) -> None:
    """Say nothing: a library is quiet unless its caller listens."""


@dataclass(frozen=True)
class Conduct:
    """How a run is carried out.

    Of the result it changes the last digits at most, except where photos cannot be read: cached,
    they are left out before anything is drawn, so every step sees other photos than live, where
    each of them is drawn anew.

    Attributes:
        process: this one, and how many there are.
        features: `cache`, of the photos trained on, in the run folder; or `live`, made again at
            every step.
        workers: threads of this process that read photos for live features.
        accumulate: parts of a step that a process runs one after another.
        recompute: whether the language model's layers are computed again on the way back.
        checkpoint: steps between checkpoints; at every evaluation if None.
        keep_at: steps whose projection is kept too, as `projection-000400.safetensors`.
        cache: folder of the features; `features` in the run folder if None.
        backbone: loads what BERTScore needs; None for no BERTScore.
        on_photo: told how many photos this process has encoded, and of how many.
        on_step: told after every step, with the training loss.
        on_end: told how many steps there are, once that is decided.
        note: told, one line at a time, what takes long or goes wrong.
    """

    process: Process = field(default_factory=Process)
    features: str = "cache"
    workers: int = 4
    accumulate: int = 1
    recompute: bool = False
    checkpoint: int | None = None
    keep_at: tuple[int, ...] = ()
    cache: Path | None = None
    backbone: Backbone | None = None
    on_photo: Callable[[int, int], None] = lambda done, total: None
    on_step: Callable[[int, float], None] = lambda step, loss: None
    on_end: Callable[[int], None] = lambda steps: None
    note: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            UsageError: there is no such way to have features, or a number is below 1.
        """
        if self.features not in FEATURES:
            raise UsageError(
                f"there are no {self.features!r} features; take {' or '.join(FEATURES)}"
            )
        if self.workers < 1:
            raise UsageError("photos are read by one thread or more; give --workers 1")
        if self.accumulate < 1:
            raise UsageError("a step has one part or more; give --accumulate 1")
        if self.checkpoint is not None and self.checkpoint < 1:
            raise UsageError(
                "between checkpoints there is one step or more; give --checkpoint 1, or leave it "
                "out for one at every evaluation"
            )


def views_needed(examples: Sequence[Example], recipe: Recipe, most: int) -> list[int]:
    """Return how many views of each example to cache: one for every few times it is drawn."""
    total = sum(example.weight for example in examples)
    if total <= 0:
        raise UsageError("there is nothing to train on: no example has a weight above 0")
    draws = recipe.steps * recipe.batch / total

    def expected(example: Example) -> float:
        return draws * example.weight / drawn_together(example.captions, recipe)

    return [min(most, max(1, math.ceil(expected(example) / DRAWS_A_VIEW))) for example in examples]


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
    licence: str | None = None,
    record: Mapping[str, Any] | None = None,
    conduct: Conduct | None = None,
) -> tuple[Projection, list[dict[str, Any]]]:
    """Return the projection of lowest held-out loss and the log; both are in the run folder.

    Every process calls this with the same arguments; the first one writes, and removes
    the folder again where this fails before anything was computed.

    Args:
        licence: of the projection, for its record and card; they name none if None.
        record: what else the provenance record says of the data.

    Raises:
        UsageError: the begin token is not the tokenizer's or it has no end token, no photo could be
            read, the batch cannot be split, or live features or recomputed layers are not to be had
            here.
        RunError: the folder holds a run with other settings, another process has ended, or the loss
            is no finite number any more.
    """
    conduct = conduct or Conduct()
    record = dict(record or {})
    training, held_out = Examples.of(training), Examples.of(held_out)
    process, note, model = conduct.process, conduct.note, parts.language_model
    refused: list[str] = []
    live: LiveFeatures | None = None
    with taken_back(run, process), together(process), ExitStack() as after:
        counts = views_needed(training, recipe, views)
        before = read_unreadable(run.folder)
        require_begin(model.tokenizer, layout.begin, parts.names["language_model"])
        if recipe.end_token:
            require_end_token(model.tokenizer, parts.names["language_model"])
        require_split(recipe.batch, process, conduct.accumulate, recipe.captions_together)
        if conduct.features == "live":
            live = LiveFeatures(parts.encoder, training, counts, recipe.seed, conduct.workers)
            after.callback(live.close)
            drawn_from = TrainingSet(live, live.first, counts, training)
        else:
            drawn_from, refused = _cached(
                parts, training, counts, recipe, run, conduct, before.get("training")
            )
        watched, bad = _cached(
            parts, held_out, [1] * len(held_out), recipe, run, conduct, before.get("held_out")
        )
        if process.is_first and not before:
            keep_unreadable(
                run, training=(drawn_from.first, refused), held_out=(watched.first, bad)
            )
        evaluator = Evaluator(model, layout, watched, process, recipe.end_token)

        def told(linear: Any) -> dict[str, Any]:
            scores = evaluator.brief(linear)
            note(
                f"held out: loss {scores['loss_held_out']:.4f}, hit {scores['hit']:.3f}, "
                f"CIDEr-D {scores['cider']:.3f}, {said_of_people(scores)}, "
                f"{scores['captions'][:3]}"
            )
            if live is not None:
                note(f"waited {live.waited:.0f} s for photos so far (--workers {conduct.workers})")
            return scores

        def describe(step: int) -> dict[str, Any]:
            """Return the record of the weights of a step, but for how good they are."""
            return {
                "kind": "trained",
                **parts.names,
                "hashes": parts.hashes,
                "layout": layout.record(),
                "patches": parts.encoder.grid.n_patches,
                "data": data_name,
                "examples": dict(Counter(e.source or "photos" for e in training.rows)),
                "photos": len({e.id for e in training.rows}),
                "held_out_photos": len({e.id for e in held_out.rows}),
                "recipe": asdict(recipe),
                "how": {
                    "processes": process.world,
                    "accumulate": conduct.accumulate,
                    "device": model.device.type,
                    "features": conduct.features,
                    "recompute": conduct.recompute,
                },
                "step": step,
                "dtype": str(model.dtype).removeprefix("torch."),
                "versions": {k: v for k, v in versions().items() if k in ("torch", "transformers")},
                **({} if licence is None else {"licence": licence}),
                **record,
            }

        def keep(step: int, linear: nn.Linear) -> None:
            on_the_way = {**describe(step), "on_the_way": True}
            with run.writing():
                save_projection(
                    run.folder / f"{Path(WEIGHTS).stem}-{step:06d}.safetensors",
                    Projection(linear.cpu(), on_the_way),
                )

        linear, log = train(
            model,
            layout,
            drawn_from,
            recipe,
            run.folder,
            told,
            conduct.on_step,
            conduct.on_end,
            note,
            process=process,
            accumulate=conduct.accumulate,
            recompute=conduct.recompute,
            checkpoint=conduct.checkpoint,
            settings={
                **parts.names,
                **{f"{part}{SHA256}": found for part, found in parts.hashes.items()},
                "dtype": str(model.dtype).removeprefix("torch."),
                "views": views,
                "data": record.get("sets"),
                "held_out_categories": record.get("held_out_categories"),
                PERMUTED: record.get(PERMUTED),
            },
            keep_at=conduct.keep_at,
            keep=keep,
        )
        note("evaluating what was kept, with intervals and controls")
        evaluation = evaluator.whole(linear, conduct.backbone, recipe.seed)
    refused += bad
    scored = [entry for entry in log if "loss_held_out" in entry]
    best = min(scored, key=lambda entry: float(entry["loss_held_out"]))
    provenance = {
        **describe(best["step"]),
        "steps": log[-1]["step"],
        "unreadable": len(set(refused).union(*(entry.get("unreadable", ()) for entry in log))),
        "held_out": {key: best[key] for key in ("loss_held_out", *BRIEF) if key in best},
        "evaluation": evaluation,
    }
    provenance["held_out"]["loss"] = provenance["held_out"].pop("loss_held_out")
    projection = Projection(linear.cpu(), provenance)
    with together(process):
        if process.is_first:
            _keep(run, projection, log, parts)
        process.wait()
    return projection, log


def _cached(
    parts: Parts,
    examples: Examples,
    views: list[int],
    recipe: Recipe,
    run: Run,
    conduct: Conduct,
    left_out: Mapping[int, str] | None,
) -> tuple[TrainingSet, list[str]]:
    """Return examples with their features on disk, and which photos could not be read."""
    features, first, refused = cache_features(
        parts.encoder,
        examples,
        views,
        conduct.cache or run.folder / "features",
        recipe.seed,
        encoder_hash=parts.hashes.get("encoder", ""),
        process=conduct.process,
        on_photo=conduct.on_photo,
        left_out=left_out,
    )
    for line in refused:
        conduct.note(f"left out: {line}")
    found = TrainingSet(features, first, views, examples)
    if not found.usable():
        raise PhotoError("no photo could be read; see the lines above for the reasons")
    return found, refused


def _keep(run: Run, projection: Projection, log: list[dict[str, Any]], parts: Parts) -> None:
    """Write weights, curve and card."""
    with run.writing():
        save_projection(run.folder / WEIGHTS, projection)
    draw_loss_curve(run, log)
    manifest = run.folder / MANIFEST
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
