"""Mean and deviation of observations that come one after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Moments:
    """Elementwise mean and deviation of tensors of one shape (Chan, Golub and LeVeque 1983)."""

    count: int = 0
    mean: Tensor | None = None
    squares: Tensor | None = None

    def add(self, value: Tensor) -> None:
        """Take one more observation."""
        self.merge(Moments(1, value.double(), torch.zeros_like(value, dtype=torch.float64)))

    def merge(self, other: Moments) -> None:
        """Take all observations of another stream."""
        if other.mean is None or other.squares is None:
            return
        if self.mean is None or self.squares is None:
            self.count, self.mean, self.squares = other.count, other.mean, other.squares
            return
        total = self.count + other.count
        difference = other.mean - self.mean
        self.mean = self.mean + difference * other.count / total
        self.squares = (
            self.squares + other.squares + difference**2 * self.count * other.count / total
        )
        self.count = total

    def without(self, value: Tensor) -> Moments:
        """Return the moments as they were without one of the observations."""
        assert self.mean is not None
        assert self.squares is not None
        value = value.double()
        rest = self.count - 1
        mean = (self.count * self.mean - value) / max(1, rest)
        squares = self.squares - (value - self.mean) * (value - mean)
        return Moments(rest, mean, squares.clamp(min=0))

    def deviation(self) -> Tensor:
        """Return the standard deviation (n - 1); zeros for fewer than two observations."""
        assert self.squares is not None
        return (self.squares / max(1, self.count - 1)).sqrt()
