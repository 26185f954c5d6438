"""Words' log-probabilities behind photos: many photos, edits and words in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import several, whole_number
from molyneux.errors import UsageError
from molyneux.hooks import capture
from molyneux.neurons.ablation import Intervention, batches
from molyneux.neurons.attribution import Target
from molyneux.neurons.checks import as_model, as_prompt, as_token, as_token_ids
from molyneux.neurons.sight.passes import (
    Passed,
    Passes,
    at_patches,
    first_layer,
    pass_prompts,
    read_on,
)
from molyneux.vision.layout import ImagePrompt

READ = 64
"""Rows that a text is read behind at once: a few tokens each, for which all weights are fetched."""
PENDING = 2**28
"""Bytes of passes that wait until a text is read behind them."""


@dataclass(frozen=True)
class Asked:
    """A token whose log-probability is read.

    Attributes:
        token_id: which.
        after: how many tokens of the text stand ahead of it; none of them for 0.
    """

    token_id: int
    after: int

    def __post_init__(self) -> None:
        for name in ("token_id", "after"):
            whole_number(f"an asked token's {name}", getattr(self, name), least=0)


@dataclass(frozen=True)
class Text:
    """A text that is read behind photos, and the tokens that are asked for along it.

    Nothing is written: the text is given, whatever the photo (teacher forcing).

    Attributes:
        token_ids: what follows the image prompt.
        asked: any tokens at any places of it: those of the text, and others in their stead.
    """

    token_ids: tuple[int, ...]
    asked: tuple[Asked, ...]

    def __post_init__(self) -> None:
        if not self.asked:
            raise UsageError("a text is read for the tokens asked for; ask for one at least")
        for one in self.asked:
            whole_number(
                "an asked token's after", one.after, least=0, below=len(self.token_ids) + 1
            )

    @property
    def first(self) -> int:
        """How many of its tokens stand ahead of the first one asked for."""
        return min(one.after for one in self.asked)

    @property
    def read(self) -> tuple[int, ...]:
        """Its tokens up to the last one asked for: what comes later changes nothing."""
        return self.token_ids[: max(one.after for one in self.asked)]

    def asking(self, asked: Sequence[Asked]) -> Text:
        """Return the same text with other tokens asked for."""
        return replace(self, asked=tuple(asked))


def asked_of(prompt: ImagePrompt, target: Target) -> Asked:
    """Return a target of a prompt's continuation as it is asked for behind any photo.

    Raises:
        UsageError: its position predicts nothing that follows the prompt.
    """
    after = target.position + 1 - prompt.n_positions
    if after < 0:
        raise UsageError(
            f"position {target.position} lies inside the prompt of {prompt.n_positions} positions; "
            "give a target of its continuation"
        )
    return Asked(target.token_id, after)


@torch.no_grad()
def read_behind(
    model: LanguageModel,
    prompts: Sequence[ImagePrompt],
    text: Text,
    edits: Sequence[Intervention] | None = None,
    *,
    keys: Sequence[Hashable] | None = None,
    passes: Passes | None = None,
    clean: Mapping[int, Passed] | None = None,
) -> Float[Tensor, "rows asked"]:
    """Return the log-probability (nats) of each token asked for, behind each photo.

    Rows are read together, those of one size in one batch; each may be edited in its own way.
    Probabilities are over the whole vocabulary, padding rows included, in float32.

    Args:
        prompts: one photo each, with the text that comes ahead of `text`.
        edits: one for each row, at positions of the prompts; of none if None.
        keys: of each row, what it is found again by among `passes`.
        passes: rows that were passed before are read on from; others are kept there.
        clean: of some rows, by number, the pass of the prompt as it is, with its stream: layers
            below the first that is edited are not passed again.

    Raises:
        UsageError: there is no prompt, or one is of another model or holds several photos; the
            model has no such token; or there are more or fewer edits than prompts.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    given = several("prompts", prompts, "[captioner.see([photo])]", least=1)
    require_readable(model, text)
    if edits is not None and len(edits) != len(given):
        raise UsageError(
            f"there are {len(given)} prompts and {len(edits)} edits; give one for each"
        )
    kept = Passes(0) if passes is None else passes
    names = [None] * len(given) if keys is None else list(keys)
    found = torch.empty(len(given), len(text.asked), dtype=torch.float32)
    there = {n: one for n, key in enumerate(names) if (one := kept.find(key))}
    if there:
        found[list(there)] = read_after(model, list(there.values()), text)
    rows = {n: prompt for n, prompt in enumerate(given) if n not in there}
    made: dict[int, Passed] = {}

    def read_made() -> None:
        found[list(made)] = read_after(model, list(made.values()), text)
        for n, one in made.items():
            if names[n] is not None:
                kept.keep(names[n], one)
        made.clear()

    known = clean or {}
    starts = {n: first_layer(model, edits[n]) if edits and n in known else 0 for n in rows}
    for alike in _alike(rows, starts):
        for part in batches(alike, rows[alike[0]].n_positions):
            passed = pass_prompts(
                model,
                [rows[n] for n in part],
                None if edits is None else [edits[n] for n in part],
                clean=[known[n] for n in part] if starts[alike[0]] else None,
            )
            made |= zip(part, passed, strict=True)
            if sum(one.n_bytes for one in made.values()) > PENDING:
                read_made()
    if made:
        read_made()
    return found


