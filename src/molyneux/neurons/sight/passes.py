"""Photos' prompts passed through the model once, each with an edit or without.

Any number of texts are read behind a pass: what a text is read after changes nothing that comes
ahead of it, so that its keys and values are kept (as in generation), and edits at the patches too.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.hooks import capture, edit
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.checks import as_prompt
from molyneux.vision.layout import ImagePrompt, joined

ROOM = 2**31
"""How many bytes of passes are kept."""

Activation = Float[Tensor, "layers patches d_mlp"]


@dataclass(frozen=True, eq=False)
class Passed:
    """One photo's prompt after its pass.

    Attributes:
        logits: of the token that follows it.
        cache: keys and values of its positions, as Hugging Face keeps them; None in models that
            keep none.
        activation: its units' at the patches; None where they were not asked for.
        streams: the residual stream that each layer was given; likewise.
    """

    prompt: ImagePrompt
    logits: Float[Tensor, " vocab"]
    cache: Any
    activation: Activation | None
    streams: Float[Tensor, "layers positions d_stream"] | None = None

    @property
    def n_bytes(self) -> int:
        """How much memory it takes."""
        kept = [self.prompt.embeddings, self.logits, self.activation, self.streams]
        kept += _tensors(self.cache)
        return sum(one.numel() * one.element_size() for one in kept if one is not None)


class Passes:
    """Passes that are kept as long as there is room for them, and found again.

    Those of one model, which stays as it is meanwhile.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: dict[Hashable, Passed] = {}

    def __repr__(self) -> str:
        return f"Passes({len(self._kept)} kept, room for {self._room / 2**20:.0f} MiB more)"

    def find(self, key: Hashable) -> Passed | None:
        """Return a pass that was kept."""
        return self._kept.get(key)

    def keep(self, key: Hashable, passed: Passed) -> None:
        """Keep a pass if there is room."""
        if passed.n_bytes <= self._room:
            self._room -= passed.n_bytes
            self._kept[key] = passed

    def clean(self, model: LanguageModel, prompt: ImagePrompt, *, streams: bool = False) -> Passed:
        """Return the pass of a prompt as it is, with its activations: kept, or made now.

        It is made by itself, so that its digits do not hang on what else is read.

        Args:
            streams: with its residual stream in the place of activations.
        """
        key = (_digest(prompt), streams)
        found = self.find(key)
        if found is None:
            (found,) = pass_prompts(model, [prompt], activations=not streams, streams=streams)
            self.keep(key, found)
        return found


@torch.no_grad()
def pass_prompts(
    model: LanguageModel,
    prompts: Sequence[ImagePrompt],
    edits: Sequence[Intervention] | None = None,
    *,
    activations: bool = False,
    streams: bool = False,
    clean: Sequence[Passed] | None = None,
) -> list[Passed]:
    """Return what prompts of one shape are after one pass, all in one batch.

    Args:
        prompts: one photo each.
        edits: one for each, at positions of the prompts.
        activations: whether those at the patches come back.
        streams: whether the residual stream comes back.
        clean: of each prompt as it is, with its stream. Below the first layer that is edited
            nothing changes, so that one row stands for all there, and each goes on from its own
            stream (not in models whose layers are told how many rows there are).

    Raises:
        UsageError: a prompt is of another model or holds several photos, or an edit would go on
            behind it.
    """
    rows = [as_prompt(model, prompt).to(model.dtype) for prompt in prompts]
    if any(one.positions == "all" for one in edits or ()):
        raise UsageError(
            "what is read behind photos is edited at their patches, or at positions of the prompt; "
            "give positions='patches'"
        )
    first = 0
    if clean is not None and edits is not None and not model.layers_are_told_rows:
        first = min(first_layer(model, one) for one in edits)
    batch = joined(rows[:1] if first else rows)
    watched = range(model.n_layers)
    downs = {layer: model.down_projection(layer) for layer in watched if activations}
    layers = {layer: model.layer(layer) for layer in watched if streams}
    with (
        _parting(model, first, clean or []),
        intervened(model, edits or [], batch.patches),
        capture(downs) as seen,
        capture(layers) as given,
    ):
        output = model.read(batch, keep=1, use_cache=True)
    cache = getattr(output, "past_key_values", None)
    return [
        Passed(
            prompt,
            output.logits[row, -1].clone(),
            _row_of(cache, row, first, None if clean is None else clean[row].cache),
            torch.stack([at_patches(seen[at], batch, row) for at in downs]) if downs else None,
            torch.stack([given[at][row] for at in layers]) if layers else None,
        )
        for row, prompt in enumerate(rows)
    ]


