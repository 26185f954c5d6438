"""In which floating-point type training runs."""

from __future__ import annotations

import torch

from molyneux.errors import UsageError

NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
