"""What several training processes tell one another; with one process, nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from molyneux.errors import MolyneuxError, RunError
from molyneux.share import Share

_LONGEST_WAIT = timedelta(days=2)
_LONGEST_STEP = timedelta(minutes=30)
_LOST = re.compile(r"gloo|NCCL|TCPStore|Broken pipe|[Cc]onnection (closed|reset)|[Tt]imed? ?out")


def join_processes(device: torch.device) -> Share:
    """Return this process's share, after meeting the others that torchrun started, if any.

    Gradients on GPUs go through NCCL; all else goes through gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            on_gpu = device.type == "cuda"
            if on_gpu:
                torch.cuda.set_device(device)
            # One process may wait long for another's photos to be encoded.
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_LONGEST_WAIT
            )
    return Share.join()


def averaging(linear: nn.Linear, share: Share) -> nn.Module:
    """Return the layer as one whose gradients are the mean over all processes'."""
    if share.world == 1:
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
def together(share: Share) -> Iterator[None]:
    """Turn the end of another process into one line.

    Raises:
        RunError: another process has ended, or has not answered for long.
    """
    try:
        yield
    except RuntimeError as error:
        if share.world == 1 or isinstance(error, MolyneuxError) or not _LOST.search(str(error)):
            raise
        said = re.sub(r"^\[[^]]*\] ", "", " ".join(str(error).split())).partition(". ")[0]
        raise RunError(
            f"process {share.rank} of {share.world} lost another one ({said[:120]}); see what that "
            "one said, then give the same command again to resume from the last checkpoint"
        ) from error


def sum_over(numbers: Tensor, share: Share) -> Tensor:
    """Return the sum of all processes' numbers; they are on the CPU."""
    if share.world > 1:
        import torch.distributed as dist

        dist.all_reduce(numbers)
    return numbers


def gather(own: Any, share: Share) -> list[Any]:
    """Return what every process has, in the order of their numbers."""
    if share.world == 1:
        return [own]
    import torch.distributed as dist

    found: list[Any] = [None] * share.world
    dist.all_gather_object(found, own)
    return found
