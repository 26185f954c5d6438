"""What several training processes tell one another; with one process, nothing."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from molyneux.studies.share import Share

_LONGEST_WAIT = timedelta(days=2)


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
    from torch.nn.parallel import DistributedDataParallel

    place = linear.weight.device
    return DistributedDataParallel(linear, device_ids=[place] if place.type == "cuda" else None)


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
