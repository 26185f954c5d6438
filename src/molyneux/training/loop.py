"""The training loop: one linear layer learns, everything else is frozen.

Step k draws its batch from a generator seeded by (seed, k) alone, so that a run that was
interrupted and resumed equals one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import RunError
from molyneux.store import Run
from molyneux.training.examples import Example
from molyneux.training.loss import caption_ids, caption_loss
from molyneux.vision.layout import Layout


@dataclass(frozen=True)
class Recipe:
    """How the projection is trained.

    Attributes:
        warmup: share of the steps over which the learning rate rises; then it falls as a cosine.
        dropout: of the projection's output, as in LiMBeR.
        patches_kept: share of the patches shown in a step, drawn for each photo; fewer patches
            cost less and regularise. The last `whole` share of the steps shows all.
        average: decay of the running average of the weights, which is what is evaluated and kept.
        every: steps between evaluations on the held-out photos.
        caption_tokens: captions are trained on up to this many tokens.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 8e-4
    warmup: float = 0.05
    weight_decay: float = 0.01
    dropout: float = 0.1
    patches_kept: float = 1 / 3
    whole: float = 0.1
    average: float = 0.98
    every: int = 100
    seed: int = 0
    caption_tokens: int = 10

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        rise = max(1, round(self.warmup * self.steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1, self.steps - rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass(frozen=True)
class TrainingSet:
    """Cached features and the examples they belong to (see `cache_features`)."""

    features: np.ndarray
    first: np.ndarray
    views: list[int]
    examples: list[Example]

    def usable(self) -> list[int]:
        """Return the examples whose photo could be read."""
        return [i for i, row in enumerate(self.first) if row >= 0]


@dataclass
class State:
    """Everything a resumed run needs; one safetensors file, replaced as a whole."""

    step: int
    tensors: dict[str, Tensor]
    log: list[dict[str, Any]]
    best: float

    def save(self, path: Path) -> None:
        """Write the state, never leaving half of it."""
        from safetensors.torch import save_file

        partial = path.with_suffix(".part")
        header = {"step": self.step, "log": self.log, "best": self.best}
        tensors = {name: tensor.contiguous().clone() for name, tensor in self.tensors.items()}
        with Run.writing():
            try:
                save_file(tensors, partial, metadata={"state": json.dumps(header)})
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> State:
        """Read a state written by `save`."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return cls(header["step"], tensors, header["log"], header["best"])


def train(
    model: LanguageModel,
    layout: Layout,
    data: TrainingSet,
    recipe: Recipe,
    folder: Path,
    evaluate: Callable[[nn.Linear], dict[str, float]],
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[nn.Linear, list[dict[str, Any]]]:
    """Return the projection with the lowest held-out loss, and the log.

    Args:
        evaluate: scores a projection on held-out photos; its `loss` decides which is kept.
        on_step: told after every step, with the training loss in nats per token.

    Raises:
        RunError: the folder holds a run with another recipe.
    """
    state_path, settings_path = folder / "state.safetensors", folder / "recipe.json"
    settings = {**asdict(recipe), "layout": layout.record(), "examples": len(data.examples)}
    if settings_path.exists():
        before = json.loads(settings_path.read_text())
        changed = sorted(k for k in settings if before.get(k) != settings[k])
        if changed:
            raise RunError(
                f"{folder} holds a run with another {', '.join(changed)}; give another --out, or "
                "the same settings to resume it"
            )
    Run(folder).write_json(settings_path.name, settings)

    d_features = data.features.shape[2]
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        linear = nn.Linear(d_features, model.d_model)
    linear.to(model.device)
    average = {name: p.detach().clone() for name, p in linear.named_parameters()}
    optimiser = torch.optim.AdamW(
        linear.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    step, log, best = 0, [], math.inf
    kept: dict[str, Tensor] = {}
    if state_path.exists():
        state = State.load(state_path)
        step, log, best = state.step, state.log, state.best
        kept = _restore(state.tensors, linear, average, optimiser)

    usable = data.usable()
    chances = np.array([data.examples[i].weight for i in usable])
    chances = chances / chances.sum()
    n_patches = data.features.shape[1]
    while step < recipe.steps:
        rng = np.random.default_rng([recipe.seed, step])
        drawn = [usable[i] for i in rng.choice(len(usable), recipe.batch, p=chances)]
        rows = [int(data.first[i] + rng.integers(data.views[i])) for i in drawn]
        captions = [str(rng.choice(list(data.examples[i].captions))) for i in drawn]
        features = torch.from_numpy(data.features[rows].astype(np.float32))
        whole = step >= recipe.steps * (1 - recipe.whole)
        size = n_patches if whole else max(1, round(recipe.patches_kept * n_patches))
        subset = np.sort(
            rng.permuted(np.tile(np.arange(n_patches), (len(rows), 1)), axis=1)[:, :size]
        )
        chosen = torch.from_numpy(subset)
        features = features.gather(1, chosen[:, :, None].expand(-1, -1, d_features))
        prompts = linear(features.to(model.device))
        if recipe.dropout:
            alive = torch.from_numpy(rng.random(tuple(prompts.shape), dtype=np.float32))
            alive = (alive >= recipe.dropout).to(prompts)
            prompts = prompts * alive / (1 - recipe.dropout)
        loss = caption_loss(
            model,
            layout,
            prompts,
            caption_ids(model, captions)[:, : recipe.caption_tokens],
            chosen,
            n_patches,
        )
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at(step)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(linear.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            decay = min(recipe.average, step / (step + 10))
            for name, parameter in linear.named_parameters():
                average[name].lerp_(parameter, 1 - decay)
        entry: dict[str, Any] = {"step": step, "loss": float(loss.detach())}
        on_step(step, entry["loss"])
        if step % recipe.every == 0 or step == recipe.steps:
            entry |= evaluate(_linear(average, linear))
            if entry["loss_held_out"] < best:
                best = entry["loss_held_out"]
                kept = {name: tensor.clone() for name, tensor in average.items()}
            log.append(entry)
            State(step, _flatten(linear, average, optimiser, kept), log, best).save(state_path)
        else:
            log.append(entry)
    return _linear(kept or average, linear), log


def _linear(weights: dict[str, Tensor], like: nn.Linear) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, like.in_features, like.out_features)
    linear.load_state_dict(weights)
    return linear.to(like.weight.device).requires_grad_(False)


def _flatten(
    linear: nn.Linear,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    kept: dict[str, Tensor],
) -> dict[str, Tensor]:
    tensors = {f"kept.{name}": tensor for name, tensor in kept.items()}
    for name, parameter in linear.named_parameters():
        tensors[f"weight.{name}"] = parameter.detach()
        tensors[f"average.{name}"] = average[name]
        for key, value in optimiser.state[parameter].items():
            tensors[f"adam.{name}.{key}"] = value
    return tensors


def _restore(
    tensors: dict[str, Tensor],
    linear: nn.Linear,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    with torch.no_grad():
        for name, parameter in linear.named_parameters():
            parameter.copy_(tensors[f"weight.{name}"])
            average[name].copy_(tensors[f"average.{name}"])
            prefix = f"adam.{name}."
            optimiser.state[parameter] = {
                key.removeprefix(prefix): value.to(parameter.device if value.dim() else "cpu")
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
    return {k.removeprefix("kept."): v for k, v in tensors.items() if k.startswith("kept.")}
