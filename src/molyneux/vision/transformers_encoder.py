"""A vision network of transformers, unmodified, as an image encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molyneux.adapters.encoder_families import EncoderFamily
from molyneux.errors import AdapterError, UsageError, quote
from molyneux.vision.encoder import PatchGrid, Preprocessing

_ELSEWHERE = 1e-3  # of the change at the patch itself: what other batching may alter by rounding


class TransformersEncoder:
    """Patch features of a vision network, in raster order, without gradients.

    Attributes:
        name: what provenance records: the source, `random:` before it for random weights, and the
            layer after it where it is not the network's output.
        grid: rows and columns of patches, as a forward pass of the configured size gave them; one
            cell where the network's output is one vector.
        d_features: features of a patch.
        preprocessing: how photos become pixels.
        layer: None for the network's output, else the hidden state that is taken: 0 is what
            enters the first layer, n what leaves the n-th (without the final norm).
        sha256: of the weights, where the encoder was loaded from files.
    """

    def __init__(
        self,
        network: nn.Module,
        family: EncoderFamily,
        preprocessing: Preprocessing,
        *,
        name: str,
        sha256: str = "",
        layer: int | None = None,
    ) -> None:
        """Take a network and find its grid.

        The network is frozen and put in evaluation mode.

        Args:
            layer: counted from the end where negative, as in transformers' `hidden_states`
                (LLaVA takes -2).

        Raises:
            AdapterError: the network takes no photos of this size, or its patches are not where
                the row says.
            UsageError: there is no such layer.
        """
        self.network = network.eval().requires_grad_(False)
        self.family = family
        self.preprocessing = preprocessing
        self.sha256 = sha256
        states, features = self._try(layer)
        self.layer = None if layer is None else layer % len(states)
        self.name = name if self.layer is None else f"{name} layer {self.layer}"
        self.d_features = int(self._patches(features).shape[2])
        self.grid = self._grid(features)
        if self.grid.has_patches and not family.is_map and self._sides()[0] == self._sides()[1]:
            self.preprocessing = preprocessing.over_patches(self._sides()[0])
        if self.grid.has_patches and not family.is_map:
            self._prove_order(states[0])

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n patches feat"]:
        """Return the features of every patch, in raster order, in the network's own precision."""
        return self._patches(self._pick(self._forward(pixels, self.layer is not None), self.layer))

    def _forward(self, pixels: Tensor, with_layers: bool) -> Any:
        parameter = next(self.network.parameters())
        options: dict[str, Any] = {"output_hidden_states": True} if with_layers else {}
        if self.family.ordered_noise:
            order = torch.arange(math.prod(self._cells()), device=parameter.device)
            options["noise"] = order.float().expand(len(pixels), -1)
        return self.network(pixel_values=pixels.to(parameter), **options)

    def _pick(self, output: Any, layer: int | None) -> Tensor:
        chosen = getattr(output, self.family.output) if layer is None else output.hidden_states
        features: Tensor = chosen if layer is None else chosen[layer]
        return features

    def _patches(self, features: Tensor) -> Tensor:
        if features.dim() == 2:  # pooled by the network: one vector stands for the photo
            return features[:, None]
        if self.family.is_map:
            return features.flatten(2).transpose(1, 2)
        return features[:, self._n_leading() :]

    def _n_leading(self) -> int:
        return self.family.n_leading(self.network.config)

    def _sides(self) -> tuple[int, int]:
        """Return a patch's height and width in pixels."""
        patch: Any = getattr(self.network.config, self.family.patch)
        return (patch, patch) if isinstance(patch, int) else (int(patch[0]), int(patch[1]))

    def _cells(self) -> tuple[int, int]:
        """Return how many whole patches fit in the photo's height and width."""
        high, wide = self._sides()
        return self.preprocessing.size // high, self.preprocessing.size // wide

    def _blank(self) -> Tensor:
        return torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size)

    @torch.no_grad()
    def _try(self, layer: int | None) -> tuple[Sequence[Tensor], Tensor]:
        """Return all hidden states, and the features, of a blank photo."""
        size, name = self.preprocessing.size, self.family.name
        try:
            output = self._forward(self._blank(), True)
            states: Sequence[Tensor] = output.hidden_states
            if layer is not None and not -len(states) <= layer < len(states):
                raise UsageError(
                    f"there is no layer {layer}: this encoder has {-len(states)} to "
                    f"{len(states) - 1}, 0 being what enters the first; choose one of them"
                )
            return states, self._pick(output, layer)
        except (ValueError, RuntimeError, AttributeError, TypeError) as error:
            why = quote(error)
            raise AdapterError(
                f"the {name} network does not take {size} x {size} pixels as its row says ({why}); "
                "take the preprocessor_config.json of these weights, or mend the row"
            ) from error

    def _grid(self, features: Tensor) -> PatchGrid:
        """Return the grid that the features fill."""
        if features.dim() == 2:
            return PatchGrid(1, 1)
        if self.family.is_map:
            return PatchGrid(*features.shape[2:])
        found, size = self._patches(features).shape[1], self.preprocessing.size
        try:
            rows, columns = self._cells()
        except AttributeError as error:
            raise AdapterError(
                f"the {self.family.name} network's configuration has no {self.family.patch!r}; "
                "mend the row's `patch`, which names the entry with a patch's sides in pixels"
            ) from error
        if found != rows * columns or found == 0:
            raise AdapterError(
                f"the {self.family.name} network gives {found} patches, not the {rows} x {columns} "
                f"of {size} pixels, with {self._n_leading()} tokens ahead of them; mend the row's "
                "`leading`, `registers` or `patch`, or take the preprocessor_config.json of these "
                "weights"
            )
        return PatchGrid(rows, columns)

    @torch.no_grad()
    def _prove_order(self, blank: Tensor) -> None:
        """Change the pixels of the first row's last patch: numbered by columns it is another one.

        `blank` is what enters the first layer for a blank photo.
        """
        high, wide = self._sides()
        place = self.grid.columns - 1
        pixels = self._blank()
        noise = torch.rand(3, high, wide, generator=torch.Generator().manual_seed(0))
        pixels[0, :, :high, place * wide : (place + 1) * wide] = noise
        states = self._forward(pixels, True).hidden_states
        change = (states[0][0].float() - blank[0].float()).abs().amax(dim=1)
        at = self._n_leading() + place
        elsewhere = change.clone()
        elsewhere[at] = 0
        if not change[at] > 0 or elsewhere.max() > _ELSEWHERE * change[at]:
            raise AdapterError(
                f"the {self.family.name} network's patches are not in raster order behind "
                f"{self._n_leading()} tokens: changing patch {place} changed token "
                f"{int(change.argmax())}; mend the row"
            )
