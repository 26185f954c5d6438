"""A rival of the Jacobian lens: one linear map a layer, fitted to states instead of derivatives.

    python benchmarks/tuned_lens.py DATA --out tuned.safetensors
    python benchmarks/set_reading.py DATA2 --lens tuned.safetensors --out RUN

A tuned lens (Belrose et al. 2023, arXiv 2303.08112) maps the stream after a layer to what the head
is given at the *same* position in the end. Here that position is a patch, and the map is fitted by
ridge regression on those states, not by gradient on the words' divergence, so that it has an exact
solution. Its bias is dropped: a set of units is read as a difference from other photos. The
strength of the ridge is the one of least error on each fifth photo, which takes no other part.

The file is a lens as `molyneux lens build` writes it; its record says how much of the states'
variance it explains on each fifth photo.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from kept_rows import Progress, program, readable
from torch import Tensor

from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.explain.measure_lens import lens_provenance
from molyneux.hooks import capture
from molyneux.models.captioner import Captioner
from molyneux.neurons.lens import JacobianLens, save_lens
from molyneux.vision.layout import ImagePrompt

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the mean square of a coordinate of the stream."""
HELD = 5


@dataclass
class Sums:
    """What a least-squares fit needs of its rows; of every layer, in double precision."""

    xx: Tensor
    xy: Tensor
    yy: float
    n: int

    @classmethod
    def empty(cls, layers: int, d_stream: int, d_model: int) -> Sums:
        """Return the sums of no row; the last coordinate of x is 1."""
        size = d_stream + 1
        xx = torch.zeros(layers, size, size, dtype=torch.float64)
        return cls(xx, torch.zeros(layers, size, d_model, dtype=torch.float64), 0.0, 0)

    def add(self, streams: Tensor, states: Tensor) -> None:
        """Take the patches of a photo: layers x patches x d_stream, and patches x d_model."""
        ones = torch.ones(*streams.shape[:2], 1, dtype=torch.float64)
        x, y = torch.cat([streams.double(), ones], dim=-1), states.double()
        self.xx += x.transpose(1, 2) @ x
        self.xy += x.transpose(1, 2) @ y
        self.yy += float((y**2).sum())
        self.n += len(y)

    def error(self, layer: int, weights: Tensor) -> float:
        """Return the sum of squares that weights (d_stream + 1, d_model) leave."""
        explained = 2 * (weights * self.xy[layer]).sum()
        return self.yy - float(explained - (weights * (self.xx[layer] @ weights)).sum())

    def spread(self) -> float:
        """Return the sum of squares of the states around their mean."""
        return self.yy - float((self.xy[0, -1] ** 2).sum()) / self.n


def fit(sums: Sums, layer: int, ridge: float) -> Tensor:
    """Return the weights of a layer; the bias is not held small."""
    xx = sums.xx[layer]
    penalty = torch.full((len(xx),), ridge * float(xx.diagonal()[:-1].mean()), dtype=xx.dtype)
    penalty[-1] = 0
    found: Tensor = torch.linalg.solve(xx + penalty.diag(), sums.xy[layer])
    return found


@torch.no_grad()
def states(captioner: Captioner, prompt: ImagePrompt) -> tuple[Tensor, Tensor]:
    """Return the patches' streams after all layers but the last, and what the head is given."""
    model = captioner.language_model
    head, layers = model.model.get_output_embeddings(), range(model.n_layers - 1)
    with (
        capture({layer: model.layer(layer) for layer in layers}, at="output") as seen,
        capture({"head": head}, at="input") as read,
    ):
        model.read(prompt, keep=prompt.n_positions - prompt.patches.start)
    count = prompt.patches.stop - prompt.patches.start
    streams = [seen[layer].reshape(-1, model.d_stream)[prompt.patches] for layer in layers]
    return torch.stack(streams), read["head"].reshape(-1, model.d_model)[:count]


def main() -> None:
    """Fit the lens on a data set's photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--images", type=int)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} is there already; give another --out")
    selection = select(open_dataset(options.data), options.where, options.images, 0)
    photos = readable(item for _, item in selection.items())
    if len(photos) < 2 * HELD:
        sys.exit(f"{len(photos)} photos are too few to fit a lens on; give {2 * HELD} or more")
    captioner = Captioner.load()
    model = captioner.language_model
    size = (model.n_layers - 1, model.d_stream, model.d_model)
    fitted, held = Sums.empty(*size), Sums.empty(*size)
    progress = Progress(len(photos), 0)
    for number, item in enumerate(photos):
        prompt = captioner.see([item.read()])
        (held if number % HELD == 0 else fitted).add(*states(captioner, prompt))
        progress.step(item.id)
    maps, explained = [], []
    for layer in range(size[0]):
        weights = min((fit(fitted, layer, r) for r in RIDGES), key=lambda w: held.error(layer, w))
        maps.append(weights[:-1].T.float())
        explained.append(1 - held.error(layer, weights) / held.spread())
    record = lens_provenance(captioner, selection.ids, data="photos set aside", of="patches")
    record |= {"called": "tuned", "read_at": "the patch itself", "photos": len(photos)}
    record |= {"explained": [round(share, 4) for share in explained]}
    save_lens(options.out, JacobianLens(record, torch.stack(maps)))
    shares = f"{explained[0]:.2f}, {explained[size[0] // 2]:.2f} and {explained[-1]:.2f}"
    print(f"{options.out}: explains {shares} of the states' variance (first, middle, last layer)")


if __name__ == "__main__":
    program(main)
