"""What an interrupted run is resumed from: a checkpoint, and a log that is only added to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molyneux.errors import RunError
from molyneux.store import Run

STATE, LOG = "state.safetensors", "log.jsonl"


@dataclass
class State:
    """Everything a resumed run needs; one safetensors file, replaced as a whole.

    Attributes:
        step: steps done.
        best: the lowest held-out loss so far, or None before the first evaluation.
    """

    step: int
    tensors: dict[str, Tensor]
    best: float | None

    def save(self, folder: Path) -> None:
        """Write the state, never leaving half of it."""
        from safetensors.torch import save

        header = {"step": self.step, "best": self.best}
        tensors = {k: t.detach().cpu().contiguous().clone() for k, t in self.tensors.items()}
        Run(folder).write_bytes(STATE, save(tensors, metadata={"state": json.dumps(header)}))

    @classmethod
    def load(cls, folder: Path) -> State | None:
        """Return the state written by `save`, or None where there is none yet.

        Raises:
            RunError: the file is damaged.
        """
        from safetensors import safe_open

        path = folder / STATE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(header["step"], tensors, header["best"])
        except Exception as error:  # safetensors raises its own classes, unexported in part
            raise RunError(
                f"{path} does not read ({' '.join(str(error).split())[:160]}); delete it to train "
                "from the start, or give another --out"
            ) from error


class Log:
    """The log of every step: a line each, added to and never rewritten."""

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        """Take up the log at a step; what was logged after it is forgotten.

        Args:
            writes: whether this process keeps the file.

        Raises:
            RunError: the log does not reach that step.
        """
        path = folder / LOG
        data = path.read_bytes() if path.exists() else b""
        lines = data.splitlines(keepends=True)[:step]
        if len(lines) < step or not all(line.endswith(b"\n") for line in lines):
            raise RunError(
                f"{path} ends before step {step}, where the checkpoint is; give another --out"
            )
        self.entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._file = None
        if writes:
            with Run.writing():
                self._file = path.open("ab")
                self._file.truncate(sum(map(len, lines)))

    def add(self, entry: dict[str, Any]) -> None:
        """Add a step's line."""
        self.entries.append(entry)
        if self._file is not None:
            with Run.writing():
                # A photo's name that is no UTF-8 is kept as JSON's own escapes.
                line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
                self._file.write(line.encode("utf-8", "backslashreplace"))
                self._file.flush()

    def settle(self) -> None:
        """Return once the disk has the lines."""
        if self._file is not None:
            with Run.writing():
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def flatten(
    linear: nn.Linear,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    kept: dict[str, Tensor],
) -> dict[str, Tensor]:
    """Return weights, their running average, the optimiser's state and the best weights by name."""
    tensors = {f"kept.{name}": tensor for name, tensor in kept.items()}
    for name, parameter in linear.named_parameters():
        tensors[f"weight.{name}"] = parameter.detach()
        tensors[f"average.{name}"] = average[name]
        for key, value in optimiser.state[parameter].items():
            tensors[f"adam.{name}.{key}"] = value
    return tensors


def restore(
    tensors: dict[str, Tensor],
    linear: nn.Linear,
    average: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """Put back what `flatten` gave, and return the best weights."""
    place = linear.weight.device
    with torch.no_grad():
        for name, parameter in linear.named_parameters():
            parameter.copy_(tensors[f"weight.{name}"])
            average[name].copy_(tensors[f"average.{name}"])
            prefix = f"adam.{name}."
            optimiser.state[parameter] = {
                key.removeprefix(prefix): value.to(place if value.dim() else "cpu")
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
    return {k.removeprefix("kept."): v.to(place) for k, v in tensors.items() if k[:5] == "kept."}
