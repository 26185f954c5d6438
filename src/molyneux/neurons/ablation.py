"""Giving units other activations, and what is then left of a word: at zero, they are ablated.

Schwettmann et al. 2023, section 3.3. Many interventions are tried in one forward pass: each row of
the batch carries its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import is_a, number, one_of, several, shown, whole_number
from molyneux.errors import UsageError
from molyneux.hooks import edit
from molyneux.neurons.checks import as_model, as_prompt, as_sets, as_units
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

# Schwettmann et al. 2023: 0 to 6400 of GPT-J's 458,752 units. Other models take the same shares.
PAPER_GRID = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)
PAPER_UNITS = 458_752

Positions = Literal["all", "patches"]
T = TypeVar("T")
BATCH = 16
"""With prompts of up to 256 positions: attention takes memory by their square."""


def batches(sets: Sequence[T], n_positions: int, most: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield sets as they are tried together: 16 at once, fewer with prompts over 256 positions."""
    at_once = min(most, max(1, most * 256 // n_positions))
    for start in range(0, len(sets), at_once):
        yield sets[start : start + at_once]


@dataclass(frozen=True)
class Scaled:
    """As a value: what is there, times a factor."""

    factor: float

    def __post_init__(self) -> None:
        number("factor", self.factor, "a number, as 0.5")


Value = float | Scaled | Literal["mean"] | Tensor


@dataclass(frozen=True, eq=False)
class Intervention:
    """Units that are given other activations at some positions; by default zero everywhere.

    Attributes:
        units: a list of them, or a table (layers, d_mlp) that is True for them.
        positions: `all`, those of tokens still to be written too; the `patches`; or the numbers
            of some positions of the prompt.
        value: a number; `Scaled`; `mean`, over the photo's patches in the same pass; a tensor
            (layers, d_mlp) of a value for each unit, or (layers, patches, d_mlp) for each unit at
            each patch.

    Raises:
        UsageError: positions or value are none of these.
    """

    units: Sequence[Unit | str] | Bool[Tensor, "layers d_mlp"]
    positions: Positions | tuple[int, ...] = "all"
    value: Value = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.positions, tuple):
            one_of("positions", self.positions, (*get_args(Positions), (0, 7)))
        for position in self.positions if isinstance(self.positions, tuple) else ():
            whole_number("a position", position, least=0)
        named = isinstance(self.value, str) and self.value == "mean"
        if not named and not isinstance(self.value, Tensor | Scaled):
            value = number("value", self.value, "a number, 'mean', Scaled(...) or a tensor")
            if abs(value) > torch.finfo(torch.float32).max:
                raise UsageError(f"value is {value:g}, more than float32 holds; give another")
        if isinstance(self.value, Tensor) and self.value.dim() != 2:
            if self.value.dim() != 3:
                raise UsageError(
                    f"values have shape (layers, d_mlp) or (layers, patches, d_mlp), not "
                    f"{tuple(self.value.shape)}"
                )
            if self.positions == "all":
                raise UsageError("values of each patch go with the patches; give positions=patches")

    def mask(self, model: LanguageModel) -> Bool[Tensor, "layers d_mlp"]:
        """Return a table that is True for the units.

        Raises:
            UsageError: the model has no such unit, or the table is of another model's.
        """
        if not isinstance(self.units, Tensor):
            return unit_mask(as_units(model, self.units), model.n_layers, model.d_mlp)
        size = (model.n_layers, model.d_mlp)
        if self.units.dtype != torch.bool or tuple(self.units.shape) != size:
            raise UsageError(
                f"units takes a list, or {size[0]} x {size[1]} truth values, not "
                f"{shown(self.units)}"
            )
        return self.units

    def places(self, n_positions: int, patches: slice) -> slice | list[int] | None:
        """Return where a pass over some positions is changed; None if it is left alone.

        A step of generation has one position: the prompt's are cached, as they were changed.
        """
        if self.positions == "all":
            return slice(None)
        places = list(self.positions) if isinstance(self.positions, tuple) else None
        stop = patches.stop if places is None else 1 + max(places, default=-1)
        if n_positions < max(stop, 2) or places == []:
            return None
        return patches if places is None else places


@contextmanager
def intervened(
    model: LanguageModel, rows: Sequence[Intervention], patches: slice
) -> Iterator[None]:
    """Change the activations of every row of a batch while the context is open.

    Args:
        rows: one intervention for each row of what is passed through the model.
        patches: the positions that are image patches (`ImagePrompt.patches`).
    """
    if not rows:
        yield
        return
    masks = torch.stack([row.mask(model) for row in rows]).to(model.device)
    touched = masks.any(dim=2).tolist()
    means: dict[tuple[int, int], Tensor] = {}

    def changed(place: int, layer: int, values: Tensor, mask: Tensor) -> tuple[Any, Tensor] | None:
        """Return where a row's activations of a layer are changed, and what they are then."""
        row, value = rows[place], rows[place].value
        if value == "mean" and len(values) >= max(patches.stop, 2):
            means[place, layer] = values[patches].float().mean(dim=0).to(values.dtype)
        at = row.places(len(values), patches)
        if at is None:
            return None
        there = values[at]
        new: Tensor | float
        if isinstance(value, Tensor):
            new = value[layer].to(values.device, values.dtype)
            if new.dim() == 2 and isinstance(at, list):
                new = new[[at_one - patches.start for at_one in at]]
        elif isinstance(value, Scaled):
            new = there * value.factor
        else:
            new = means[place, layer] if value == "mean" else float(value)
        return at, torch.where(mask, new, there)

    def change(layer: int, activation: Tensor) -> Tensor:
        shape = activation.shape
        values = activation.reshape(len(rows), -1, shape[-1])
        chosen = masks[:, layer].to(values.device)  # layers may be on many devices
        result = values.clone()
        for place in range(len(rows)):
            if touched[place][layer]:
                there = changed(place, layer, values[place], chosen[place])
                if there is not None:
                    result[place][there[0]] = there[1]
        return result.reshape(shape)

    modules = {
        layer: model.down_projection(layer)
        for layer in range(model.n_layers)
        if any(row[layer] for row in touched)
    }
    with edit(modules, change):
        yield


def silenced(
    model: LanguageModel,
    masks: Bool[Tensor, "rows layers d_mlp"],
    patches: slice,
    positions: Positions,
) -> AbstractContextManager[None]:
    """Set each row's masked units to zero while the context is open (`intervened`)."""
    return intervened(model, [Intervention(mask, positions) for mask in masks], patches)


@torch.no_grad()
def intervened_logits(
    model: LanguageModel, prompt: ImagePrompt, interventions: Sequence[Intervention]
) -> Float[Tensor, "interventions vocab"]:
    """Return the next token's logits under each intervention, in float32.

    The prompt holds one photo and ends where the token is predicted. Padding rows of the
    vocabulary are included.

    Raises:
        UsageError: there is no intervention; the model has no such unit, or the prompt no such
            position; or it holds more than one photo.
        AdapterError: the model overflows in its dtype.
    """
    prompt = as_prompt(as_model(model), prompt)
    chosen = several("interventions", interventions, "[Intervention(['L12.u905'])]", least=1)
    for one in chosen:
        is_a("interventions", one, Intervention, "a list, as [Intervention(['L12.u905'])]")
        for position in one.positions if isinstance(one.positions, tuple) else ():
            whole_number("a position", position, least=0, below=prompt.n_positions)
        if isinstance(one.value, Tensor):
            require_values(model, prompt, one.value)
    rows: list[Tensor] = []
    for part in batches(chosen, prompt.n_positions):
        with intervened(model, part, prompt.patches):
            output = model.read(prompt.repeated(len(part)), keep=1)
        rows.append(output.logits[:, -1].float().cpu())
    found = torch.cat(rows)
    require_finite(model, found[:, : model.d_vocab])
    return found


def require_values(model: LanguageModel, prompt: ImagePrompt, value: Tensor) -> None:
    """Refuse values that are not one for each unit, or one for each unit at each patch.

    Raises:
        UsageError: they are of another shape, or no floating numbers.
    """
    patches = prompt.patches.stop - prompt.patches.start
    sizes = ((model.n_layers, model.d_mlp), (model.n_layers, patches, model.d_mlp))
    if tuple(value.shape) not in sizes or not value.is_floating_point():
        raise UsageError(
            f"value takes a tensor of {sizes[0]} or {sizes[1]} numbers, layers, (patches,) and "
            f"units, not {shown(value)}"
        )


def ablated_logits(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[Sequence[Unit | str]],
    *,
    positions: Positions = "all",
) -> Float[Tensor, "sets vocab"]:
    """Return the next token's logits with each set of units at zero (`intervened_logits`).

    An empty set gives the intact model's.

    Raises:
        UsageError: there is no set, a unit that the model does not have, or more than one photo.
        AdapterError: the model overflows in its dtype.
    """
    chosen = as_sets(as_model(model), sets)
    return intervened_logits(model, prompt, [Intervention(units, positions) for units in chosen])


def ablate_units(
    model: LanguageModel,
    prompt: ImagePrompt,
    sets: Sequence[Sequence[Unit | str]],
    *,
    positions: Positions = "all",
) -> Float[Tensor, "sets d_vocab"]:
    """Return the log-probabilities (nats) of the next token with each set of units at zero.

    As `ablated_logits`, normalised over the whole vocabulary.

    Raises:
        UsageError: there is no set, a unit that the model does not have, or more than one photo.
        AdapterError: the model overflows in its dtype.
    """
    logits = ablated_logits(model, prompt, sets, positions=positions)
    return logits.log_softmax(dim=-1)[:, : model.d_vocab]


def ablation_grid(name: str, n_units: int) -> list[int]:
    """Return how many units are switched off at each step.

    `short`: 0, 10, 50, 100 and 1.4 % of all units; `full`: the paper's shares, and 50 and 100.

    Raises:
        UsageError: the grid is neither.
    """
    shares = [round(step * n_units / PAPER_UNITS) for step in PAPER_GRID]
    if name == "short":
        grid = {0, 10, 50, 100, shares[-1]}
    elif name == "full":
        grid = {*shares, 50, 100}
    else:
        raise UsageError(f"there is no grid {name!r}; take short or full")
    return sorted(size for size in grid if size <= n_units)
