"""What each of many units by itself gives a word: exactly, by taking it away.

The exact counterpart of a score: what integrated gradients, gradient x activation and their like
estimate. Each row of a batch carries one unit's change, and enters the pass at that unit's layer.
Below it the row would be the unchanged pass's to the last digit, and one row stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import number, one_of, several, whole_number
from molyneux.hooks import edit
from molyneux.neurons.ablation import BATCH, Intervention, Positions, batches, require_values
from molyneux.neurons.checks import as_model, as_prompt, as_token, as_units
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt

Written = float | Float[Tensor, "layers d_mlp"] | Float[Tensor, "layers patches d_mlp"]
"""What a unit is put to: a number, one of its own, or one of its own at each patch."""


@dataclass(frozen=True, eq=False)
class Effects:
    """What each unit gives each token: the value of the unchanged pass minus that without it.

    Attributes:
        logit: in logits.
        log_probability: in nats.
    """

    logit: Float[Tensor, "units tokens"]
    log_probability: Float[Tensor, "units tokens"]

    def __repr__(self) -> str:
        units, tokens = self.logit.shape
        return f"Effects({units} units, {tokens} tokens)"


def unit_effects(
    model: LanguageModel,
    prompt: ImagePrompt,
    token_ids: Sequence[int],
    units: Sequence[Unit | str],
    *,
    value: Written = 0.0,
    positions: Positions = "patches",
    rows: int = BATCH,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Effects:
    """Return the exact effect of each unit by itself on tokens that follow the prompt.

    One pass for each batch of units. Its first row is the unchanged pass; the row of a unit is
    copied from it where the unit's layer begins (not in models whose layers are told how many rows
    there are: ALiBi's; there each row is passed whole). The difference is taken within the batch.

    Args:
        prompt: one photo's, which ends where the tokens are predicted.
        value: what each unit is put to at the positions: zero if not given.
        positions: the patches, or all.
        rows: at most so many units in a batch.
        on_batch: told, after each, how many units are done.

    Raises:
        UsageError: the model has no such unit or token, the prompt holds more than one photo, the
            values are not the model's, or `rows` is no number of units.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    prompt = as_prompt(model, prompt)
    chosen = as_units(model, units)
    tokens = [as_token(model, one) for one in several("token_ids", token_ids, "[905]", least=1)]
    rows = whole_number("rows", rows, least=1)
    one_of("positions", positions, get_args(Positions))
    if not isinstance(value, Tensor):
        value = number("value", value, "a number, or a tensor of one for each unit")
    Intervention([], positions, value)  # refuses values that go with no such positions
    if isinstance(value, Tensor):
        require_values(model, prompt, value)
    every = torch.arange(prompt.n_positions)
    places = every if positions == "all" else every[prompt.patches]
    order = sorted(range(len(chosen)), key=chosen.__getitem__)
    logit = torch.zeros(len(chosen), len(tokens))
    log_probability = logit.clone()
    done = 0
    for part in batches(order, prompt.n_positions, rows):
        found = _pass(model, prompt, [chosen[place] for place in part], value, places)
        log_p = found.log_softmax(dim=-1)
        for kept, values in ((logit, found), (log_probability, log_p)):
            at = values[:, tokens].cpu()
            kept[list(part)] = at[0] - at[1:]
        done += len(part)
        on_batch(done)
    return Effects(logit, log_probability)


@torch.no_grad()
def _pass(
    model: LanguageModel,
    prompt: ImagePrompt,
    units: Sequence[Unit],
    value: Written,
    places: Int[Tensor, " places"],
) -> Float[Tensor, "rows vocab"]:
    """Return the logits of the unchanged pass, then those of each unit's; units ascend."""
    enters = not model.layers_are_told_rows
    given = prompt if enters else prompt.repeated(1 + len(units))
    with _changed(model, units, value, places, prompt.patches.start, enters=enters):
        logits: Tensor = model.read(given, keep=1).logits[:, -1].float()
    require_finite(model, logits[:, : model.d_vocab])
    return logits


@contextmanager
def _changed(
    model: LanguageModel,
    units: Sequence[Unit],
    value: Written,
    places: Int[Tensor, " places"],
    first_patch: int,
    *,
    enters: bool,
) -> Iterator[None]:
    """Put the unit of each row, from the second on, to its value while the context is open.

    Args:
        enters: whether a row is made where its unit's layer begins, or is there from the first.
    """
    layers = sorted({unit.layer for unit in units})
    at_layer = [[row for row, unit in enumerate(units, 1) if unit.layer == k] for k in layers]
    rows_of = dict(zip(layers, at_layer, strict=True))
    there = dict(zip(layers, accumulate(map(len, at_layer), initial=1), strict=False))

    def enter(layer: int, stream: Tensor) -> Tensor:
        new = len(rows_of[layer])
        return torch.cat([stream, stream[:1].expand(new, *stream.shape[1:])])

    def change(layer: int, activation: Tensor) -> Tensor:
        rows = rows_of[layer]
        n_rows = there[layer] + len(rows) if enters else 1 + len(units)
        numbers = [units[row - 1].unit for row in rows]
        found = activation.clone()
        # What follows is written into `found`; OPT's rows come as one long axis of positions.
        of_rows = found.view(n_rows, -1, activation.shape[-1])
        at = torch.tensor(rows)[:, None], places[None], torch.tensor(numbers)[:, None]
        new: float | Tensor = value
        if isinstance(value, Tensor):
            of_units = value[layer][..., numbers]
            if of_units.dim() == 2:  # a value at each patch
                of_units = of_units[places - first_patch].T
            new = of_units.reshape(len(rows), -1).to(found).expand(len(rows), len(places))
        of_rows[at] = new if isinstance(new, Tensor) else float(new)
        return found

    downs = {layer: model.down_projection(layer) for layer in layers}
    begun = {layer: model.layer(layer) for layer in layers if enters}
    with edit(begun, enter), edit(downs, change):
        yield
