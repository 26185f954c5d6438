"""How image prompts and text are laid out in the language model's input."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel, is_token
from molyneux.checks import is_a, several, shown, whole_number
from molyneux.errors import UsageError, WeightsError


@dataclass(frozen=True)
class Layout:
    """`[begin] patches text`, recorded with every projection and refused if it differs.

    Attributes:
        begin: the token whose embedding stands ahead of the patches, or None. Without one, the
            first patch is at position 0 and becomes the model's attention sink.
        text: what follows the patches.
    """

    begin: str | None
    text: str = "A picture of"

    def record(self) -> dict[str, Any]:
        """Return the layout as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Beside:
    """A number for every position, which some models must be given beside the embeddings.

    Attributes:
        values: token types, or positions of several axes (ahead of the photos' axis).
        following: of every token that follows; None where they count on from the largest one.
    """

    values: Int[Tensor, "*axes photos positions"]
    following: int | None

    def continued(self, n: int) -> Int[Tensor, "*axes photos n"]:
        """Return the numbers of `n` tokens that follow."""
        shape = (*self.values.shape[:-1], n)
        if self.following is not None:
            return self.values.new_full(shape, self.following)
        largest = self.values.amax(dim=-1, keepdim=True)
        if largest.dim() == 3:
            largest = largest.amax(dim=0, keepdim=True)
        counted = largest + 1 + torch.arange(n, device=self.values.device)
        return counted.expand(shape)

    def followed_by(self, n: int) -> Beside:
        """Return the numbers with those of `n` tokens that follow."""
        return Beside(torch.cat([self.values, self.continued(n)], dim=-1), self.following)

    def photos(self, chosen: slice) -> Beside:
        """Return the numbers of some photos."""
        return Beside(self.values[..., chosen, :], self.following)

    def repeated(self, n: int) -> Beside:
        """Return the numbers of one photo, `n` times."""
        expanded = self.values.expand(*self.values.shape[:-2], n, -1)
        return Beside(expanded, self.following)


