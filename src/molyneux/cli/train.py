"""`molyneux train`: learn the projection, everything else frozen."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molyneux.cli.model_choice import ModelChoice, takes_model
from molyneux.cli.options import AsJson
from molyneux.cli.output import complain, show, show_json
from molyneux.cli.progress import Bars
from molyneux.processes import is_first_process

if TYPE_CHECKING:
    from molyneux.training.from_data import Trained, TrainingSettings

Conditions = list[str] | None
Dtype = Annotated[
    str, typer.Option("--dtype", help="float32, bfloat16, or auto: what is faster here.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Another encoder: a folder or hub name; `random` or `random:NAME` as a control.",
    ),
]


@takes_model(
    *("preset", "language_model", "encoder", "dtype", "device"),
    others={
        "dtype": (Dtype, "auto"),
        "device": (Device, "auto"),
        "encoder": (Encoder, None),
    },
)
def train(
    model: ModelChoice,
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
) -> int:
    """Train a projection; run it again to resume."""
    from molyneux.training.data import Wanted
    from molyneux.training.from_data import TrainingSettings, run_training

    if validation is None and validation_where:
        validation = data
    held = None
    if validation is not None:
        held = Wanted(validation, tuple(validation_where or ()), validation_images, seed)
    changes: dict[str, Any] = {
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
    settings = TrainingSettings(
        training=Wanted(data, tuple(where or ()), images, seed),
        held_out=held,
        hold_out_categories=_names(hold_out),
        recipe=recipe,
        changes={name: value for name, value in changes.items() if value is not None},
        begin=begin,
        views=views,
        features=features,
        workers=workers,
        accumulate=accumulate,
        recompute=recompute,
        checkpoint=checkpoint,
        keep_at=_steps(keep_at),
        cache=cache,
        permuted=permuted,
        bertscore=bertscore,
        push_to_hub=push_to_hub,
        licence=licence,
        name=name,
        terms=terms,
        dtype=model.dtype,
        device=model.device,
    )
    _require_ready(model, settings, out)
    with Bars(settings.ready.recipe, is_first_process()) as bars:
        bars.note(f"loading torch and {model.title}")
        trained = run_training(
            model,
            settings,
            out,
            on_photo=bars.on_photo,
            on_step=bars.on_step,
            on_end=bars.on_end,
            note=bars.note,
        )
    if trained is None:
        return 0
    record = trained.projection.provenance
    summary = {
        "run": str(trained.folder),
        "projection": str(trained.folder / "projection.safetensors"),
        "card": str(trained.folder / "MODEL_CARD.md"),
        "held_out": record["held_out"],
        "evaluation": record["evaluation"],
        "last": trained.last,
    }
    if trained.pushed is not None:
        summary["pushed"] = trained.pushed
    if not trained.learnt:
        complain(
            "molyneux: warning: the held-out loss is that of guessing: with another photo's "
            "patches captions are foretold as well, so nothing of the photos was learnt; train "
            "longer, on more photos, or with another --learning-rate"
        )
    if as_json:
        show_json(summary)
    else:
        _say_what_was_learnt(trained, model)
    return 0


def _require_ready(model: ModelChoice, settings: TrainingSettings, out: Path | None) -> None:
    """Refuse what is wrong before torch is imported.

    Raises:
        UsageError: an unknown name, or something that is named and not there.
    """
    from molyneux.checkpoints.place_names import require_device
    from molyneux.checkpoints.sources import require_there
    from molyneux.models.presets import find_preset
    from molyneux.store import require_free
    from molyneux.training.data import require_data
    from molyneux.training.publish import hub_api

    if out is not None and not (out / "manifest.json").is_file():
        require_free(out)
    find_preset(model.preset_name)
    require_device(model.device)
    if model.language_model is not None:
        require_there(model.language_model)
    if model.encoder is not None and model.encoder != "random":
        require_there(model.encoder.removeprefix("random:").partition(" seed ")[0], what="encoder")
    _ = settings.ready
    if settings.push_to_hub:
        hub_api()
    for wanted in (settings.training, settings.held_out):
        if wanted is not None:
            require_data(wanted)


def _say_what_was_learnt(trained: Trained, model: ModelChoice) -> None:
    """Print the end of a run in sentences: what, how good, where it lies, what next."""
    record, weights = trained.projection.provenance, trained.folder / "projection.safetensors"
    found, photos = record["held_out"], record["held_out_photos"]
    other = record["evaluation"]["loss"]["control"]
    guessing = ""
    if other is not None:
        guessing = f"; with another photo's patches {other['value']:.3f}, which is guessing"
    show(
        f"Learnt: a projection of {record['encoder']} into {record['language_model']}, from "
        f"{record['photos']:,} photos of {record['data']}, kept from step {record['step']:,} of "
        f"{record['steps']:,}."
    )
    show(
        f"On {photos:,} photos held out the loss is {found['loss']:.3f} nats a token"
        f"{guessing}; {found['hit']:.0%} of the captions name a noun of their "
        "photo's own."
    )
    parts = {"--language-model": model.language_model, "--encoder": model.encoder}
    named = [word for name, value in parts.items() if value for word in (name, value)]
    show(f"{weights}: use it with --projection; more in {trained.folder / 'MODEL_CARD.md'}")
    show(f"Next: molyneux caption PHOTO {shlex.join([*named, '--projection', str(weights)])}")
    if trained.pushed:
        show(f"pushed: {trained.pushed}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


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
