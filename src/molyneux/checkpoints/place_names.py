"""The names of dtypes and devices that commands take, known without torch."""

from __future__ import annotations

from molyneux.checks import is_a
from molyneux.errors import UsageError

DTYPE_NAMES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}
"""Name -> torch's own name."""
DEVICES = ("auto", "cpu", "cuda")
SPLIT = "split"
"""Asks for the layers to be spread over all GPUs, and the memory beside them, by accelerate."""


def require_dtype(name: str) -> None:
    """Refuse what names no dtype.

    Raises:
        UsageError: it names none.
    """
    name = is_a("dtype", name, str, "a name, as float32")
    if name not in DTYPE_NAMES:
        raise UsageError(f"there is no dtype {name!r}; take one of {', '.join(DTYPE_NAMES)}")


def require_device(name: str) -> None:
    """Refuse what names no device, nor `split`; whether it is here only torch knows.

    Raises:
        UsageError: it names none.
    """
    name = is_a("device", name, str, "a name, as cpu")
    if name not in (SPLIT, *DEVICES):
        raise UsageError(f"there is no device {name!r}; take auto, cpu, cuda or split")
