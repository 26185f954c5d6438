"""The training loop: one linear layer learns, everything else is frozen.

Step k draws its batch from a generator seeded by (seed, k) alone, so that a run that was
interrupted and resumed equals one that was not. Several processes, and the parts of an
accumulated step, together see what one process sees in one go: gradients are of the sum of all
captions' nats, divided at the end by the number of all captions' tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import RunError
from molyneux.store import Run
from molyneux.studies.share import Share
from molyneux.training.batches import Batch, Draws, TrainingSet, drop_out, own_parts
from molyneux.training.loss import caption_ids, caption_nats, count_tokens
from molyneux.training.processes import averaging, gather, sum_over
from molyneux.training.recipe import Recipe
from molyneux.training.state import Log, State, flatten, restore
from molyneux.vision.layout import Layout

SETTINGS = "recipe.json"


def train(
    model: LanguageModel,
    layout: Layout,
    data: TrainingSet,
    recipe: Recipe,
    folder: Path,
    evaluate: Callable[[nn.Linear], dict[str, Any]],
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    *,
    share: Share | None = None,
    accumulate: int = 1,
    checkpoint: int | None = None,
    settings: dict[str, Any] | None = None,
) -> tuple[nn.Linear, list[dict[str, Any]]]:
    """Return the projection with the lowest held-out loss, and the log.

    Args:
        evaluate: scores a projection on held-out photos; its `loss_held_out` decides which is
            kept. Every process calls it, and gets the same.
        on_step: told after every step, with the training loss in nats per token.
        share: this process's; the first one writes.
        accumulate: parts into which this process's examples of a step are split.
        checkpoint: steps between checkpoints; at every evaluation if None.
        settings: what else must be the same in a resumed run.

    Raises:
        RunError: the folder holds a run with another recipe, or is damaged.
        UsageError: the batch is smaller than the number of parts.
    """
    share = share or Share()
    settings = {
        **asdict(recipe),
        "layout": layout.record(),
        "examples": len(data.examples),
        **(settings or {}),
    }
    _require_settings(folder, settings, share)
    linear, average, optimiser = _begin(data, recipe, model)
    kept: dict[str, Tensor] = {}
    best: float | None = None
    step = 0
    state = State.load(folder)
    if state is not None:
        step, best = state.step, state.best
        kept = restore(state.tensors, linear, average, optimiser)
    log = Log(folder, step, share.is_first)
    gather(None, share)  # every process has read the state before one of them writes another
    module = averaging(linear, share)
    draws = Draws(data, recipe)
    try:
        while step < recipe.steps:
            batch = draws.step(step)
            loss = _step(model, layout, data, recipe, module, batch, share, accumulate)
            nn.utils.clip_grad_norm_(linear.parameters(), recipe.clip)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate_at(step)
            optimiser.step()
            step += 1
            with torch.no_grad():
                decay = min(recipe.average, step / (step + 10))
                for name, parameter in linear.named_parameters():
                    average[name].lerp_(parameter, 1 - decay)
            entry: dict[str, Any] = {"step": step, "loss": loss}
            on_step(step, loss)
            last = step == recipe.steps
            evaluates = step % recipe.every == 0 or last
            if evaluates:
                entry |= evaluate(_linear(average, linear))
                if best is None or entry["loss_held_out"] < best:
                    best = entry["loss_held_out"]
                    kept = {name: tensor.clone() for name, tensor in average.items()}
            log.add(entry)
            if share.is_first and (
                evaluates if checkpoint is None else step % checkpoint == 0 or last
            ):
                log.settle()
                State(step, flatten(linear, average, optimiser, kept), best).save(folder)
    finally:
        log.close()
    share.wait()
    return _linear(kept or average, linear), log.entries


def _require_settings(folder: Path, settings: dict[str, Any], share: Share) -> None:
    path = folder / SETTINGS
    settings = json.loads(json.dumps(settings))
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(k for k in settings if before.get(k) != settings[k])
        if changed:
            raise RunError(
                f"{folder} holds a run with another {', '.join(changed)}; give another --out, or "
                "the same settings to resume it"
            )
    share.wait()
    if share.is_first:
        Run(folder).write_json(SETTINGS, settings)


def _begin(
    data: TrainingSet, recipe: Recipe, model: LanguageModel
) -> tuple[nn.Linear, dict[str, Tensor], torch.optim.Optimizer]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        linear = nn.Linear(data.features.shape[2], model.d_model)
    linear.to(model.device)
    average = {name: p.detach().clone() for name, p in linear.named_parameters()}
    optimiser = torch.optim.AdamW(
        linear.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return linear, average, optimiser


def _step(
    model: LanguageModel,
    layout: Layout,
    data: TrainingSet,
    recipe: Recipe,
    module: nn.Module,
    batch: Batch,
    share: Share,
    accumulate: int,
) -> float:
    """Leave the gradients of the whole step's loss on the parameters, and return the loss."""
    module.zero_grad()
    sums = torch.zeros(2, dtype=torch.float64)
    parts = own_parts(batch, share, accumulate)
    for number, part in enumerate(parts):
        # Gradients travel once, with the last part.
        waits = share.world > 1 and number < len(parts) - 1
        with module.no_sync() if waits else nullcontext():  # type: ignore[operator]
            features = torch.from_numpy(data.features.take(part.rows))
            if part.patches.shape[1] < features.shape[1]:
                index = part.patches[:, :, None].expand(-1, -1, features.shape[2])
                features = features.gather(1, index)
            prompts = drop_out(module(features.to(model.device)), part, recipe)
            captions = caption_ids(model, part.captions)[:, : recipe.caption_tokens]
            nats = caption_nats(
                model, layout, prompts, captions, part.patches, data.features.shape[1]
            ).sum()
            nats.backward()
        sums += torch.tensor([float(nats.detach()), int(count_tokens(captions).sum())])
    nats_of_all, tokens_of_all = sum_over(sums, share).tolist()
    for parameter in module.parameters():
        assert parameter.grad is not None
        # What the processes averaged is brought back to a sum, then taken per token.
        parameter.grad.mul_(share.world / tokens_of_all)
    return nats_of_all / tokens_of_all


def _linear(weights: dict[str, Tensor], like: nn.Linear) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, like.in_features, like.out_features)
    linear.load_state_dict(weights)
    return linear.to(like.weight.device).requires_grad_(False)


__all__ = ["Recipe", "train"]
