"""One of several processes that do the same work: which photos are its own, when it waits.

What training processes tell one another is here too; with one process, that is nothing. Starting
processes and bringing them together is torchrun's work, through the environment it sets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from molyneux.errors import MolyneuxError, RunError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_LONGEST_TRAINING_WAIT = timedelta(days=2)
_LONGEST_STEP = timedelta(minutes=30)
_LOST = re.compile(r"gloo|NCCL|TCPStore|Broken pipe|[Cc]onnection (closed|reset)|[Tt]imed? ?out")
_LONGEST_WAIT = timedelta(days=14)


def is_first_process() -> bool:
    """Whether this process speaks for all that torchrun started, before they meet or after."""
    return int(os.environ.get("RANK", "0")) == 0


@dataclass(frozen=True)
class Process:
    """One of `world` processes: every `world`-th photo, beginning with photo `rank`, is its own."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls) -> Process:
        """Return this process, after meeting the others that torchrun started, if any."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        import torch.distributed as dist

        if not dist.is_initialized():
            # A process that has finished its photos may wait long for one on a slower machine.
            dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process writes what there is one of."""
        return self.rank == 0

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def leave(self) -> None:
        """Part from the other processes."""
        if self.world > 1:
            import torch.distributed as dist

            dist.destroy_process_group()


def join_processes(device: torch.device) -> Process:
    """Return this process, after meeting the others that torchrun started, if any.

    Gradients on GPUs go through NCCL; all else goes through gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            if on_gpu:
                import torch

                torch.cuda.set_device(device)
            # One process may wait long for another's photos to be encoded.
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_LONGEST_TRAINING_WAIT
            )
    return Process.join()


def averaging(linear: nn.Linear, process: Process) -> nn.Module:
    """Return the layer as one whose gradients are the mean over all processes'."""
    if process.world == 1:
        return linear
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    place = linear.weight.device
    # A process that is gone without a word must not be waited for as photos to be encoded are.
    return DistributedDataParallel(
        linear,
        device_ids=[place] if place.type == "cuda" else None,
        process_group=dist.new_group(timeout=_LONGEST_STEP),
    )


@contextmanager
def together(process: Process) -> Iterator[None]:
    """Turn the end of another process into one line.

    Raises:
        RunError: another process has ended, or has not answered for long.
    """
    try:
        yield
    except RuntimeError as error:
        if process.world == 1 or isinstance(error, MolyneuxError) or not _LOST.search(str(error)):
            raise
        said = re.sub(r"^\[[^]]*\] ", "", " ".join(str(error).split())).partition(". ")[0]
        raise RunError(
            f"process {process.rank} of {process.world} lost another one ({said[:120]}); see what "
            "that one said, then give the same command again to resume from the last checkpoint"
        ) from error


def sum_over(numbers: Tensor, process: Process) -> Tensor:
    """Return the sum of all processes' numbers; they are on the CPU."""
    if process.world > 1:
        import torch.distributed as dist

        dist.all_reduce(numbers)
    return numbers


def gather(own: Any, process: Process) -> list[Any]:
    """Return what every process has, in the order of their numbers."""
    if process.world == 1:
        return [own]
    import torch.distributed as dist

    found: list[Any] = [None] * process.world
    dist.all_gather_object(found, own)
    return found
