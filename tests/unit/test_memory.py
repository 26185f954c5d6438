"""Long prompts are silenced fewer sets at a time; memory that runs out is called so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from molyneux.cli import main
from molyneux.errors import is_out_of_memory
from molyneux.neurons.ablation import BATCH, batches


@pytest.mark.parametrize(
    ("positions", "at_once"), [(60, BATCH), (256, BATCH), (576, 7), (2344, 1), (9000, 1)]
)
def test_every_set_is_tried_once_however_long_the_prompt(positions: int, at_once: int) -> None:
    sets = list(range(37))
    parts = list(batches(sets, positions))
    assert [one for part in parts for one in part] == sets
    assert max(len(part) for part in parts) == at_once
    assert all(len(part) == at_once for part in parts[:-1])


def test_running_out_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_command_line_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from molyneux.cli.model_choice import ModelChoice

    def too_much(choice: ModelChoice) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 22 GiB")

    monkeypatch.setattr(ModelChoice, "load", too_much)
    monkeypatch.setattr("molyneux.cli.caption.gather_photos", list)
    assert main(["caption", "photo.jpg", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("molyneux: memory ran out; give --dtype bfloat16")
    assert len(said.splitlines()) == 1
