"""EfficientNet-Lite0 as an image encoder: its last feature map, 7 x 7 patches of 1280.

Two limits, to be stated wherever it is used. It learned from category labels, while the paper's
BEiT learned from pixels alone; and its 49 cells see far beyond their own square.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molyneux.vision.encoder import PatchGrid, Preprocessing

# Settled by the encoder's own top-1 on 1,000 ImageNet photos, one of each class: these values
# 85.6 %; short side 256 instead of 224 86.7 %, which discards a quarter of what is seen of a
# photo for a difference of 11 photos; mean and deviation of torchvision's models 76.4 %.
PREPROCESSING = Preprocessing(size=224, resize=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


class EfficientNetEncoder:
    """The features before EfficientNet's pooling."""

    def __init__(self, network: nn.Module, name: str = "efficientnet-lite0") -> None:
        # Channels last halves the time on a processor; the values are the same.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = name
        self.grid = PatchGrid(7, 7)
        self.d_features = 1280
        self.preprocessing = PREPROCESSING

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "n 3 224 224"]) -> Float[Tensor, "n 49 1280"]:
        """Return the last feature map, patches in raster order."""
        device = next(self.network.parameters()).device
        features: Tensor = self.network.extract_features(
            pixels.to(device).contiguous(memory_format=torch.channels_last)
        )
        return features.flatten(2).transpose(1, 2)
