"""The tokens at both ends of a row of logits, found near the speed of reading the row once."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 64


def extremes(
    logits: Float[Tensor, "rows d_vocab"], n: int
) -> tuple[Int[Tensor, "rows n"], Int[Tensor, "rows n"]]:
    """Return the `n` highest of each row, highest first, and the `n` lowest, lowest first.

    Of equal ones the lower token comes first; where the last place is shared, any of them has it.
    A row is cut into blocks of 64: the n highest lie in the n blocks of highest maxima, so that
    only those are put in order.
    """
    return _highest(logits, n, largest=True), _highest(logits, n, largest=False)


def _highest(logits: Tensor, n: int, *, largest: bool) -> Tensor:
    width = logits.shape[1]
    whole = width - width % _BLOCK
    if n * _BLOCK >= whole:  # a small vocabulary, or nearly all of it
        every: Tensor = logits.sort(dim=1, descending=largest, stable=True).indices
        return every[:, :n]
    blocks = logits[:, :whole].unflatten(1, (-1, _BLOCK))
    ends = blocks.amax(dim=2) if largest else blocks.amin(dim=2)
    chosen = ends.topk(n, dim=1, largest=largest).indices.sort(dim=1).values
    inside = torch.arange(_BLOCK, device=logits.device)
    tokens = (chosen[:, :, None] * _BLOCK + inside).flatten(1)
    values = blocks.gather(1, chosen[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    if whole < width:
        rest = torch.arange(whole, width, device=logits.device).expand(len(logits), -1)
        tokens = torch.cat([tokens, rest], dim=1)
        values = torch.cat([values, logits[:, whole:]], dim=1)
    places = values.topk(n, dim=1, largest=largest).indices.sort(dim=1).values  # by token
    kept, ids = values.gather(1, places), tokens.gather(1, places)
    order = kept.sort(dim=1, descending=largest, stable=True).indices
    found: Tensor = ids.gather(1, order)
    return found
