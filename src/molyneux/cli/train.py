"""`molyneux train`: learn the projection, everything else frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from molyneux.cli.app import app
from molyneux.cli.options import DEFAULT_PRESET, AsJson, Preset, note, show, show_json


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="captions.jsonl, captions.csv, or COCO's layout; see the training page.",
            metavar="DATA",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder; an interrupted run in it is resumed."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1)] = 1000,
    batch: Annotated[int, typer.Option("--batch", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0)] = 8e-4,
    patches_kept: Annotated[
        float, typer.Option("--patches-kept", min=0, max=1, help="Share shown in a step.")
    ] = 1 / 3,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between evaluations.")] = 100,
    views: Annotated[int, typer.Option("--views", min=1, help="At most so many of a photo.")] = 8,
    begin: Annotated[
        str, typer.Option("--begin", help="Token ahead of the patches; empty for none.")
    ] = "<|im_start|>",
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, bfloat16, or auto: what is faster here.")
    ] = "auto",
    name: Annotated[str | None, typer.Option("--name", help="What the data is.")] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    as_json: AsJson = False,
    preset: Preset = DEFAULT_PRESET,
) -> int:
    """Train a projection on captioned photos; interrupt it and call it again to resume."""
    from tqdm import tqdm

    from molyneux.models.captioner import Parts
    from molyneux.models.presets import find_preset
    from molyneux.training.examples import load_examples
    from molyneux.training.loop import Recipe
    from molyneux.training.precision import training_dtype
    from molyneux.training.run import open_training_run, train_projection
    from molyneux.vision.layout import Layout

    training, held_out = load_examples(data)
    recipe = Recipe(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        patches_kept=patches_kept,
        every=every,
        seed=seed,
    )
    run = open_training_run(out)
    parts = Parts.load(find_preset(preset), dtype=training_dtype(dtype), note=note)
    with tqdm(total=steps, unit="step") as bar:

        def on_step(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.2f}")

        projection, log = train_projection(
            parts,
            training,
            held_out,
            Layout(begin or None),
            recipe,
            run,
            data_name=name or data.name,
            views=views,
            on_step=on_step,
            note=note,
        )
    last: dict[str, Any] = next(entry for entry in reversed(log) if "loss_held_out" in entry)
    summary = {
        "run": str(run.folder),
        "projection": str(run.folder / "projection.safetensors"),
        "held_out": projection.provenance["held_out"],
        "last": last,
    }
    if as_json:
        show_json(summary)
    else:
        show(f"{summary['projection']}: use it with --projection")
        show(f"held out: {summary['held_out']}")
    return 0
