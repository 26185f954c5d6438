"""The training loop: one linear layer learns, everything else is frozen.

Step k draws its batch from a generator seeded by (seed, k) alone, so that a run that was
interrupted and resumed equals one that was not. Several processes, and the parts of an
accumulated step, together see what one process sees in one go: gradients are of the sum of all
captions' nats, divided at the end by the number of all captions' tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import RunError
from molyneux.processes import Process, averaging, gather, sum_over
from molyneux.store import Run
from molyneux.training.batches import Batch, Draws, TrainingSet, drop_out, own_parts
from molyneux.training.checkpoint import Log, State, flatten, restore
from molyneux.training.loss import caption_ids, caption_nats, count_tokens
from molyneux.training.recipe import Recipe
from molyneux.training.recompute import recomputing, require_recomputing
from molyneux.training.run_folder import SETTINGS, require_same
from molyneux.training.schedule import Course
from molyneux.training.shared_prefix import shared_nats, shares_prefixes
from molyneux.vision.layout import Layout


def train(
    model: LanguageModel,
    layout: Layout,
    data: TrainingSet,
    recipe: Recipe,
    folder: Path,
    evaluate: Callable[[nn.Linear], dict[str, Any]],
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_end: Callable[[int], None] = lambda steps: None,
    note: Callable[[str], None] = lambda line: None,
    *,
    process: Process | None = None,
    accumulate: int = 1,
    recompute: bool = False,
    checkpoint: int | None = None,
    settings: dict[str, Any] | None = None,
    keep_at: Collection[int] = (),
    keep: Callable[[int, nn.Linear], None] = lambda step, linear: None,
) -> tuple[nn.Linear, list[dict[str, Any]]]:
    """Return the projection with the lowest held-out loss, and the log.

    Args:
        evaluate: scores a projection on held-out photos; its `loss_held_out` decides which is
            kept. Every process calls it, and gets the same.
        on_step: told after every step, with the training loss in nats per token.
        on_end: told how many steps there are, once that is decided.
        note: told of photos that could not be read, a line for each, and of a fall that begins.
        process: this one; the first one writes.
        accumulate: parts into which this process's examples of a step are split.
        recompute: whether layers are computed again on the way back (see `recomputing`).
        checkpoint: steps between checkpoints; at every evaluation if None.
        settings: what else must be the same in a resumed run.
        keep_at: steps after which the average of the weights is given to `keep`, by the first
            process.

    Raises:
        RunError: the folder holds a run with another recipe, or is damaged; or the loss is no
            finite number any more, and nothing of that step is kept.
        UsageError: the batch is smaller than the number of parts, the model cannot recompute its
            layers, or photo after photo cannot be read.
    """
    process = process or Process()
    settings = {
        **asdict(recipe),
        "layout": layout.record(),
        "examples": len(data.examples),
        **(settings or {}),
    }
    require_same(folder, settings)
    process.wait()
    if process.is_first:
        Run(folder).write_json(SETTINGS, settings)
    if recompute:
        require_recomputing(model)
    linear, average, optimiser = _begin(data, recipe, model)
    kept: dict[str, Tensor] = {}
    best: float | None = None
    step = 0
    state = State.load(folder)
    if state is not None:
        step, best = state.step, state.best
        kept = restore(state.tensors, linear, average, optimiser)
    saved = step
    log = Log(folder, step, process.is_first)
    gather(None, process)  # every process has read the state before one of them writes another
    module = averaging(linear, process)
    draws = Draws(data, recipe)
    named = {line for entry in log.entries for line in entry.get("unreadable", ())}
    shares = recipe.captions_together > 1 and shares_prefixes(model, layout)
    if recipe.captions_together > 1 and not shares:
        note(
            f"{type(model.model).__name__} does not take several captions behind one image prompt: "
            "each is computed with a prompt of its own, to the same end but for speed"
        )
    course = Course.of(recipe, log.entries)
    if course.end is not None:
        on_end(course.end)

    def expect(later: int) -> None:
        """Have the photos of a step read, whichever of their patches it will show."""
        if course.end is None or later < course.end:
            for part in own_parts(draws.step(later), process, accumulate):
                data.features.expect(part.rows)

    expect(step)
    try:
        while course.end is None or step < course.end:
            expect(step + 1)
            drawn = draws.step(step, whole=course.shows_all(step))
            parts = own_parts(drawn, process, accumulate)
            with recomputing(model) if recompute else nullcontext():
                loss, unreadable = _step(
                    model, layout, data, recipe, module, draws, parts, process, shares
                )
            norm = nn.utils.clip_grad_norm_(linear.parameters(), recipe.clip)
            _require_finite("training loss", loss, step + 1, saved, recipe)
            _require_finite("gradient's norm", float(norm), step + 1, saved, recipe)
            for group in optimiser.param_groups:
                group["lr"] = course.learning_rate_at(step)
            optimiser.step()
            step += 1
            with torch.no_grad():
                decay = min(recipe.average, step / (step + 10))
                for name, parameter in linear.named_parameters():
                    average[name].lerp_(parameter, 1 - decay)
            entry: dict[str, Any] = {"step": step, "loss": loss}
            if unreadable:
                entry["unreadable"] = unreadable
                for line in unreadable:
                    if line not in named:
                        note(f"left out: {line}")
                named.update(unreadable)
            on_step(step, loss)
            last = step == course.end
            evaluates = step % recipe.every == 0 or last
            if evaluates:
                entry |= evaluate(_linear(average, linear))
                _require_finite("held-out loss", entry["loss_held_out"], step, saved, recipe)
                if best is None or entry["loss_held_out"] < best:
                    best = entry["loss_held_out"]
                    kept = {name: tensor.clone() for name, tensor in average.items()}
            log.add(entry)
            if evaluates and not last:
                undecided = course.end is None
                course = Course.of(recipe, log.entries)
                if undecided and course.end is not None:
                    note(
                        "the held-out loss hardly falls any more: the learning rate falls "
                        f"from step {step} on, and training ends after step {course.end}"
                    )
                    on_end(course.end)
            if step in keep_at and process.is_first:
                keep(step, _linear(average, linear))
            if evaluates if checkpoint is None else step % checkpoint == 0 or last:
                if process.is_first:
                    log.settle()
                    State(step, flatten(linear, average, optimiser, kept), best).save(folder)
                saved = step
    finally:
        log.close()
    process.wait()
    return _linear(kept or average, linear), log.entries


def _begin(
    data: TrainingSet, recipe: Recipe, model: LanguageModel
) -> tuple[nn.Linear, dict[str, Tensor], torch.optim.Optimizer]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        linear = nn.Linear(data.features.shape[2], model.d_model)
    linear.to(model.device)
    average = {name: p.detach().clone() for name, p in linear.named_parameters()}
    optimiser = torch.optim.AdamW(
        linear.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
    )
    return linear, average, optimiser


def _require_finite(what: str, value: float, step: int, saved: int, recipe: Recipe) -> None:
    """Refuse to go on from a number that says nothing; every process sees the same one."""
    if not math.isfinite(value):
        since = f"the last checkpoint is step {saved}'s" if saved else "there is no checkpoint yet"
        raise RunError(
            f"the {what} of step {step} is {value}, and {since}; give a --learning-rate below "
            f"{recipe.learning_rate:g}, or --dtype float32, and another --out"
        )


def _step(
    model: LanguageModel,
    layout: Layout,
    data: TrainingSet,
    recipe: Recipe,
    module: nn.Module,
    draws: Draws,
    parts: list[Batch],
    process: Process,
    shares: bool,
) -> tuple[float, list[str]]:
    """Leave the gradients of the whole step's loss on the parameters.

    Returns the loss, and what could not be read and was drawn anew, of all processes.
    """
    module.zero_grad()
    sums = torch.zeros(3, dtype=torch.float64)
    unreadable: list[str] = []
    for number, drawn in enumerate(parts):
        part, why = draws.readable(drawn)
        unreadable += why
        # Gradients travel once, with the last part.
        waits = process.world > 1 and number < len(parts) - 1
        with module.no_sync() if waits else nullcontext():  # type: ignore[operator]
            features = torch.from_numpy(data.features.take(part.rows))
            if part.patches.shape[1] < features.shape[1]:
                index = part.patches[:, :, None].expand(-1, -1, features.shape[2])
                features = features.gather(1, index)
            prompts = drop_out(module(features.to(model.device)), part, recipe)
            texts, owners = part.each_caption()
            captions = caption_ids(model, texts, recipe.end_token)[:, : recipe.caption_tokens]
            n_patches = data.features.shape[1]
            if shares:
                each = shared_nats(
                    model, layout, prompts, captions, owners, part.patches, n_patches
                )
            else:
                # As they are, where each photo has one: an index would copy them.
                own = prompts if len(owners) == len(prompts) else prompts[owners]
                each = caption_nats(model, layout, own, captions, part.patches[owners], n_patches)
            nats = each.sum()
            nats.backward()
        sums += torch.tensor([float(nats.detach()), int(count_tokens(captions).sum()), len(why)])
    nats_of_all, tokens_of_all, unreadable_of_all = sum_over(sums, process).tolist()
    for parameter in module.parameters():
        assert parameter.grad is not None
        # What the processes averaged is brought back to a sum, then taken per token.
        parameter.grad.mul_(process.world / tokens_of_all)
    if unreadable_of_all:
        unreadable = [line for one in gather(unreadable, process) for line in one]
    return nats_of_all / tokens_of_all, unreadable


def _linear(weights: dict[str, Tensor], like: nn.Linear) -> nn.Linear:
    linear: nn.Linear = nn.utils.skip_init(nn.Linear, like.in_features, like.out_features)
    linear.load_state_dict(weights)
    return linear.to(like.weight.device).requires_grad_(False)


__all__ = ["Recipe", "train"]
