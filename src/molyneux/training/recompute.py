"""Memory for time: a layer keeps its input alone, and what else backward needs is made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError

_POSITIONS = 8
_TOLERANCE = 0.02  # of the largest gradient; dropout that came alive changes it by far more


@contextmanager
def recomputing(model: LanguageModel) -> Iterator[None]:
    """Switch Hugging Face's own activation checkpointing on, and off again.

    It works in layers that are in training mode, so the layers are, and what is inside them is
    not: no dropout inside them comes alive (see `require_recomputing` for their own).
    """
    network: Any = model.model
    # transformers 5.23 renamed them.
    new = hasattr(network, "activation_checkpointing_enable")
    prefix = "activation" if new else "gradient"
    layers = [model.layer(number) for number in range(model.n_layers)]
    getattr(network, f"{prefix}_checkpointing_enable")(
        **{f"{prefix}_checkpointing_kwargs": {"use_reentrant": False}}
    )
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        for layer in layers:
            layer.training = False
        getattr(network, f"{prefix}_checkpointing_disable")()


def require_recomputing(model: LanguageModel) -> None:
    """Prove that it changes no gradient, with one pass of a few random positions.

    Raises:
        UsageError: the model does not offer it, or computes something else with it.
    """
    name = type(model.model).__name__
    plain = _gradient(model)
    try:
        with recomputing(model):
            again = _gradient(model)
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{name} offers no recomputing ({' '.join(str(error).split())[:120]}); "
            "leave out --recompute and give a larger --accumulate"
        ) from error
    # Negated, so that what is no number proves nothing.
    if not float((again - plain).abs().max()) <= _TOLERANCE * float(plain.abs().max()):
        raise UsageError(
            f"{name} computes something else when its layers are recomputed (dropout in them, "
            "probably, or gradients that are no numbers); leave out --recompute and give a "
            "larger --accumulate"
        )


def _gradient(model: LanguageModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, _POSITIONS, model.d_model, generator=generator)
    embeddings = noise.to(model.device, model.dtype).requires_grad_()
    logits = model.run(inputs_embeds=embeddings, keep=1).logits
    (found,) = torch.autograd.grad(logits.float().logsumexp(-1).sum(), embeddings)
    return found.float()
