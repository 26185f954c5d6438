"""How image prompts and text are laid out in the language model's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import WeightsError


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
class ImagePrompt:
    """Input embeddings of photos followed by text, and where the patches are.

    Attributes:
        embeddings: what the language model is given as `inputs_embeds`.
        patches: the positions that are image patches.
    """

    embeddings: Float[Tensor, "photos positions d_model"]
    patches: slice

    @property
    def n_positions(self) -> int:
        """Length of the sequence."""
        return int(self.embeddings.shape[1])

    def followed_by(self, model: LanguageModel, token_ids: list[int]) -> ImagePrompt:
        """Return the prompt with tokens appended to every photo."""
        if not token_ids:
            return self
        tokens = model.embed(torch.tensor(token_ids)).to(self.embeddings.dtype)
        repeated = tokens.expand(len(self.embeddings), -1, -1)
        return ImagePrompt(torch.cat([self.embeddings, repeated], dim=1), self.patches)

    def photo(self, index: int) -> ImagePrompt:
        """Return the prompt of one photo, as a batch of one."""
        return ImagePrompt(self.embeddings[index : index + 1], self.patches)


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
    tokenizer = model.tokenizer
    token_id: Any = tokenizer.convert_tokens_to_ids(token)
    if token_id is None or (token_id == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise WeightsError(
            f"the layout begins with {token!r}, which the tokenizer does not know: the projection "
            "was made for another language model; give the one it was trained with"
        )
    return int(token_id)
