"""`molyneux train`: learn the projection, everything else frozen."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.options import AsJson, Preset
from molyneux.cli.output import note, show, show_json
from molyneux.cli.progress import Bars
from molyneux.models import DEFAULT_PRESET

if TYPE_CHECKING:
    from molyneux.training.evaluation import Backbone

Conditions = list[str] | None


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="A data set (`molyneux data` says which), or captions.jsonl with crops and "
            "weights; see the training page.",
            metavar="DATA",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder; an interrupted run in it is resumed."),
    ] = None,
    where: Annotated[
        Conditions,
        typer.Option("--where", help="Which photos: split=train2017, category=dog, ..."),
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="This many of them, drawn by the seed.")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option("--validation", help="Data set held out; a twentieth of DATA if not given."),
    ] = None,
    validation_where: Annotated[
        Conditions, typer.Option("--validation-where", help="As --where, for that set.")
    ] = None,
    validation_images: Annotated[
        int, typer.Option("--validation-images", min=1, help="At most this many of its photos.")
    ] = 1000,
    hold_out: Annotated[
        str | None,
        typer.Option(
            "--hold-out-categories",
            help="Leave out photos that show or mention these: dog,cat.",
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", help="default, long or limber; options below change single numbers."
        ),
    ] = "default",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of the optimiser; if not the recipe's.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Examples a step, of all processes.")
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option("--accumulate", min=1, help="Parts of a step that run one after another."),
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute", help="Compute layers again on the way back: less memory, more time."
        ),
    ] = False,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", min=0, help="At its highest.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option("--dropout", min=0, help="On the projection's output.")
    ] = None,
    patches_kept: Annotated[
        float | None,
        typer.Option("--patches-kept", min=0, max=1, help="Share shown in a step."),
    ] = None,
    caption_tokens: Annotated[
        int | None, typer.Option("--caption-tokens", min=1, help="Captions are cut there.")
    ] = None,
    end_token: Annotated[
        bool | None,
        typer.Option(
            "--end-token/--no-end-token",
            help="Also train the token that ends a text, after captions without a full stop.",
        ),
    ] = None,
    every: Annotated[
        int | None, typer.Option("--every", min=1, help="Steps between evaluations.")
    ] = None,
    checkpoint: Annotated[
        int | None,
        typer.Option("--checkpoint", min=1, help="Steps between checkpoints; as --every."),
    ] = None,
    captions_together: Annotated[
        int | None,
        typer.Option(
            "--captions-together", min=1, help="Of a photo, at most, in one step; of the batch."
        ),
    ] = None,
    keep_at: Annotated[
        str | None,
        typer.Option("--keep-at", help="Steps whose projection is kept beside: 100,400,1000."),
    ] = None,
    permuted: Annotated[
        int | None,
        typer.Option(
            "--permute-captions", min=0, help="A control: other photos' captions, by this seed."
        ),
    ] = None,
    views: Annotated[
        int | None, typer.Option("--views", min=1, help="At most so many of a photo.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--begin", help="Token ahead of the patches, the model's own by default; '' for none."
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Another encoder: a folder or hub name; `random` or `random:NAME` as a control.",
        ),
    ] = None,
    language_model: Annotated[
        str | None,
        typer.Option("--language-model", help="Another one: a folder, GGUF file or hub name."),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, bfloat16, or auto: what is faster here.")
    ] = "auto",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="`cache`: photos are encoded once, onto disk; `live`: anew at every step.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Threads of each process that read photos, live."),
    ] = 4,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder of features; several runs may share one."),
    ] = None,
    bertscore: Annotated[
        str | None,
        typer.Option(
            "--bertscore", help="Backbone: a folder or hub name; all-MiniLM-L6-v2; `none`."
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option("--push-to-hub", help="Upload weights and card to this repository."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Of the projection, as hubs name it: mit, cc-by-4.0."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the data is.")] = None,
    terms: Annotated[
        str | None,
        typer.Option("--terms", help="Of the photos trained on, for the record and the card."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of every random draw.")] = 0,
    as_json: AsJson = False,
    preset: Preset = DEFAULT_PRESET,
) -> int:
    """Train a projection; run it again to resume."""
    from molyneux.checkpoints.placement import device_named, training_dtype
    from molyneux.errors import UsageError
    from molyneux.models.parts import Parts, load_tokenizer, require_encoder
    from molyneux.models.presets import find_preset
    from molyneux.processes import join_processes, together
    from molyneux.training.batches import require_split
    from molyneux.training.begin_token import choose_begin, require_begin
    from molyneux.training.data import Wanted, open_data
    from molyneux.training.hold_out import leave_out, unseen_names
    from molyneux.training.loss import require_end_token
    from molyneux.training.permuted import PERMUTED, permute_captions
    from molyneux.training.publish import hub_api, push
    from molyneux.training.recipe import find_recipe
    from molyneux.training.run import Conduct, train_projection
    from molyneux.training.run_folder import (
        open_training_run,
        recorded_layout,
        require_same,
        require_usable,
    )
    from molyneux.vision.layout import Layout

    ready, known = find_recipe(recipe), find_preset(preset)
    require_encoder(known, encoder)
    given: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "learning_rate": learning_rate,
        "dropout": dropout,
        "patches_kept": patches_kept,
        "caption_tokens": caption_tokens,
        "end_token": end_token,
        "every": every,
        "captions_together": captions_together,
        "seed": seed,
    }
    chosen = replace(ready.recipe, **{k: v for k, v in given.items() if v is not None})
    if validation is None and validation_where:
        validation = data
    held = None
    if validation is not None:
        held = Wanted(validation, tuple(validation_where or ()), validation_images, seed)
    api = hub_api() if push_to_hub else None
    place = device_named(device)
    precision = training_dtype(dtype, place)
    process = join_processes(place)
    if process.world > 1 and out is None:
        raise UsageError("several processes need one folder; give it with --out")
    speaks = note if process.is_first else _silent
    if process.is_first:
        require_usable(out)
    bars = Bars(chosen, process.is_first)
    conduct = Conduct(
        process=process,
        features=features or ready.features,
        workers=workers,
        accumulate=accumulate or ready.accumulate,
        recompute=recompute,
        checkpoint=checkpoint,
        keep_at=_steps(keep_at),
        cache=cache,
        on_photo=bars.on_photo,
        on_step=bars.on_step,
        note=bars.note,
    )
    # From here on, what is cheap comes first: the language model may have 24 GB.
    tokenizer, called = load_tokenizer(known, language_model, speaks)
    if begin is None:
        own = None if language_model is not None else known
        token, why = choose_begin(tokenizer, ready, own, recorded_layout(out))
        speaks(why)
    else:
        token = begin or None
    require_begin(tokenizer, token, called)
    if chosen.end_token:
        require_end_token(tokenizer, called)
    require_split(chosen.batch, process, conduct.accumulate, chosen.captions_together)
    layout = Layout(token)
    if out is not None:
        require_same(out, {**asdict(chosen), "layout": layout.record()})
    conduct = replace(conduct, backbone=_backbone(bertscore, process.is_first))
    found = open_data(Wanted(data, tuple(where or ()), images, seed), held, speaks)
    names = tuple(part.strip() for part in (hold_out or "").split(",") if part.strip())
    record: dict[str, Any] = {"sets": found.record}
    if names:
        speaks(f"leaving out photos with {', '.join(names)}")
        found, record["held_out_categories"] = leave_out(found, names)
        if unseen := unseen_names(record["held_out_categories"]):
            speaks(f"molyneux: no photo shows or mentions {', '.join(unseen)}; check the spelling")
    if permuted is not None:
        speaks(f"a control: every photo has another one's captions (seed {permuted})")
        found = replace(found, training=permute_captions(found.training, permuted))
        record[PERMUTED] = permuted
    if terms:
        record["terms"] = terms
    parts = Parts.load(
        known,
        dtype=precision,
        note=speaks,
        language_model=language_model,
        encoder=encoder,
    ).to(place)
    with together(process):
        if not process.is_first:
            process.wait()  # until the first process has begun the folder
        run = open_training_run(out)
        if process.is_first:
            process.wait()
    with bars:
        projection, log = train_projection(
            parts,
            found.training,
            found.validation,
            layout,
            chosen,
            run,
            data_name=name or ready.data or Path(data).name,
            views=views or ready.views,
            licence=licence or None,
            record=record,
            conduct=conduct,
        )
    process.leave()
    if not process.is_first:
        return 0
    last: dict[str, Any] = next(entry for entry in reversed(log) if "loss_held_out" in entry)
    summary = {
        "run": str(run.folder),
        "projection": str(run.folder / "projection.safetensors"),
        "card": str(run.folder / "MODEL_CARD.md"),
        "held_out": projection.provenance["held_out"],
        "evaluation": projection.provenance["evaluation"],
        "last": last,
    }
    if push_to_hub and api is not None:
        summary["pushed"] = push(run.folder, push_to_hub, api)
    if as_json:
        show_json(summary)
    else:
        show(f"{summary['projection']}: use it with --projection")
        show(f"held out: {summary['held_out']}; more in {summary['card']}")
        if "pushed" in summary:
            show(f"pushed: {summary['pushed']}")
    return 0


def _silent(_: str) -> None:
    """Say nothing: one process of several speaks."""


def _steps(text: str | None) -> tuple[int, ...]:
    """Return the steps that an option lists.

    Raises:
        UsageError: one is no whole number above 0.
    """
    from molyneux.errors import UsageError

    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--keep-at takes steps such as 100,400,1000, not {text!r}")
    return tuple(int(part) for part in parts)


def _backbone(name: str | None, loads: bool) -> Backbone | None:
    """Return what gives BERTScore's backbone; one the user named is loaded here, before training.

    Args:
        loads: whether this process is the one that scores.

    Raises:
        WeightsError: the one that the user named cannot be had.
    """
    if name == "none":
        return None
    from molyneux.metrics.bertscore import load_bert_scorer

    if name is None or not loads:
        return lambda: load_bert_scorer(name, note=note)
    scorer = load_bert_scorer(name, note=note)
    return lambda: scorer
