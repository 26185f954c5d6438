"""Where models run and in which floating-point type, by the names that commands take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from molyneux.checkpoints.place_names import DTYPE_NAMES, SPLIT, require_device, require_dtype
from molyneux.checks import shown
from molyneux.errors import UsageError

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


DTYPES: dict[str, torch.dtype] = {name: getattr(torch, own) for name, own in DTYPE_NAMES.items()}


def dtype_named(name: str) -> torch.dtype:
    """Return the dtype of a name; scores and decoded tokens are computed in float32 in any case.

    Raises:
        UsageError: the name is none of them.
    """
    require_dtype(name)
    return DTYPES[name]


def device_named(name: str) -> torch.device:
    """Return the device of a name; `auto` is this process's GPU where there is one, else the CPU.

    Of several processes on a machine, each takes the GPU of its own number (torchrun's
    `LOCAL_RANK`).

    Raises:
        UsageError: the name is none, or there is no such GPU.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise UsageError(f"there is no device {name!r}; take auto, cpu or cuda")
    if not torch.cuda.is_available():
        raise UsageError("torch sees no GPU here; give --device cpu, or install torch with CUDA")
    if local >= torch.cuda.device_count():
        raise UsageError(
            f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            "start that many processes, or give --device cpu"
        )
    return torch.device("cuda", local)


@dataclass(frozen=True)
class Place:
    """Where a model is put.

    Attributes:
        device: where it goes, or, of a split model, what stays whole.
        split: whether its layers are spread over all devices.
    """

    device: torch.device
    split: bool = False

    @property
    def device_map(self) -> str | None:
        """What loaders pass on to accelerate."""
        return "auto" if self.split else None

    def put(self, model: nn.Module) -> None:
        """Move a model there, unless its layers were spread out already."""
        if not self.split or getattr(model, "hf_device_map", None) is None:
            model.to(self.device)


def place_named(name: str) -> Place:
    """Return the place of a name: that of a device, or `split`.

    Raises:
        UsageError: the name is none, or there is no such GPU.
    """
    require_device(name)
    if name == SPLIT:
        return Place(device_named("auto"), split=True)
    return Place(device_named(name))


def require_torch_device(device: Any) -> None:
    """Refuse what names no device of torch's.

    Raises:
        UsageError: it names none.
    """
    try:
        torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"there is no device {shown(device)}; take cpu or cuda") from error


def device_places(
    device: str | None,
    device_map: str | None,
    max_memory: Mapping[int | str, int | str] | None,
) -> dict[str, Any]:
    """Return what `from_pretrained` is told of where layers go.

    Raises:
        UsageError: these do not go together.
    """
    if device is not None:
        require_torch_device(device)
    if device is not None and device_map is not None:
        raise UsageError("give a device or a device map, not both")
    if max_memory is not None and device_map is None:
        raise UsageError('max_memory goes with a device map: give device_map="auto" too')
    return {"device_map": device_map, "max_memory": max_memory and dict(max_memory)}


def training_dtype(name: str, device: torch.device | None = None) -> torch.dtype:
    """Return the dtype of a name; `auto` is bfloat16 only where the device multiplies in it.

    A processor without such instructions emulates bfloat16 at about a hundredth of its float32
    speed.

    Raises:
        UsageError: the name is none of them.
    """
    if name == "auto":
        if device is not None and device.type == "cuda":
            capable = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if capable else torch.float32
    if name not in NAMES:
        raise UsageError(f"there is no dtype {name!r}; take float32, bfloat16 or auto")
    return NAMES[name]
