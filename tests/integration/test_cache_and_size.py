"""What is kept, and what a model needs: `molyneux cache`, `molyneux size`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_model

from molyneux.cli import main
from molyneux.weights.cache import PARTIAL, Source, seal_folder, write_folder


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one folder of weights, what a killed process left, and a file of the user's."""
    place = tmp_path / "cache"
    monkeypatch.setenv("MOLYNEUX_CACHE", str(place))
    with write_folder(place / "weights-1") as folder:
        (folder / "a.bin").write_bytes(bytes(1000))
        seal_folder(folder, Source("a-wheel", "1.0", {}))
    (place / f"{PARTIAL}other").mkdir()
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("mine")
    return place


def test_the_cache_is_shown(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cache"] == str(kept)
    assert [row["name"] for row in found["folders"]] == [f"{PARTIAL}other", "weights-1"]
    assert [row["made_of"] for row in found["folders"]] == ["an unfinished download", "a-wheel 1.0"]
    files = (kept / "weights-1").iterdir()
    assert found["bytes"] == sum(file.stat().st_size for file in files) > 1000


def test_clearing_asks_and_leaves_what_is_not_its_own(
    kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["cache", "clear"]) == 0
    assert "nothing was removed" in capsys.readouterr().err
    assert (kept / "weights-1" / "a.bin").is_file()
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["cache", "clear"]) == 2
    assert "give --yes" in capsys.readouterr().err
    assert main(["cache", "clear", "weights-2", "--yes"]) == 2
    assert "the cache has no weights-2" in capsys.readouterr().err
    assert main(["cache", "clear", "--yes"]) == 0
    assert [path.name for path in kept.iterdir()] == ["mine"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_size_of_a_model_is_that_of_its_parameters(
    dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model("llama").to(dtype)
    model.save_pretrained(tmp_path / "tiny", max_shard_size="20kB")
    assert len(list((tmp_path / "tiny").glob("*.safetensors"))) > 1
    assert main(["size", str(tmp_path / "tiny"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["parts"]
    n = sum(parameter.numel() for parameter in model.parameters())
    assert found["parameters"] == n
    assert found["stored"] == {"F32" if dtype == torch.float32 else "BF16": n}
    assert found["memory_bytes"] == {"float32": 4 * n, "bfloat16": 2 * n, "float16": 2 * n}
    files = (tmp_path / "tiny").glob("*.safetensors")
    assert found["disk_bytes"] == sum(file.stat().st_size for file in files)


@pytest.mark.parametrize(
    ("name", "said"),
    [("./gone", "there is no gone"), ("empty", "holds no weights"), ("no-such-model", "not known")],
)
def test_a_size_that_cannot_be_had_is_one_line(
    name: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("molyneux.checkpoints.checkpoint_size.hub_answers", lambda: False)
    assert main(["size", name, "--quiet"]) == (2 if name == "./gone" else 1)
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
