"""Words' log-probabilities behind photos: many photos, edits and words in one pass."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, require_finite
from molyneux.checks import several, whole_number
from molyneux.errors import UsageError
from molyneux.hooks import capture
from molyneux.neurons.ablation import Intervention, batches, intervened
from molyneux.neurons.attribution import Target
from molyneux.neurons.checks import as_model, as_prompt, as_token, as_token_ids
from molyneux.vision.layout import ImagePrompt, joined

Keep = Callable[[int, Float[Tensor, "layers patches d_mlp"]], None]
"""Told the units' activations at the patches of each row, by the row's number."""


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
    edits: Sequence[Intervention | None] | None = None,
    *,
    keep: Keep | None = None,
) -> Float[Tensor, "rows asked"]:
    """Return the log-probability (nats) of each token asked for, behind each photo.

    Rows are read together, those of one size in one batch; each may be edited in its own way.
    Probabilities are over the whole vocabulary, padding rows included, in float32.

    Args:
        prompts: one photo each, with the text that comes ahead of `text`.
        edits: one for each row; None leaves it alone.
        keep: told the activations at each row's patches, as the pass computed them.

    Raises:
        UsageError: there is no prompt, or one is of another model or holds several photos; the
            model has no such token; or there are more or fewer edits than prompts.
        AdapterError: the model overflows in its dtype.
    """
    model = as_model(model)
    given = several("prompts", prompts, "[captioner.see([photo])]", least=1)
    as_token_ids(model, list(text.token_ids))
    for one in text.asked:
        as_token(model, one.token_id)
    changes = [None] * len(given) if edits is None else list(edits)
    if len(changes) != len(given):
        raise UsageError(
            f"there are {len(given)} prompts and {len(changes)} edits; give one for each"
        )
    rows = [
        as_prompt(model, prompt).followed_by(model, list(text.read)).to(model.dtype)
        for prompt in given
    ]
    found = torch.empty(len(rows), len(text.asked), dtype=torch.float32)
    for alike in _alike(rows):
        for part in batches(alike, rows[alike[0]].n_positions):
            batch = joined([rows[number] for number in part])
            found[list(part)] = _read(model, batch, text, [changes[n] for n in part], part, keep)
    return found


def _read(
    model: LanguageModel,
    batch: ImagePrompt,
    text: Text,
    edits: Sequence[Intervention | None],
    numbers: Sequence[int],
    keep: Keep | None,
) -> Float[Tensor, "rows asked"]:
    """Return what `read_behind` does, of rows that fit into one batch."""
    rows = [Intervention([]) if edit is None else edit for edit in edits]
    watched = range(model.n_layers) if keep else ()
    downs = {layer: model.down_projection(layer) for layer in watched}
    n_read = len(text.read) - text.first + 1
    with intervened(model, rows, batch.patches), capture(downs) as seen:
        logits = model.read(batch, keep=n_read).logits
    if keep:
        for row, number in enumerate(numbers):
            keep(number, torch.stack([_at_patches(seen[at], batch, row) for at in watched]))
    places = {after: after - text.first for after in {one.after for one in text.asked}}
    sizes = {}
    for after, place in places.items():
        there = logits[:, place].float()
        require_finite(model, there[:, : model.d_vocab])
        sizes[after] = (there, there.logsumexp(dim=-1))
    columns = [sizes[one.after][0][:, one.token_id] - sizes[one.after][1] for one in text.asked]
    return torch.stack(columns, dim=1).cpu()


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
    return torch.stack([_at_patches(seen[layer], prompt, 0) for layer in downs])


def _at_patches(activation: Tensor, batch: ImagePrompt, row: int) -> Float[Tensor, "patches d_mlp"]:
    of_rows = activation.reshape(len(batch.embeddings), -1, activation.shape[-1])
    return of_rows[row, batch.patches].float().cpu()


def _alike(prompts: Sequence[ImagePrompt]) -> list[list[int]]:
    """Return the numbers of prompts that fit into one batch, in order of their first."""
    sizes: dict[Hashable, list[int]] = {}
    for number, prompt in enumerate(prompts):
        sizes.setdefault(prompt.shape, []).append(number)
    return list(sizes.values())