@torch.no_grad()
def read_after(
    model: LanguageModel, passed: Sequence[Passed], text: Text
) -> Float[Tensor, "rows asked"]:
    """Return what `read_behind` does, of prompts that were passed through the model already.

    Raises:
        UsageError: the model has no such token.
        AdapterError: the model overflows in its dtype.
    """
    found = torch.empty(len(passed), len(text.asked), dtype=torch.float32)
    prompts = {number: one.prompt for number, one in enumerate(passed)}
    for alike in _alike(prompts):
        for part in batches(alike, prompts[alike[0]].n_positions, READ):
            found[list(part)] = _read(model, [passed[number] for number in part], text)
    return found


def _read(
    model: LanguageModel, passed: Sequence[Passed], text: Text
) -> Float[Tensor, "rows asked"]:
    """Return what `read_after` does, of rows that fit into one batch."""
    behind = [one.after for one in text.asked if one.after]
    logits = torch.empty(0)
    if behind:
        logits = read_on(model, passed, text.read, len(text.read) - min(behind) + 1)
    sizes = {}
    for after in {one.after for one in text.asked}:
        there = (
            logits[:, after - min(behind)] if after else torch.stack([p.logits for p in passed])
        ).float()
        require_finite(model, there[:, : model.d_vocab])
        sizes[after] = (there, there.logsumexp(dim=-1))
    columns = [sizes[one.after][0][:, one.token_id] - sizes[one.after][1] for one in text.asked]
    return torch.stack(columns, dim=1).cpu()


def require_readable(model: LanguageModel, text: Text) -> None:
    """Refuse a text with tokens that the model does not have.

    Raises:
        UsageError: it has one.
    """
    as_token_ids(model, list(text.token_ids))
    for one in text.asked:
        as_token(model, one.token_id)


@torch.no_grad()
def patch_activations(
    model: LanguageModel, prompt: ImagePrompt
) -> Float[Tensor, "layers patches d_mlp"]:
    """Return the activation of every unit at every patch of one photo.

    Raises:
        UsageError: the prompt is of another model or holds several photos.
    """
    prompt = as_prompt(as_model(model), prompt).to(model.dtype)
    downs = {layer: model.down_projection(layer) for layer in range(model.n_layers)}
    with capture(downs) as seen:
        model.read(prompt, keep=1)
    return torch.stack([at_patches(seen[layer], prompt, 0) for layer in downs])


def _alike(
    prompts: Mapping[int, ImagePrompt], starts: Mapping[int, int] | None = None
) -> list[list[int]]:
    """Return the numbers of prompts that fit into one batch, in order of their first.

    Args:
        starts: of each, the layer from which on it is passed.
    """
    sizes: dict[Hashable, list[int]] = {}
    for number, prompt in prompts.items():
        start = 0 if starts is None else starts[number]
        sizes.setdefault((prompt.shape, start), []).append(number)
    return list(sizes.values())