def first_layer(model: LanguageModel, of: Intervention) -> int:
    """Return the first layer that an edit changes; the last one of those that change nothing."""
    touched = of.mask(model).any(dim=1).nonzero().flatten().tolist()
    return int(touched[0]) if touched else model.n_layers - 1


def _parting(
    model: LanguageModel, first: int, clean: Sequence[Passed]
) -> AbstractContextManager[None]:
    """Give a layer the stream of each row, where the layers below it have one row."""
    if not first:
        return nullcontext()
    each = [one.streams[first] for one in clean if one.streams is not None]
    streams = torch.stack(each)
    return edit({first: model.layer(first)}, lambda _, there: streams.to(there))


@torch.no_grad()
def read_on(
    model: LanguageModel, passed: Sequence[Passed], token_ids: Sequence[int], keep: int
) -> Float[Tensor, "rows keep vocab"]:
    """Return the logits behind the last `keep` of the tokens, read on from passes of one shape.

    What was edited stays so; the tokens are not edited.

    Raises:
        UsageError: the model keeps no keys and values.
    """
    if any(one.cache is None for one in passed):
        raise UsageError(
            "this model keeps no keys and values, so that no text can be read on from its passes"
        )
    beside = joined([one.prompt for one in passed]).given_behind(len(token_ids))
    tokens = torch.tensor([list(token_ids)] * len(passed), device=model.device)
    cache = _joined_caches([one.cache for one in passed])
    output = model.run(
        input_ids=tokens, past_key_values=cache, beside=beside, use_cache=True, keep=keep
    )
    logits: Tensor = output.logits
    return logits


def at_patches(activation: Tensor, batch: ImagePrompt, row: int) -> Float[Tensor, "patches d_mlp"]:
    """Return the part of a captured activation that is at one row's patches, in float32."""
    of_rows = activation.reshape(len(batch.embeddings), -1, activation.shape[-1])
    return of_rows[row, batch.patches].float().cpu()


def _digest(prompt: ImagePrompt) -> Hashable:
    """Return what prompts that are passed alike have in common: all that the model is given."""
    given = [prompt.embeddings, *prompt.given().values()]
    parts = [one.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() for one in given]
    return prompt.shape, tuple(hashlib.sha256(part).digest() for part in parts)


def _tensors(cache: Any) -> list[Tensor | None]:
    return [] if cache is None else [t for one in cache.layers for t in (one.keys, one.values)]


def _row_of(cache: Any, row: int, first: int, clean: Any) -> Any:
    """Return a cache of one row alone, the layers below the first one as they are in a clean."""
    if cache is None:
        return None
    found = _shallow(cache)
    found.layers[:first] = clean.layers[:first] if first else []
    for layer in found.layers[first:]:
        if layer.is_initialized:
            layer.keys = layer.keys[row : row + 1].clone()
            layer.values = layer.values[row : row + 1].clone()
    return found


def _joined_caches(caches: Sequence[Any]) -> Any:
    """Return caches of one row each as one, which may grow: those given stay as they are."""
    found = _shallow(caches[0])
    for number, layer in enumerate(found.layers):
        if layer.is_initialized:
            each = [cache.layers[number] for cache in caches]
            layer.keys = torch.cat([one.keys for one in each])
            layer.values = torch.cat([one.values for one in each])
    return found


def _shallow(cache: Any) -> Any:
    found = copy.copy(cache)
    found.layers = [copy.copy(layer) for layer in cache.layers]
    return found
