"""Which units write in nearly the same direction: the cosine of their output rows."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molyneux.adapters.language_model import LanguageModel
from molyneux.checks import whole_number
from molyneux.neurons.checks import as_model
from molyneux.neurons.decoding import written

_CHUNK = 512


@torch.no_grad()
def nearest_units(
    model: LanguageModel, layer: int, n: int
) -> tuple[Int[Tensor, "d_mlp n"], Int[Tensor, "d_mlp n"], Float[Tensor, "d_mlp n"]]:
    """Return, of each unit of a layer, the `n` units of any layer nearest in direction.

    Their layers, their numbers and the cosines of what they write to the stream at activation 1,
    nearest first; a unit is no neighbour of its own. Units that write nothing have cosine 0.

    Raises:
        UsageError: there is no such layer, or the model has fewer other units.
    """
    model = as_model(model)
    layer = whole_number("layer", layer, least=0, below=model.n_layers)
    n = whole_number("n", n, least=0, below=model.n_units)
    own = _directions(model, layer)
    best = torch.empty(model.d_mlp, 0, device=own.device)
    place = torch.empty(model.d_mlp, 0, dtype=torch.long, device=own.device)
    for other in range(model.n_layers):
        values, numbers = _nearest_in(own, _directions(model, other), n, same=other == layer)
        best = torch.cat([best, values], dim=1)
        place = torch.cat([place, numbers + other * model.d_mlp], dim=1)
        kept = best.topk(min(n, best.shape[1]), dim=1)
        best, place = kept.values, place.gather(1, kept.indices)
    return (place // model.d_mlp).cpu(), (place % model.d_mlp).cpu(), best.cpu()


def _nearest_in(
    own: Float[Tensor, "d_mlp d_stream"],
    others: Float[Tensor, "d_mlp d_stream"],
    n: int,
    *,
    same: bool,
) -> tuple[Float[Tensor, "d_mlp k"], Int[Tensor, "d_mlp k"]]:
    """Return the cosines and numbers of one layer's units nearest to another's."""
    found, turned = [], others.to(own.device).T
    for start in range(0, len(own), _CHUNK):
        cosine = own[start : start + _CHUNK] @ turned
        if same:
            cosine.diagonal(start).fill_(-torch.inf)
        found.append(cosine.topk(min(n, cosine.shape[1]), dim=1))
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _directions(model: LanguageModel, layer: int) -> Float[Tensor, "d_mlp d_stream"]:
    rows = written(model, layer, model.output_rows(layer).float())
    directions: Tensor = torch.nn.functional.normalize(rows, dim=1)
    return directions
