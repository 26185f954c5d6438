"""A training run, whole: a model chosen, data sets named, a folder that holds what is learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.models.choice import ModelChoice
from molyneux.models.presets import Preset, find_preset
from molyneux.training.data import Data, Wanted, open_data
from molyneux.training.hold_out import leave_out, unseen_names
from molyneux.training.recipe import ReadyMade, Recipe, find_recipe
from molyneux.weights.fetch import Note, silent

if TYPE_CHECKING:
    from molyneux.training.evaluation import Backbone
    from molyneux.vision.layout import Layout
    from molyneux.vision.projection import Projection


@dataclass(frozen=True)
class TrainingSettings:
    """What a run of training is asked for, beside the model.

    Attributes:
        training: the photos to train on.
        held_out: those to evaluate on; a twentieth of the others if None.
        hold_out_categories: photos that show or mention these are left out of both.
        recipe: `default` or another ready-made one.
        changes: single numbers of the recipe, by the names of `Recipe`.
        begin: the token ahead of the patches; chosen if None, none if empty.
        views: of a photo, at most; the recipe's if None.
        features: `cache` or `live`; the recipe's if None.
        workers: threads of a process that read photos for live features.
        accumulate: parts of a step; the recipe's if None.
        recompute: whether layers are computed again on the way back.
        checkpoint: steps between checkpoints.
        keep_at: steps whose projection is kept beside.
        cache: folder of the features; in the run's if None.
        permuted: a control: every photo has another one's captions, by this seed.
        bertscore: the backbone, `none` for none, all-MiniLM-L6-v2 if None.
        push_to_hub: a repository to upload weights and card to.
        licence: of the projection.
        name: what the data is.
        terms: of the photos trained on.
        dtype: float32, bfloat16, or auto: what is faster here.
        device: cpu, cuda, or auto.
    """

    training: Wanted
    held_out: Wanted | None = None
    hold_out_categories: tuple[str, ...] = ()
    recipe: str = "default"
    changes: Mapping[str, Any] = field(default_factory=dict)
    begin: str | None = None
    views: int | None = None
    features: str | None = None
    workers: int = 4
    accumulate: int | None = None
    recompute: bool = False
    checkpoint: int | None = None
    keep_at: tuple[int, ...] = ()
    cache: Path | None = None
    permuted: int | None = None
    bertscore: str | None = None
    push_to_hub: str | None = None
    licence: str | None = None
    name: str | None = None
    terms: str | None = None
    dtype: str = "auto"
    device: str = "auto"

    @property
    def ready(self) -> ReadyMade:
        """The ready-made recipe with the changes.

        Raises:
            UsageError: there is no such recipe, or a number makes none.
        """
        ready = find_recipe(self.recipe)
        return replace(ready, recipe=replace(ready.recipe, **self.changes))


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        folder: the run folder, with the projection and its card.
        log: what was measured on the way, step by step.
        pushed: where it was uploaded to, if it was.
    """

    folder: Path
    projection: Projection
    log: list[dict[str, Any]]
    pushed: str | None = None

    @property
    def last(self) -> dict[str, Any]:
        """The last evaluation of the log."""
        return next(entry for entry in reversed(self.log) if "loss_held_out" in entry)

    @property
    def learnt(self) -> bool:
        """Whether captions are better foretold from their own photo than from another one.

        By the held-out loss: with other photos' patches the model guesses, knowing only what
        captions are like.
        """
        loss = self.projection.provenance["evaluation"]["loss"]
        other = loss["control"]
        return None in (other, loss["value"]) or loss["value"] < other["low"]


