"""A tiny GPT-J, a tiny BEiT and a projection between them, as folders and files."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants
from stand_ins import made, save_gptj
from tiny_encoders import write_checkpoint
from tiny_models import tiny_photos

from molyneux.vision.projection import save_projection


@pytest.fixture
def no_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches of weights, and a working folder of the test's own."""
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def gptj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gptj(tmp_path_factory.mktemp("lm") / "tiny-gptj")


@pytest.fixture(scope="module")
def beit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("encoder") / "tiny-beit", "beit")


@pytest.fixture
def projection(tmp_path: Path) -> Path:
    path = tmp_path / "projection.safetensors"
    save_projection(path, made("tiny-gptj", "tiny-beit"))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    tiny_photos(1)[0].save(path)
    return path
