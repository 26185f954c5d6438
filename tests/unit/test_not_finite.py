"""A model that overflows is told so, wherever numbers are taken from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import tiny_captioner, tiny_photos

from molyneux.errors import AdapterError
from molyneux.hooks import edit
from molyneux.neurons.ablation import ablate_units
from molyneux.neurons.attribution import Target, attribute_units


@pytest.fixture
def seeing() -> Any:
    return tiny_captioner("llama")


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
@pytest.mark.parametrize("what", ["a caption", "scores", "ablation"])
def test_numbers_that_are_none_give_no_result(seeing: Any, what: str, number: float) -> None:
    model = seeing.language_model
    prompt = seeing.see([tiny_photos(1)[0]])

    def overflow(_: str, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[..., 0] = number
        return output

    ask = {
        "a caption": lambda: seeing.write(prompt),
        "scores": lambda: attribute_units(model, prompt, [Target(5, prompt.n_positions - 1)]),
        "ablation": lambda: ablate_units(model, prompt, [[]]),
    }[what]
    ask()  # as it is, it answers
    with (
        edit({"last": model.layer(model.n_layers - 1)}, overflow, at="output"),
        pytest.raises(AdapterError, match="not finite in float32") as error,
    ):
        ask()
    assert "\n" not in str(error.value)


def test_a_gradient_that_overflows_is_noticed_where_the_logits_are_fine(seeing: Any) -> None:
    model = seeing.language_model
    prompt = seeing.see([tiny_photos(1)[0]])

    def steep(_: str, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output.register_hook(lambda gradient: gradient * float("inf"))
        return output

    with (
        edit({"last": model.layer(model.n_layers - 1)}, steep, at="output"),
        pytest.raises(AdapterError, match="not finite"),
    ):
        attribute_units(model, prompt, [Target(5, prompt.n_positions - 1)])
