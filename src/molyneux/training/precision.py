"""Where training runs and in which floating-point type."""

from __future__ import annotations

import os

import torch

from molyneux.errors import UsageError

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def training_device(name: str) -> torch.device:
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
