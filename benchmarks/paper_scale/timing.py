"""Seconds, memory and the machine they were measured on."""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from molyneux.store import versions

sys.path.append(str(Path(__file__).parents[1]))

from source import source_record

Result = TypeVar("Result")


def say(line: str) -> None:
    """Tell how far the benchmark is."""
    print(line, file=sys.stderr, flush=True)


class Clock:
    """Seconds of work on a device, waiting for the device; every result is kept by its name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: dict[str, dict[str, Any]] = {}

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def once(self, work: Callable[[], Result]) -> tuple[float, Result]:
        self.wait()
        started = time.perf_counter()
        result = work()
        self.wait()
        return time.perf_counter() - started, result

    def measure(self, name: str, work: Callable[[], Result], repeats: int, **more: Any) -> Result:
        """Keep the median seconds of some work, done once before where it is repeated."""
        if repeats > 1:
            self.once(work)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        runs, result = [], None
        for _ in range(repeats):
            result = None  # so that two results are never held at once
            seconds, result = self.once(work)
            runs.append(seconds)
        self.note(name, runs, **more)
        assert result is not None
        return result

    def memory(self) -> dict[str, float]:
        """Return the largest memory of all steps, in GB."""
        kinds = ("peak_gb", "gpu_peak_gb")
        return {
            kind: max(step[kind] for step in self.steps.values())
            for kind in kinds
            if all(kind in step for step in self.steps.values())
        }

    def note(self, name: str, runs: list[float], **more: Any) -> None:
        """Keep runs that were timed elsewhere."""
        step: dict[str, Any] = {"seconds": round(statistics.median(runs), 5), "runs": len(runs)}
        step["spread"] = [round(min(runs), 5), round(max(runs), 5)]
        self.steps[name] = step | more | peak_memory(self.device)
        say(f"{name}: {step['seconds']:.4g} s, peak {peak_memory(self.device)}")


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return the largest memory so far in GB: the process's, and the GPU's since its last reset."""
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if device.type == "cuda":
        found["gpu_peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return {name: round(value, 3) for name, value in found.items()}


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the numbers depend on: processor, GPU, threads, versions and commit."""
    found: dict[str, Any] = {"cpu": _processor(), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_gb": round(properties.total_memory / 1e9, 1)}
        found["cuda"] = torch.version.cuda
        found["float32_matmul"] = torch.get_float32_matmul_precision()
    source = source_record()
    found["versions"] = versions() | {"molyneux": source.pop("molyneux")}
    return found | source


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()
