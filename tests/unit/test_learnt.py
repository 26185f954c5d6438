"""Whether a training run learnt anything of its photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_projection

from molyneux.training.from_data import Trained


def trained(value: float | None, low: float | None) -> Trained:
    control: dict[str, Any] | None = None if low is None else {"value": low + 0.1, "low": low}
    projection = tiny_projection("tiny", begin=None)
    record = {**projection.provenance, "evaluation": {"loss": {"value": value, "control": control}}}
    object.__setattr__(projection, "provenance", record)
    return Trained(Path("run"), projection, [])


@pytest.mark.parametrize(
    ("value", "low", "learnt"),
    [(2.0, 3.0, True), (3.0, 3.0, False), (3.5, 3.0, False), (3.5, None, True), (None, 3.0, True)],
)
def test_a_loss_not_below_that_with_other_photos_is_guessing(
    value: float | None, low: float | None, learnt: bool
) -> None:
    assert trained(value, low).learnt is learnt
