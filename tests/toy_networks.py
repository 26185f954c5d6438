"""A network of a few numbers in the place of a language model, whose right answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from tiny_models import tiny_tokenizer
from torch import Tensor, nn

from molyneux.adapters.families import Family
from molyneux.adapters.language_model import LanguageModel
from molyneux.vision.layout import ImagePrompt


class Function(nn.Module):
    """An activation function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


class Layer(nn.Module):
    """Every position takes the mean of those up to it; then the units write.

    `kept` is what of the stream goes past them: 1, or 0 where all goes through the units.
    """

    def __init__(
        self, up: Tensor, down: Tensor, function: Callable[[Tensor], Tensor], kept: float
    ) -> None:
        super().__init__()
        self.up = nn.Linear(up.shape[1], up.shape[0], bias=False)
        self.act = Function(function)
        self.down = nn.Linear(down.shape[1], down.shape[0], bias=False)
        self.up.weight, self.down.weight = nn.Parameter(up), nn.Parameter(down)
        self.kept = kept

    def forward(self, stream: Tensor) -> Tensor:
        n = torch.arange(1, stream.shape[1] + 1, dtype=stream.dtype)[:, None]
        mean = stream.cumsum(dim=1) / n
        return self.kept * stream + self.down(self.act(self.up(mean)))


class Network(nn.Module):
    """Layers between an embedding and a head."""

    def __init__(self, layers: Sequence[Layer], head: Tensor) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.embedding = nn.Embedding(*head.shape)
        self.head = nn.Linear(head.shape[1], head.shape[0], bias=False)
        self.head.weight = nn.Parameter(head)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(model_type="toy"))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, inputs_embeds: Tensor, use_cache: bool = False) -> Any:
        stream = inputs_embeds
        for layer in self.layers:
            stream = layer(stream)
        return SimpleNamespace(logits=self.head(stream))


ROW = Family("Toy", ("toy",), "layers", "down", "up", None, activation="act")


def toy(*layers: tuple[Any, Any, Callable[[Tensor], Tensor], float], head: Any) -> LanguageModel:
    """Return a network in float64; token 0 is read by the first row of the head, and so on."""
    tokenizer = tiny_tokenizer()
    rows = torch.zeros(len(tokenizer), len(head[0]), dtype=torch.float64)
    rows[: len(head)] = torch.tensor(head, dtype=torch.float64)
    made = [
        Layer(
            torch.as_tensor(up, dtype=torch.float64),
            torch.as_tensor(down, dtype=torch.float64),
            function,
            kept,
        )
        for up, down, function, kept in layers
    ]
    network: Any = Network(made, rows).double().requires_grad_(False)
    return LanguageModel(network, tokenizer, ROW)


def random_toy(
    function: Callable[[Tensor], Tensor], *, kept: Sequence[float] = (1.0, 1.0), seed: int = 0
) -> LanguageModel:
    """Return a network of four stream coordinates and five units a layer."""
    g = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    layers = [(drawn(5, 4), drawn(4, 5) / 2, function, each) for each in kept]
    return toy(*layers, head=drawn(2, 4).tolist())


def toy_prompt(*positions: Sequence[float], patches: slice = slice(0, 2)) -> ImagePrompt:
    """Return a prompt of the stream's own coordinates."""
    return ImagePrompt(torch.tensor([positions], dtype=torch.float64), patches)


def random_toy_prompt(seed: int = 1, *, positions: int = 4) -> ImagePrompt:
    """Return a prompt of four coordinates; the first two or more positions are patches."""
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randn(1, positions, 4, generator=g, dtype=torch.float64)
    return ImagePrompt(drawn, slice(0, positions - 1))
