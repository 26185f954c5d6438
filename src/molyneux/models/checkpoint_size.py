"""Whether a checkpoint's weights are those of the network that its configuration describes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from molyneux.errors import WeightsError, quote
from molyneux.models.weight_files import weight_files

_LAYER = re.compile(r"\.\d+\.")


def require_room_for(make: Any, config: Any, folder: Path) -> None:
    """Refuse a folder whose weight files are too small for the network its configuration describes.

    Transformers would draw what is missing at random, in full size, before it says so: another
    model's configuration of seven billion parameters takes all memory first. A parameter has a
    byte or more in any file but one of packed, quantised weights, which is let through.

    Args:
        make: the network's class.

    Raises:
        WeightsError: the files are smaller than a byte for each parameter or not all there, or
            the configuration describes no network.
    """
    import torch

    if getattr(config, "quantization_config", None):
        return
    held = sum(file.stat().st_size for file in weight_files(folder))
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            needed = sum(parameter.numel() for parameter in make(config).parameters())
    except Exception as error:  # each network has checks of its own
        raise WeightsError(
            f"{folder / 'config.json'} describes no network ({quote(error)}); fetch the model's "
            "folder anew"
        ) from error
    if held < needed:
        raise WeightsError(
            f"{folder} does not hold this model's weights: config.json describes a network of "
            f"{needed:,} parameters, and its weight files have {held:,} bytes; give the "
            "config.json that belongs to them, or fetch the weights anew"
        )


def require_all_layers(network: Any, unexpected: Iterable[str], folder: Path) -> None:
    """Refuse weights of more layers than the configuration has, which would be left out in silence.

    Args:
        unexpected: names of weights that the network has no place for. Others are let through:
            heads of other tasks, buffers of older versions. Theirs may be the names of the base
            class or of the class with a head, whichever the network is.

    Raises:
        WeightsError: one of them has its like in the network's first layer.
    """
    known = network.state_dict().keys()
    prefix = f"{network.base_model_prefix}."

    def has_its_like(key: str) -> bool:
        first = _LAYER.sub(".0.", key, count=1)
        return not known.isdisjoint((first, prefix + first, first.removeprefix(prefix)))

    left_out = sorted(key for key in unexpected if has_its_like(key))
    if left_out:
        raise WeightsError(
            f"{folder} holds weights of more layers than its config.json says ({left_out[0]} and "
            f"{len(left_out) - 1} more would be left out); give the config.json that belongs to "
            "them"
        )
