"""Where models are put, by the names that commands take."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molyneux.checkpoints.placement import Place, place_named
from molyneux.errors import UsageError


def test_names() -> None:
    assert place_named("cpu") == Place(torch.device("cpu"))
    assert place_named("split").device_map == "auto"
    assert place_named("cpu").device_map is None
    with pytest.raises(UsageError, match="take auto, cpu, cuda or split"):
        place_named("gpu")


def test_only_what_was_spread_out_stays_where_it_is() -> None:
    split = Place(torch.device("meta"), split=True)
    whole, spread = nn.Linear(2, 2), nn.Linear(2, 2)
    spread.hf_device_map = {"": 0}  # type: ignore[assignment]
    split.put(whole)
    split.put(spread)
    assert (whole.weight.device.type, spread.weight.device.type) == ("meta", "cpu")
