"""How much memory a piece of work takes at its height, beyond what was in use."""

from __future__ import annotations

import sys

import pytest
import torch

from molyneux.studies.compare.memory import Peak


@pytest.mark.skipif(sys.platform != "linux", reason="the height is read from /proc")
def test_the_height_is_of_this_work_alone() -> None:
    cpu = torch.device("cpu")
    for mib in (400, 100):  # the second is lower than what the process had at its height
        with Peak(cpu) as peak:
            torch.ones(mib * 2**18).sum()
        if peak.mib is None:
            pytest.skip("this system does not let a process reset its height")
        assert mib * 0.8 < peak.mib < mib * 1.6