def run_training(
    model: ModelChoice,
    settings: TrainingSettings,
    out: Path | None = None,
    *,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_end: Callable[[int], None] = lambda steps: None,
    note: Note = silent,
) -> Trained | None:
    """Return the projection trained as asked, in a run folder that the same call resumes.

    Of several processes that torchrun started, each calls this; those but the first get None.
    What is cheap to refuse comes first: a language model may have 24 GB.

    Args:
        model: preset, language model and encoder; the rest of it says nothing here.
        out: the run folder; `molyneux-runs/<time>` in the current one if None.
        on_photo: told how many photos are encoded, and of how many.
        on_step: told after every step, with the training loss.
        on_end: told how many steps there are, once that is decided.
        note: told, one line at a time, what takes long or goes wrong.

    Raises:
        UsageError: what was asked for does not make sense or names what is not there.
        WeightsError: weights are missing, corrupt, or do not belong together.
        AdapterError: the family of the language model or encoder is not known.
        RunError: the folder holds a run with other settings, or the loss is no number any more.
        PhotoError: no photo can be read.
    """
    from molyneux.checkpoints.placement import device_named, training_dtype
    from molyneux.errors import UsageError
    from molyneux.models import parts as frozen
    from molyneux.processes import join_processes, together
    from molyneux.training.batches import require_split
    from molyneux.training.publish import hub_api, push
    from molyneux.training.run import Conduct, train_projection
    from molyneux.training.run_folder import open_training_run, require_same, require_usable

    ready, preset = settings.ready, find_preset(model.preset_name)
    frozen.require_encoder(preset, model.encoder)
    api = hub_api() if settings.push_to_hub else None
    place = device_named(settings.device)
    precision = training_dtype(settings.dtype, place)
    process = join_processes(place)
    if process.world > 1 and out is None:
        raise UsageError("several processes need one folder; give it with --out")
    speaks = note if process.is_first else silent
    if process.is_first:
        require_usable(out)
    conduct = Conduct(
        process=process,
        features=settings.features or ready.features,
        workers=settings.workers,
        accumulate=settings.accumulate or ready.accumulate,
        recompute=settings.recompute,
        checkpoint=settings.checkpoint,
        keep_at=settings.keep_at,
        cache=settings.cache,
        on_photo=on_photo,
        on_step=on_step,
        on_end=on_end,
        note=speaks,
    )
    together_at_once = ready.recipe.captions_together
    require_split(ready.recipe.batch, process, conduct.accumulate, together_at_once)
    layout = _layout(model, preset, settings, out, speaks)
    if out is not None:
        require_same(out, {**asdict(ready.recipe), "layout": layout.record()})
    found, record = _data(settings, speaks)
    conduct = replace(conduct, backbone=_backbone(settings.bertscore, process.is_first, note))
    parts = frozen.Parts.load(
        preset,
        dtype=precision,
        note=speaks,
        language_model=model.language_model,
        encoder=model.encoder,
    ).to(place)
    _say_what_it_takes(ready.recipe, found, parts, speaks)
    with together(process):
        if not process.is_first:
            process.wait()  # until the first process has begun the folder
        run = open_training_run(out)
        if process.is_first:
            process.wait()
    projection, log = train_projection(
        parts,
        found.training,
        found.validation,
        layout,
        ready.recipe,
        run,
        data_name=settings.name or ready.data or Path(settings.training.spec).name,
        views=settings.views or ready.views,
        licence=settings.licence or None,
        record=record,
        conduct=conduct,
    )
    process.leave()
    if not process.is_first:
        return None
    pushed = None
    if settings.push_to_hub and api is not None:
        pushed = push(run.folder, settings.push_to_hub, api)
    return Trained(run.folder, projection, log, pushed)


def _layout(
    model: ModelChoice, preset: Preset, settings: TrainingSettings, out: Path | None, speaks: Note
) -> Layout:
    """Return the layout of patches and text, whose tokens the tokenizer has."""
    from molyneux.models import parts as frozen
    from molyneux.training.begin_token import choose_begin, require_begin
    from molyneux.training.loss import require_end_token
    from molyneux.training.run_folder import recorded_layout
    from molyneux.vision.layout import Layout

    ready = settings.ready
    tokenizer, called = frozen.load_tokenizer(preset, model.language_model, speaks)
    if settings.begin is None:
        own = None if model.language_model is not None else preset
        token, why = choose_begin(tokenizer, ready, own, recorded_layout(out))
        speaks(why)
    else:
        token = settings.begin or None
    require_begin(tokenizer, token, called)
    if ready.recipe.end_token:
        require_end_token(tokenizer, called)
    return Layout(token)


def _data(settings: TrainingSettings, speaks: Note) -> tuple[Data, dict[str, Any]]:
    """Return the examples, and what the provenance record says of them."""
    from molyneux.training.permuted import PERMUTED, permute_captions

    found = open_data(settings.training, settings.held_out, speaks)
    record: dict[str, Any] = {"sets": found.record}
    if names := settings.hold_out_categories:
        speaks(f"leaving out photos with {', '.join(names)}")
        found, record["held_out_categories"] = leave_out(found, names)
        if unseen := unseen_names(record["held_out_categories"]):
            speaks(f"molyneux: no photo shows or mentions {', '.join(unseen)}; check the spelling")
    if settings.permuted is not None:
        speaks(f"a control: every photo has another one's captions (seed {settings.permuted})")
        found = replace(found, training=permute_captions(found.training, settings.permuted))
        record[PERMUTED] = settings.permuted
    if settings.terms:
        record["terms"] = settings.terms
    return found, record


def _say_what_it_takes(recipe: Recipe, found: Data, parts: Any, speaks: Note) -> None:
    """Say what lies ahead, before the first photo is encoded."""
    weights = sum(p.numel() * p.element_size() for p in parts.language_model.model.parameters())
    photos = len(found.training) + len(found.validation)
    speaks(
        f"{photos:,} photos are encoded, then {recipe.steps:,} steps of {recipe.batch} photos; the "
        f"language model takes {weights / 1e9:.1f} GB of memory, a step's activations come on top; "
        "the time left is said on the way, and Ctrl-C loses nothing: the same command resumes"
    )


def _backbone(name: str | None, loads: bool, note: Note) -> Backbone | None:
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
