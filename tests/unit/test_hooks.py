"""No hook survives: not success, not the caller's error, not the model's, not bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tiny_models import D_MLP, N_LAYERS, count_hooks
from torch import Tensor, nn

from molyneux.errors import UsageError
from molyneux.hooks import capture, edit
from molyneux.models.captioner import Captioner
from molyneux.neurons.ablation import ablate_units, silenced
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.sinks import patch_norms
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt


class Doubling(nn.Module):
    """Returns a tuple, as attention and some layers do."""

    def forward(self, value: Tensor, note: str = "") -> tuple[Tensor, str]:
        return 2 * value, note


class Refusing(nn.Module):
    """Lets no hook be registered."""

    def register_forward_hook(self, *_: Any, **__: Any) -> Any:
        raise LookupError

    register_forward_pre_hook = register_forward_hook


Network = dict[str, nn.Module]


def count(network: Network) -> int:
    return sum(count_hooks(module) for module in network.values())


@pytest.fixture
def network() -> Iterator[Network]:
    network = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "t": Doubling()}
    yield network
    assert count(network) == 0


def test_capture_gives_inputs_and_outputs_in_the_graph(network: Network) -> None:
    value = torch.tensor([[1.0, -2.0]], requires_grad=True)
    with capture(network, at="input") as inputs, capture(network, at="output") as outputs:
        assert count(network) == 6
        doubled, _ = network["t"](network["b"](network["a"](value)), "kept")
        assert count(network) == 6
    assert inputs["a"] is value
    assert torch.equal(outputs["a"], network["a"](value))
    assert torch.equal(inputs["b"], outputs["a"])
    assert outputs["t"] is doubled  # of a tuple, the first
    slope = torch.autograd.grad(doubled.sum(), inputs["t"])[0]
    assert slope.tolist() == [[2, 2]]


def test_a_later_pass_replaces_what_was_captured(network: Network) -> None:
    with capture({"a": network["a"]}) as seen:
        network["a"](torch.zeros(1, 2))
        network["a"](torch.ones(3, 2))
    assert seen["a"].tolist() == [[1, 1]] * 3


def test_edit_replaces_the_input_and_keeps_the_other_arguments(network: Network) -> None:
    with edit({"t": network["t"]}, lambda key, value: value + len(key)):
        changed, note = network["t"](torch.tensor([1.0]), "kept")
    assert (changed.tolist(), note) == ([4.0], "kept")
    assert network["t"](torch.tensor([1.0]))[0].tolist() == [2.0]


def test_edit_replaces_the_output_and_keeps_the_rest_of_a_tuple(network: Network) -> None:
    both = {name: network[name] for name in ("a", "t")}
    with edit(both, lambda key, value: value * 0 + len(key), at="output"):
        assert count(network) == 2
        assert network["a"](torch.ones(1, 2)).tolist() == [[1, 1]]
        changed, note = network["t"](torch.tensor([5.0]), "kept")
    assert (changed.tolist(), note) == ([1.0], "kept")


def test_contexts_nest_and_an_inner_capture_sees_the_edit(network: Network) -> None:
    one = {"a": network["a"]}
    value = torch.ones(1, 2)
    with edit(one, lambda _, v: v * 3):
        with edit(one, lambda _, v: v + 1), capture(one) as seen:
            network["a"](value)
            assert count(network) == 3
        assert count(network) == 1
        with capture(one) as outer:
            network["a"](value)
    assert seen["a"].tolist() == [[4, 4]]
    assert outer["a"].tolist() == [[3, 3]]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_the_callers_error(network: Network, error: type[BaseException]) -> None:
    with pytest.raises(error), capture(network), edit(network, lambda _, v: v):
        raise error
    assert count(network) == 0


def test_the_models_error(network: Network) -> None:
    with pytest.raises(RuntimeError, match="shape"), capture(network), capture(network, "output"):
        network["a"](torch.zeros(1, 5))
    assert count(network) == 0


def test_an_error_in_the_change(network: Network) -> None:
    def fail(key: str, value: Tensor) -> Tensor:
        raise ZeroDivisionError

    for at in ("input", "output"):
        with pytest.raises(ZeroDivisionError), edit(network, fail, at):
            network["a"](torch.zeros(1, 2))
        assert count(network) == 0


@pytest.mark.parametrize("at", ["input", "output"])
def test_an_error_while_registering_removes_what_was_registered(network: Network, at: Any) -> None:
    with pytest.raises(LookupError), capture({**network, "last": Refusing()}, at):
        raise AssertionError("the context must not open")
    assert count(network) == 0


def test_a_hook_of_the_users_own_is_left_alone(network: Network) -> None:
    own = network["a"].register_forward_hook(lambda *_: None)
    with capture(network), edit(network, lambda _, v: v):
        network["a"](torch.zeros(1, 2))
    assert count(network) == 1
    own.remove()


def test_hooks_are_registered_on_entry_not_before(network: Network) -> None:
    unused = capture(network), edit(network, lambda _, v: v)
    assert count(network) == 0
    del unused


def crash(*_: Any, **__: Any) -> Any:
    raise RuntimeError("half-way through a pass")


def wrong_width(prompt: ImagePrompt) -> ImagePrompt:
    return ImagePrompt(prompt.embeddings[..., :-1], prompt.patches)


def attribute(captioner: Captioner, prompt: ImagePrompt) -> Any:
    return attribute_units(captioner.language_model, prompt, [Target(20, prompt.n_positions - 1)])


def attribute_a_token_that_is_not_there(captioner: Captioner, prompt: ImagePrompt) -> Any:
    return attribute_units(captioner.language_model, prompt, [Target(10**6, 3)])


def ablate(captioner: Captioner, prompt: ImagePrompt) -> Any:
    return ablate_units(captioner.language_model, prompt, [[Unit(0, 1)], [Unit(1, 2)]])


def ablate_patches(captioner: Captioner, prompt: ImagePrompt) -> Any:
    units = [[Unit(0, 1)], [Unit(1, 2)]]
    return ablate_units(captioner.language_model, prompt, units, positions="patches")


def write_silenced(captioner: Captioner, prompt: ImagePrompt) -> Any:
    masks = unit_mask([Unit(0, 1)], N_LAYERS, D_MLP)[None]
    with silenced(captioner.language_model, masks, prompt.patches, "all"):
        return captioner.write(prompt)


def norms(captioner: Captioner, prompt: ImagePrompt) -> Any:
    return patch_norms(captioner.language_model, prompt)


EVERY_METHOD = [attribute, ablate, ablate_patches, write_silenced, norms]


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_every_method_leaves_none(
    method: Callable[..., Any], captioner: Captioner, photos: list[Any]
) -> None:
    model, prompt = captioner.language_model.model, captioner.see(photos[:1])
    before = count_hooks(model)
    method(captioner, prompt)
    assert count_hooks(model) == before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captioner.language_model.layer(1), "forward", crash)
        with pytest.raises(RuntimeError, match="half-way"):
            method(captioner, prompt)
    assert count_hooks(model) == before
    with pytest.raises(UsageError):
        method(captioner, wrong_width(prompt))
    assert count_hooks(model) == before


def test_bad_targets_leave_none(captioner: Captioner, photos: list[Any]) -> None:
    model, prompt = captioner.language_model, captioner.see(photos)
    before = count_hooks(model.model)
    with pytest.raises(UsageError, match="one photo"):
        attribute_units(model, prompt, [Target(20, 3)])
    with pytest.raises(UsageError, match="targets needs at least one"):
        attribute_units(model, prompt.photo(0), [])
    with pytest.raises(UsageError):
        attribute_a_token_that_is_not_there(captioner, prompt.photo(0))
    assert count_hooks(model.model) == before
