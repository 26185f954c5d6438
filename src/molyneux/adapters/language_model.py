"""A Hugging Face causal language model, with the places Molyneux needs named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molyneux.adapters.families import Family, find_family
from molyneux.errors import AdapterError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def _at(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        raise AdapterError(
            f"{type(module).__name__} has no module {path!r}, which its family's row names; "
            "correct the row in molyneux.adapters.families"
        ) from error


@dataclass(frozen=True)
class LanguageModel:
    """A frozen causal LM, its tokenizer, and where its units are.

    A *unit* is one coordinate of the input of a layer's down projection: the coefficient of
    the unit's output row, so that `activation @ output_rows (+ bias)` is the MLP's output.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family

    @classmethod
    def adapt(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        family: Family | None = None,
    ) -> LanguageModel:
        """Return the model with its family's row resolved, frozen and in evaluation mode.

        Raises:
            AdapterError: the architecture has no row, or the row does not fit the model.
        """
        family = family or find_family(model.config.model_type)
        model.eval()
        model.requires_grad_(False)
        adapted = cls(model, tokenizer, family)
        for layer in range(adapted.n_layers):
            adapted.down_projection(layer)
        _at(model, family.final_norm)
        return adapted

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self._embedding_table.shape[1])

    @property
    def d_mlp(self) -> int:
        """Units per layer."""
        return int(self.output_rows(0).shape[0])

    @property
    def d_vocab(self) -> int:
        """Tokens that can be decoded: padding rows of the embedding beyond them are left out."""
        return min(int(self._embedding_table.shape[0]), len(self.tokenizer))

    @property
    def n_units(self) -> int:
        """Units in all layers."""
        return self.n_layers * self.d_mlp

    @property
    def device(self) -> torch.device:
        """Where the input embeddings are."""
        return self._embedding_table.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the input embeddings."""
        return self._embedding_table.dtype

    @property
    def _embedding_table(self) -> Tensor:
        table: Tensor = self.model.get_input_embeddings().weight  # type: ignore[assignment]
        return table

    @property
    def _layers(self) -> nn.ModuleList:
        layers = _at(self.model, self.family.layers)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def layer(self, layer: int) -> nn.Module:
        """Return one layer (its output is the residual stream after it)."""
        return self._layers[layer]

    def down_projection(self, layer: int) -> nn.Module:
        """Return the module whose input holds a layer's units."""
        return _at(self._layers[layer], self.family.down)

    def preactivation(self, layer: int) -> nn.Module:
        """Return the module whose output is the paper's Z."""
        return _at(self._layers[layer], self.family.preactivation)

    def output_rows(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """Return what each unit of a layer adds to the residual stream at activation 1."""
        weight: Tensor = self.down_projection(layer).weight  # type: ignore[assignment]
        return weight if self.family.rows_stored else weight.T

    def final_norm_scale(self) -> Float[Tensor, " d_model"]:
        """Return the elementwise scale of the norm before the head."""
        scale: Tensor = _at(self.model, self.family.final_norm).weight  # type: ignore[assignment]
        return scale

    def input_embeddings(self) -> Float[Tensor, "d_vocab d_model"]:
        """Return the token embeddings, without padding rows."""
        return self._embedding_table[: self.d_vocab]

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """Return the head's weight, without padding rows."""
        table: Tensor = self.model.get_output_embeddings().weight
        return table[: self.d_vocab]

    def embed(self, token_ids: Int[Tensor, "*batch pos"]) -> Float[Tensor, "*batch pos d_model"]:
        """Return what the model's own embedding layer makes of token ids."""
        embedded: Tensor = self.model.get_input_embeddings()(token_ids.to(self.device))
        return embedded

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, never with a special token added in silence."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def decode(self, token_ids: Any) -> str:
        """Return the text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))

    def token_text(self, token_id: int) -> str:
        """Return one token as text, its leading space kept."""
        return str(self.tokenizer.decode([token_id]))
