"""How much more memory a piece of work takes at its height than was in use before it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import torch

_OWN = Path("/proc/self")


class Peak:
    """Watches memory while it is open: the device's own, or this process's on Linux.

    Attributes:
        mib: in MiB; None where the system does not tell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: float | None = None
        self.mib: float | None = None

    def __enter__(self) -> Peak:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device) / 2**20
            return self
        _give_back()
        with suppress(OSError):
            (_OWN / "clear_refs").write_text("5", encoding="ascii")  # the height, to what it is now
            self._before = _status("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is None:
            return
        if self._device.type == "cuda":
            highest = torch.cuda.max_memory_allocated(self._device) / 2**20
        else:
            highest = _status("VmHWM") or self._before
        self.mib = max(0.0, highest - self._before)


def _give_back() -> None:
    """Have freed memory go back to the system: taken again, it would not be seen."""
    gc.collect()
    with suppress(OSError, AttributeError):  # of the GNU C library
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> float | None:
    """Return a size of this process in MiB."""
    with suppress(OSError, ValueError, IndexError):
        for line in (_OWN / "status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return None
