"""Where models run and in which floating-point type, by the names that commands take."""

from __future__ import annotations

import torch

from molyneux.errors import UsageError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def dtype_named(name: str) -> torch.dtype:
    """Return the dtype of a name; scores and decoded tokens are computed in float32 in any case.

    Raises:
        UsageError: the name is none of them.
    """
    if name not in DTYPES:
        raise UsageError(f"there is no dtype {name!r}; take one of {', '.join(DTYPES)}")
    return DTYPES[name]


def device_named(name: str) -> torch.device:
    """Return the device of a name: cpu, cuda, or auto, a GPU where there is one.

    Raises:
        UsageError: the name is none of them, or there is no such GPU.
    """
    from molyneux.training.precision import training_device

    return training_device(name)
