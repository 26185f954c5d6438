"""A process's share of the work: which photos are its own, and when to wait for the others.

Starting processes and bringing them together is torchrun's work, through the environment it sets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

_LONGEST_WAIT = timedelta(days=14)


@dataclass(frozen=True)
class Share:
    """Every `world`-th photo, beginning with photo `rank`."""

    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls) -> Share:
        """Return this process's share, after meeting the others that torchrun started, if any."""
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
