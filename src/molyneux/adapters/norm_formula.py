"""What norms divide by: the one form of all families here, `scale x deviations / size (+ bias)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def epsilon_of(norm: nn.Module) -> float:
    """Return what a norm adds to the mean square, whatever it calls it."""
    return float(getattr(norm, "eps", getattr(norm, "variance_epsilon", 1e-6)))


def deviations(values: Tensor, centred: bool) -> Tensor:
    """Return values, less their mean if `centred`, in float32 at least."""
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    return values - values.mean(dim=-1, keepdim=True) if centred else values


def size_of(values: Tensor, centred: bool, epsilon: float) -> Tensor:
    """Return what a norm divides values by."""
    mean = deviations(values, centred).square().mean(dim=-1, keepdim=True)
    return (mean + epsilon).sqrt()


def normalised(values: Tensor, centred: bool, epsilon: float) -> Tensor:
    """Return values over their root mean square, about their mean if `centred`."""
    return deviations(values, centred) / size_of(values, centred, epsilon)
