"""A Hugging Face causal language model, with the places Molyneux needs named."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molyneux.adapters.families import Family
from molyneux.checks import is_a, whole_number
from molyneux.errors import AdapterError, UsageError
from molyneux.hooks import edit

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


def parameter_of(module: nn.Module, name: str) -> Tensor | None:
    """Return a module's parameter, from where accelerate keeps it if it was offloaded."""
    found: Tensor | None = getattr(module, name, None)
    if found is not None and found.is_meta:
        kept = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
        if kept is not None:
            stored: Tensor = kept[name]
            return stored
    return found


def _weight(module: nn.Module) -> Tensor:
    found = parameter_of(module, "weight")
    assert found is not None
    return found


@runtime_checkable
class Prompt(Protocol):
    """What is read in one pass: photos with their text (`ImagePrompt`)."""

    @property
    def embeddings(self) -> Float[Tensor, "photos positions d_model"]:
        """What the model is given as `inputs_embeds`."""
        ...

    def given(self) -> dict[str, Int[Tensor, "*axes photos positions"]]:
        """Return what it is given beside them."""
        ...


@dataclass(frozen=True)
class LanguageModel:
    """A frozen causal LM, its tokenizer, and where its units are.

    A *unit* is one coordinate of the input of a layer's down projection: the coefficient of
    the unit's output row, so that `activation @ output_rows (+ bias)` is the MLP's output.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family

    def __repr__(self) -> str:
        size = f"{self.n_layers} layers x {self.d_mlp} units"
        dtype = str(self.dtype).removeprefix("torch.")
        name = type(self.model).__name__
        return f"LanguageModel({name}, family {self.family.name!r}: {size}, {dtype})"

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self._layers)

    @property
    def d_model(self) -> int:
        """Width of the input embeddings and of the head.

        It is the residual stream's too, unless a projection stands between (`d_stream`).
        """
        return int(self._embedding_table.shape[1])

    @property
    def d_stream(self) -> int:
        """Width of the residual stream."""
        return int(self.output_rows(0).shape[1])

    @property
    def d_mlp(self) -> int:
        """Units per layer."""
        return int(self.output_rows(0).shape[0])

    @property
    def d_vocab(self) -> int:
        """Tokens that can be decoded: padding rows of the embedding are left out, named or not."""
        return min(int(self._embedding_table.shape[0]), len(self.tokenizer) - self._n_placeholders)

    @cached_property
    def _n_placeholders(self) -> int:
        """Tokens at the end of the tokenizer's list that only name padding rows."""
        if self.family.placeholders is None:
            return 0
        size, pattern = len(self.tokenizer), re.compile(self.family.placeholders)
        for n in range(size):
            token: Any = self.tokenizer.convert_ids_to_tokens(size - 1 - n)
            if not isinstance(token, str) or not pattern.fullmatch(token):
                return n
        return size

    @property
    def n_embedded(self) -> int:
        """Tokens that can be read: rows of the embedding, padding included."""
        return int(self._embedding_table.shape[0])

    @property
    def layers_are_told_rows(self) -> bool:
        """Whether layers are given something for each row of a batch: ALiBi's biases."""
        config = self.model.config.get_text_config()
        return bool(getattr(config, "alibi", config.model_type == "bloom"))

    @property
    def n_units(self) -> int:
        """Units in all layers."""
        return self.n_layers * self.d_mlp

    @property
    def device(self) -> torch.device:
        """Where input embeddings are made, and what the model's input is put on."""
        embedding: Any = self.model.get_input_embeddings()
        if embedding.weight.is_meta:  # accelerate keeps it elsewhere, and brings it there
            return torch.device(embedding._hf_hook.execution_device)
        place: torch.device = embedding.weight.device
        return place

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the input embeddings."""
        return self._embedding_table.dtype

    @property
    def _embedding_table(self) -> Tensor:
        return _weight(self.model.get_input_embeddings())

    @property
    def _layers(self) -> nn.ModuleList:
        layers = _at(self.model, self.family.layers)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def optional(self, field: str) -> nn.Module | None:
        """Return a module the row names, or None where the family or this model has none."""
        path: str | None = getattr(self.family, field)
        if path is None:
            return None
        if field in self.family.may_lack:
            parent, _, name = path.rpartition(".")
            owner = _at(self.model, parent)
            # Only what the model itself sets to None is lacking; a misspelt path is an error.
            if hasattr(owner, name) and getattr(owner, name) is None:
                return None
        return _at(self.model, path)

    def layer(self, layer: int) -> nn.Module:
        """Return one layer (its output is the residual stream after it).

        Raises:
            UsageError: there is none of this number; no negative one counts from the end.
        """
        layers = self._layers
        return layers[whole_number("a layer", layer, least=0, below=len(layers))]

    def down_projection(self, layer: int) -> nn.Module:
        """Return the module whose input holds a layer's units."""
        return _at(self.layer(layer), self.family.down)

    def preactivation(self, layer: int) -> nn.Module:
        """Return the module whose output is the paper's Z, or holds it (`preactivation_in`)."""
        return _at(self.layer(layer), self.family.preactivation)

    def preactivation_in(self, output: Float[Tensor, "*any d_out"]) -> Float[Tensor, "*any d_mlp"]:
        """Return the paper's Z out of the output of `preactivation`'s module."""
        which, parts = self.family.preactivation_part
        return output if parts == 1 else output.chunk(parts, dim=-1)[which]

    def activation_function(self, layer: int) -> nn.Module:
        """Return the module that is the activation function of a layer's MLP.

        Raises:
            AdapterError: the family's row does not name it.
        """
        path = self.family.activation
        if path is None:
            raise AdapterError(
                f"the row of the family {self.family.name!r} does not say where a layer has its "
                "activation function; name it as `activation` of the row"
            )
        return _at(self.layer(layer), path)

    def norms_in(self, layer: int) -> dict[str, nn.Module]:
        """Return the norms of a layer that are as wide as the residual stream, by their paths.

        Those of attention's heads alone are narrower.
        """
        return {
            name: module
            for name, module in self.layer(layer).named_modules()
            if "norm" in type(module).__name__.lower()
            and (scale := parameter_of(module, "weight")) is not None
            and scale.shape == (self.d_stream,)
        }

    def output_rows(self, layer: int) -> Float[Tensor, "d_mlp d_stream"]:
        """Return what each unit of a layer adds to the MLP's output at activation 1.

        That is what it adds to the residual stream, unless a norm follows (`write_scale`).
        """
        weight = _weight(self.down_projection(layer))
        return weight if self.family.rows_stored else weight.T

    def norms_of_write(self, layer: int) -> list[nn.Module]:
        """Return the norms between a layer's MLP and the residual stream: none, or one."""
        path = self.family.after_mlp_norm
        return [] if path is None else [_at(self.layer(layer), path)]

    def norms_of_stream(self, layer: int) -> list[nn.Module]:
        """Return the norms that the stream passes from a layer's MLP to the head, in order.

        In most families that is the final norm alone.
        """
        paths = self.family.stream_norms
        norms = [_at(self._layers[layer], path) for path in paths[-1:]]
        for later in self._layers[layer + 1 :]:
            norms += [_at(later, path) for path in paths]
        final = self.optional("final_norm")
        return norms if final is None else [*norms, final]

    def scale_of(self, norm: nn.Module) -> Float[Tensor, " d_stream"]:
        """Return a norm's elementwise scale; ones where it has none.

        A sum with the row's `norm_offset` is in float32, as Hugging Face adds them: bfloat16 and
        float16 would round it.
        """
        weight = parameter_of(norm, "weight")
        if weight is None:
            return torch.ones(self.d_stream, device=self.device)
        offset = self.family.norm_offset
        return weight.float() + offset if offset else weight

    def write_scale(self, layer: int) -> Float[Tensor, " d_stream"] | None:
        """Return the scale that what a layer's units write passes before the residual stream."""
        return self._product(self.norms_of_write(layer))

    def read_scale(self, layer: int) -> Float[Tensor, " d_stream"] | None:
        """Return the scale of all norms between the stream after a layer's MLP and the head."""
        return self._product(self.norms_of_stream(layer))

    def _product(self, norms: list[nn.Module]) -> Tensor | None:
        scale: Tensor | None = None
        for norm in norms:
            own = self.scale_of(norm)
            scale = own if scale is None else scale.float() * own.to(scale.device).float()
        return scale

    def final_norm_scale(self) -> Float[Tensor, " d_stream"]:
        """Return the elementwise scale of the last norm before the head; ones without one."""
        scale = self.read_scale(self.n_layers - 1)
        return torch.ones(self.d_stream, device=self.device) if scale is None else scale

    def to_head(self, stream: Float[Tensor, "*any d_stream"]) -> Float[Tensor, "*any d_model"]:
        """Return directions of the residual stream as the head reads them, in float32.

        They are the same unless the model projects the stream to the head's width.
        """
        projection = self.optional("project_out")
        if projection is None:
            return stream
        return stream.float() @ _weight(projection).float().to(stream.device).T

    def input_embeddings(self) -> Float[Tensor, "d_vocab d_model"]:
        """Return the token embeddings, without padding rows."""
        return self._embedding_table[: self.d_vocab]

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """Return the head's weight, without padding rows."""
        return _weight(self.model.get_output_embeddings())[: self.d_vocab]

    def unembedding_bias(self) -> Float[Tensor, " d_vocab"] | None:
        """Return the head's bias (logits), without padding rows; None where it has none."""
        bias = parameter_of(self.model.get_output_embeddings(), "bias")
        return None if bias is None else bias[: self.d_vocab]

    def run(
        self,
        *,
        inputs_embeds: Float[Tensor, "batch pos d_model"] | None = None,
        input_ids: Int[Tensor, "batch pos"] | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        keep: int = 0,
        beside: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Return the output of Hugging Face's forward pass, with logits and perhaps a cache.

        No attention mask is given: all positions are looked at, and the model counts positions
        from its cache.

        Args:
            keep: how many last positions to compute logits for; 0 for all.
            beside: what else the model is given for every position (`ImagePrompt.given`).
        """
        given: dict[str, Any] = {"use_cache": use_cache, **(beside or {})}
        if inputs_embeds is not None:
            given["inputs_embeds"] = inputs_embeds
        if input_ids is not None:
            given["input_ids"] = input_ids
        if past_key_values is not None:
            given["past_key_values"] = past_key_values
        if keep and _takes_logits_to_keep(type(self.model)):
            # A slice of the last positions is no whole block of memory; without one, the head's
            # weight is copied for every row.
            head = {"head": self.model.get_output_embeddings()}
            with edit(head, lambda _, hidden: hidden.contiguous()):
                return self.model(**given, logits_to_keep=keep)
        output = self.model(**given)
        if keep:
            output.logits = output.logits[:, -keep:]
        return output

    def read(self, prompt: Prompt, *, keep: int = 0, use_cache: bool = False) -> Any:
        """Return the output of the forward pass over photos laid out with their text (`run`)."""
        return self.run(
            inputs_embeds=prompt.embeddings, beside=prompt.given(), keep=keep, use_cache=use_cache
        )

    def embed(self, token_ids: Int[Tensor, "*batch pos"]) -> Float[Tensor, "*batch pos d_model"]:
        """Return what the model's own embedding layer makes of token ids."""
        embedded: Tensor = self.model.get_input_embeddings()(token_ids.to(self.device))
        return embedded

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, never with a special token added in silence.

        Raises:
            UsageError: it is no text, or holds half a character, as what is not UTF-8 arrives.
        """
        text = is_a("text", text, str, "one, as in ' dog'")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{text!r:.60} is not UTF-8 text; give it in UTF-8") from error
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def decode(self, token_ids: Any) -> str:
        """Return the text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))

    def token_text(self, token_id: int) -> str:
        """Return one token as text, its leading space kept.

        Raises:
            UsageError: the tokenizer has no such token.
        """
        token_id = whole_number("a token id", token_id, least=0, below=self._n_tokens)
        ahead, text = self._ahead
        both = self._plain([*ahead, token_id])
        return both[len(text) :] if both.startswith(text) else self._plain([token_id])

    @cached_property
    def _n_tokens(self) -> int:
        return max(len(self.tokenizer), self.n_embedded)

    @cached_property
    def _ahead(self) -> tuple[list[int], str]:
        """Token ids, and their text, to read others behind.

        At the start of a text, tokenizers of SentencePiece's kind drop a space.
        """
        ids = self.encode("a")
        return ids, self._plain(ids)

    def _plain(self, token_ids: list[int]) -> str:
        return str(self.tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))

    def require_width_of_head(self) -> None:
        """Refuse a row that does not lead to the head.

        Raises:
            AdapterError: the width in which the head is given directions is not the one it reads.
        """
        projection = self.optional("project_out")
        given = self.d_stream if projection is None else int(_weight(projection).shape[0])
        reads = int(self.unembedding().shape[1])
        if given != reads:
            raise AdapterError(
                f"the row {self.family.name!r} does not describe this {type(self.model).__name__}: "
                f"it leads {given} values to the head, which reads {reads}; correct `down`, "
                "`rows_stored` or `project_out` of the row in molyneux.adapters.families"
            )


def require_finite(model: LanguageModel, *tensors: Tensor) -> None:
    """Refuse numbers that overflowed: of them nothing can be ranked, and nothing is.

    Raises:
        AdapterError: one is not finite.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        dtype = str(model.dtype).removeprefix("torch.")
        raise AdapterError(
            f"the model gives numbers that are not finite in {dtype}: it overflows, or its weights "
            "are damaged; give --dtype bfloat16 or float32"
        )


def is_token(tokenizer: Any, text: str) -> bool:
    """Return whether a text is one token of a tokenizer."""
    token_id: Any = tokenizer.convert_tokens_to_ids(text)
    return token_id is not None and (
        token_id != tokenizer.unk_token_id or text == tokenizer.unk_token
    )


def _takes_logits_to_keep(model_class: type) -> bool:
    return "logits_to_keep" in inspect.signature(model_class.forward).parameters  # type: ignore[attr-defined]
