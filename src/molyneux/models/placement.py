"""Where models run and in which floating-point type, by the names that commands take."""

from __future__ import annotations

import os

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
