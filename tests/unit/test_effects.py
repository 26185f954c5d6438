"""Exact effects of single units: rows that enter at their layer give what whole passes give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_interventions import CLEAN, FIRST, SECOND
from test_interventions import prompt as toy_prompt
from test_interventions import toy as toy_model
from test_sight import subject
from tiny_models import KINDS, count_hooks
from torch import nn

from molyneux import MolyneuxError
from molyneux.adapters import LanguageModel
from molyneux.neurons.ablation import Intervention, Positions, intervened_logits
from molyneux.neurons.effects import Written, unit_effects
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt

toy, prompt = toy_model, toy_prompt
TOKENS = [9, 14]


def values_of(model: LanguageModel, n_patches: int) -> list[tuple[Written, Positions]]:
    """Return zero, one value for each unit, and one for each unit at each patch."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(model.n_layers, model.d_mlp, generator=generator)
    patches = torch.randn(model.n_layers, n_patches, model.d_mlp, generator=generator)
    return [(0.0, "patches"), (0.0, "all"), (mean, "patches"), (mean, "all"), (patches, "patches")]


@pytest.mark.parametrize("kind", [*KINDS, "llava", "qwen2_vl", "gemma3"])
def test_effects_are_those_of_one_pass_for_each_unit(kind: str) -> None:
    model, (own, *_) = subject(kind)
    hooks = count_hooks(model.model)
    # Two of a layer, one of every other, out of order, and one twice.
    last = model.n_layers - 1
    units = [Unit(last, 5), Unit(0, 3), *(Unit(k, 7) for k in range(last)), Unit(0, 3)]
    n_patches = own.patches.stop - own.patches.start
    for value, positions in values_of(model, n_patches):
        found = unit_effects(model, own, TOKENS, units, value=value, positions=positions, rows=3)
        rows = [Intervention([]), *(Intervention([unit], positions, value) for unit in units)]
        slow = torch.cat([intervened_logits(model, own, [row]) for row in rows])
        for of, exact in ((found.logit, slow), (found.log_probability, slow.log_softmax(dim=-1))):
            wanted = exact[:1, TOKENS] - exact[1:, TOKENS]
            torch.testing.assert_close(of, wanted, atol=3e-5, rtol=1e-5)
            assert wanted[1:-1].abs().max() > 1e-3
            # Of the last layer nothing at a patch reaches the next token.
            if positions == "patches":
                assert of[0].abs().max() == 0
    assert count_hooks(model.model) == hooks


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_enters_at_the_layer_of_its_unit(kind: str) -> None:
    model, (own, *_) = subject(kind)
    given: list[int] = []
    layers = [model.layer(k) for k in range(model.n_layers)]

    def count(_: nn.Module, args: Any) -> None:
        given.append(len(args[0]))

    hooks = [one.register_forward_pre_hook(count) for one in layers]
    try:
        unit_effects(model, own, TOKENS, [Unit(2, 0), Unit(1, 1), Unit(1, 2)])
    finally:
        for hook in hooks:
            hook.remove()
    # Counted before a layer's own rows enter.
    assert given == ([4, 4, 4] if model.layers_are_told_rows else [1, 1, 3])


def test_effects_of_a_network_of_small_integers(toy: LanguageModel, prompt: ImagePrompt) -> None:
    """Layer 1 is active (2, 1), (3, 3), (4, 5); its units add 2 a, and -a, to the logit."""
    found = unit_effects(toy, prompt, [2], [SECOND, FIRST])
    assert found.logit[:, 0].tolist() == [-4.0, 10.0]
    everywhere = unit_effects(toy, prompt, [2], [SECOND, FIRST], positions="all")
    assert everywhere.logit[:, 0].tolist() == [-9.0, 18.0]
    to_one = unit_effects(toy, prompt, [2], [FIRST], value=torch.ones(2, 2))
    assert to_one.logit.tolist() == [[2.0 * (2 - 1 + 3 - 1)]]
    assert unit_effects(toy, prompt, [2], []).logit.shape == (0, 1)
    assert CLEAN == 24.0


def test_done_units_are_told(toy: LanguageModel, prompt: ImagePrompt) -> None:
    told: list[int] = []
    unit_effects(toy, prompt, [2], [FIRST, SECOND, FIRST], rows=2, on_batch=told.append)
    assert told == [2, 3]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"units": ["L7.u1"]}, "no unit L7"),
        ({"token_ids": []}, "token_ids"),
        ({"value": torch.zeros(3, 3)}, "value takes a tensor"),
        ({"value": torch.zeros(2, 2, 2), "positions": "all"}, "positions=patches"),
    ],
)
def test_wrong_arguments_are_one_line(
    toy: LanguageModel, prompt: ImagePrompt, wrong: dict[str, Any], line: str
) -> None:
    given: dict[str, Any] = {"token_ids": [2], "units": [FIRST], **wrong}
    with pytest.raises(MolyneuxError, match=line):
        unit_effects(toy, prompt, given.pop("token_ids"), given.pop("units"), **given)
