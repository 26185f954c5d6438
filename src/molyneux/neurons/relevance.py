"""A pass whose gradients are relevance: each step is replaced by a linear one of the same value.

Rezaei Jafari et al. 2025 (arXiv 2508.21258, RelP) take the place of gradients with what
layer-wise relevance propagation hands back; gradients of the pass here are that. Its rules, with
x detached where it is written [x]:

* a norm divides by what it divided by: `scale * x / [size]` (the LN rule of Ali et al. 2022);
* attention weights are numbers, `[weights] @ values` (the AH rule of the same);
* the activation function is a factor, `z * [f(z) / z]` (the identity rule);
* of a product of two branches each has half, `([g] * u + g * [u]) / 2` (the half rule);
* linear maps are as they are (the 0 rule): what biases add is handed to nobody.

Every value stays as it was to the bit: a rule adds a difference that is zero and has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from molyneux.adapters.language_model import LanguageModel, parameter_of
from molyneux.adapters.norm_formula import deviations, epsilon_of, size_of
from molyneux.errors import AdapterError
from molyneux.hooks import capture, edit, replaced

_EXACT, _COARSE = 1e-3, 3e-2
"""How far a norm may be from its formula, in float32 or better and below."""


@contextmanager
def relevance_rules(model: LanguageModel) -> Iterator[None]:
    """Have gradients of the passes in the context be relevance over value.

    Raises:
        AdapterError: the family's row does not name the activation function; or, of a pass, a norm
            is of another form, the activation function does not read the pre-activation, or
            attention is computed by neither softmax nor `scaled_dot_product_attention`.
    """
    layers = range(model.n_layers)
    functions = {layer: model.activation_function(layer) for layer in layers}
    norms = _norms(model)
    downs = {layer: model.down_projection(layer) for layer in layers} if model.family.gated else {}
    attended = _Attention()
    with (
        capture({layer: model.preactivation(layer) for layer in layers}, at="output") as made,
        capture(functions) as read,
        capture(norms) as given,
    ):

        def as_factor(layer: int, output: Tensor) -> Tensor:
            values = read[layer]
            z = model.preactivation_in(made[layer])
            if values.shape != z.shape or not torch.equal(values.detach(), z.detach()):
                raise AdapterError(
                    f"layer {layer} of {type(model.model).__name__}: its activation function does "
                    "not read what the row says is the pre-activation, so that relevance has no "
                    "rule here; correct `activation` of the row"
                )
            return _with_gradient(output, values * _ratio(output, values))

        def frozen(name: str, output: Tensor) -> Tensor:
            return _with_gradient(
                output, _norm_as_map(model, name, norms[name], given[name], output)
            )

        with (
            edit(functions, as_factor, at="output"),
            edit(norms, frozen, at="output"),
            edit(downs, lambda _, product: _with_gradient(product, product / 2)),
            replaced(attended.functions()),
        ):
            yield
    if made and attended.calls < len(made):
        raise AdapterError(
            f"{type(model.model).__name__} attends without softmax or "
            "scaled_dot_product_attention, so that its attention weights cannot be frozen; load "
            'it with attn_implementation="eager"'
        )


def _norms(model: LanguageModel) -> dict[str, nn.Module]:
    found = {
        f"layer {layer}, {name}": norm
        for layer in range(model.n_layers)
        for name, norm in model.norms_in(layer).items()
    }
    final = model.optional("final_norm")
    return found if final is None else {**found, "the final norm": final}


def _norm_as_map(
    model: LanguageModel, name: str, norm: nn.Module, values: Tensor, output: Tensor
) -> Tensor:
    """Return a norm's output without its bias, linear in what it was given."""
    centred = isinstance(norm, nn.LayerNorm)
    size = size_of(values.detach(), centred, epsilon_of(norm))
    scale = model.scale_of(norm).to(size)
    linear = deviations(values, centred) * (scale / size)
    bias = parameter_of(norm, "bias")
    claimed = linear.detach() if bias is None else linear.detach() + bias.to(linear)
    off = (claimed - output.detach()).norm() / output.detach().norm().clamp(min=1e-12)
    exact = model.dtype in (torch.float32, torch.float64)
    if float(off) > (_EXACT if exact else _COARSE):
        raise AdapterError(
            f"{name} of {type(model.model).__name__}: this {type(norm).__name__} does not scale "
            "values over their size, so that relevance has no rule here"
        )
    return linear.to(output.dtype)


def _ratio(output: Tensor, values: Tensor) -> Tensor:
    """Return output over input; 0 where the input is 0: what is silent hands nothing on."""
    known = values.detach()
    zero = known == 0
    return (output.detach() / known.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)


def _with_gradient(value: Tensor, of: Tensor) -> Tensor:
    """Return the value of one tensor with the gradient of another."""
    return value.detach() + (of - of.detach())


class _Attention:
    """What attention calls, with its weights frozen; counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def functions(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """Return what is called instead of each function."""
        softmaxes = (functional.softmax, torch.softmax, torch.Tensor.softmax)
        return {
            functional.scaled_dot_product_attention: self._attend,
            **{function: self._softmax(function) for function in softmaxes},
            torch.tanh: _tanh,
        }

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any
    ) -> Tensor:
        self.calls += 1
        return functional.scaled_dot_product_attention(
            query.detach(), key.detach(), value, *rest, **named
        )

    def _softmax(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def weights(*given: Any, **named: Any) -> Tensor:
            self.calls += 1
            return function(*given, **named).detach()

        return weights


def _tanh(values: Tensor, **named: Any) -> Tensor:
    """Of logits that are capped: an activation function of the head."""
    output = torch.tanh(values, **named)
    return _with_gradient(output, values * _ratio(output, values))