@dataclass(frozen=True)
class ImagePrompt:
    """Input embeddings of photos followed by text, and where the patches are.

    Attributes:
        embeddings: what the language model is given as `inputs_embeds`.
        patches: the positions that are image patches.
        beside: what else it is given for every position, by the name of the argument; nothing
            in models of text.
    """

    embeddings: Float[Tensor, "photos positions d_model"]
    patches: slice
    beside: Mapping[str, Beside] = field(default_factory=dict)

    def __repr__(self) -> str:
        photos, positions, _ = self.embeddings.shape
        at = f"patches at {self.patches.start} to {self.patches.stop - 1}"
        return f"ImagePrompt({photos} photos, {positions} positions, {at})"

    def __post_init__(self) -> None:
        embeddings = is_a("embeddings", self.embeddings, Tensor, "photos x positions x width")
        if embeddings.dim() != 3:
            raise UsageError(
                f"embeddings are photos x positions x width, not {shown(embeddings)}; "
                "give a dimension for each"
            )
        at = is_a("patches", self.patches, slice, "slice(start, stop)")
        for end in (at.start, at.stop):
            whole_number("an end of patches", end, least=0, below=embeddings.shape[1] + 1)

    @property
    def n_positions(self) -> int:
        """Length of the sequence."""
        return int(self.embeddings.shape[1])

    def followed_by(self, model: LanguageModel, token_ids: list[int]) -> ImagePrompt:
        """Return the prompt with tokens appended to every photo.

        Raises:
            UsageError: the model has no such token.
        """
        token_ids = several("token_ids", token_ids, "[12, 7]")
        for token in token_ids:
            whole_number("a token id", token, least=0, below=model.n_embedded)
        if not token_ids:
            return self
        tokens = model.embed(torch.tensor(token_ids)).to(self.embeddings.dtype)
        repeated = tokens.expand(len(self.embeddings), -1, -1)
        beside = {name: one.followed_by(len(token_ids)) for name, one in self.beside.items()}
        return ImagePrompt(torch.cat([self.embeddings, repeated], dim=1), self.patches, beside)

    def photo(self, index: int) -> ImagePrompt:
        """Return the prompt of one photo, as a batch of one.

        Raises:
            UsageError: there is no photo of this number.
        """
        index = whole_number("a photo's number", index, least=0, below=len(self.embeddings))
        chosen = slice(index, index + 1)
        beside = {name: one.photos(chosen) for name, one in self.beside.items()}
        return ImagePrompt(self.embeddings[chosen], self.patches, beside)

    @property
    def shape(self) -> Hashable:
        """What prompts have in common that can be read as one batch."""
        beside = [
            (name, tuple(one.values.shape[:-2]), one.following)
            for name, one in sorted(self.beside.items())
        ]
        size = tuple(self.embeddings.shape[1:])
        return size, self.patches.start, self.patches.stop, tuple(beside)

    def to(self, dtype: torch.dtype) -> ImagePrompt:
        """Return the prompt with embeddings of a dtype."""
        return replace(self, embeddings=self.embeddings.to(dtype))

    def repeated(self, n: int) -> ImagePrompt:
        """Return the prompt of one photo as a batch of `n` equal rows.

        Raises:
            UsageError: it holds several, or `n` is no number of rows.
        """
        n = whole_number("n", n, least=1)
        if len(self.embeddings) != 1:
            raise UsageError(f"one photo is repeated, and here are {len(self.embeddings)}")
        beside = {name: one.repeated(n) for name, one in self.beside.items()}
        return ImagePrompt(self.embeddings.expand(n, -1, -1), self.patches, beside)

    def given(self) -> dict[str, Int[Tensor, "*axes photos positions"]]:
        """Return what the model is given beside the embeddings."""
        return {name: one.values for name, one in self.beside.items()}

    def given_at(self, step: int) -> dict[str, Int[Tensor, "*axes photos 1"]]:
        """Return what it is given beside the token written at a step, what is before it cached."""
        return {name: values[..., -1:] for name, values in self.given_behind(step + 1).items()}

    def given_behind(self, n: int) -> dict[str, Int[Tensor, "*axes photos n"]]:
        """Return what it is given beside `n` tokens that follow, what is before them cached.

        Token types act on the prompt alone, so only positions that count on are given.
        """
        return {
            name: one.continued(n) for name, one in self.beside.items() if one.following is None
        }


def joined(prompts: Sequence[ImagePrompt]) -> ImagePrompt:
    """Return prompts of one shape as one batch, in order.

    Raises:
        UsageError: there is none, or they differ in length, patches, or what is given beside.
    """
    first: ImagePrompt = several("prompts", prompts, "[prompt, another]", least=1)[0]
    if len(prompts) == 1:
        return first
    if any(prompt.shape != first.shape for prompt in prompts):
        raise UsageError("prompts of different lengths or patches make no batch; read them apart")
    beside = {
        name: replace(one, values=torch.cat([p.beside[name].values for p in prompts], dim=-2))
        for name, one in first.beside.items()
    }
    embeddings = torch.cat([prompt.embeddings for prompt in prompts])
    return replace(first, embeddings=embeddings, beside=beside)


def lay_out(
    model: LanguageModel, layout: Layout, projected: Float[Tensor, "photos patches d_model"]
) -> ImagePrompt:
    """Return projected patches laid out with the layout's text.

    Raises:
        WeightsError: the tokenizer does not know the layout's begin token.
    """
    projected = projected.to(model.device, model.dtype)
    begin = [] if layout.begin is None else [_token_id(model, layout.begin)]
    ahead = model.embed(torch.tensor(begin, dtype=torch.long))
    patches = slice(len(begin), len(begin) + projected.shape[1])
    batch = torch.cat([ahead.expand(len(projected), -1, -1).to(projected), projected], dim=1)
    return ImagePrompt(batch, patches).followed_by(model, model.encode(layout.text))


def _token_id(model: LanguageModel, token: str) -> int:
    if not is_token(model.tokenizer, token):
        raise WeightsError(
            f"the layout begins with {token!r}, which the tokenizer does not know: the projection "
            "was made for another language model; give the one it was trained with"
        )
    token_id: Any = model.tokenizer.convert_tokens_to_ids(token)
    return int(token_id)
