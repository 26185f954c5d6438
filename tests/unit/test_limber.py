"""LiMBeR's projections: what arrives is checked before it is read, and read as it was meant."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from http.client import IncompleteRead
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import torch
from torch import Tensor, nn

from molyneux.errors import WeightsError
from molyneux.vision.projection import load_projection
from molyneux.weights import limber
from molyneux.weights.cache import read_record, verify_folder
from molyneux.weights.limber import (
    CHECKPOINTS,
    Checkpoint,
    blob_id,
    fetch_projection,
    pointer_of,
    projection_path,
    read_checkpoint,
)

D_MODEL, D_FEATURES = 12, 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(d_features: int = D_FEATURES, d_model: int = D_MODEL) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(d_features)
    return {
        "weight": torch.randn(d_model, d_features, generator=generator),
        "bias": torch.randn(d_model, generator=generator),
    }


def saved(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def stand_in(content: bytes, d_features: int = D_FEATURES, d_model: int = D_MODEL) -> Checkpoint:
    return Checkpoint("beit_linear", blob_id(content), "a/beit", d_features, 16, d_model)


class Site:
    """Addresses served from files: nothing here needs a network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []

    def put(self, url: str, content: bytes) -> None:
        path = self._path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def __call__(self, url: str) -> BinaryIO:
        self.asked.append(url)
        answer: BinaryIO = urlopen(self._path(url).as_uri())
        return answer

    def _path(self, url: str) -> Path:
        return self.root / urlsplit(url).netloc / urlsplit(url).path.lstrip("/")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_git_ids_are_git_s() -> None:
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_published_files() -> None:
    shapes = {name: (c.d_features, c.n_patches) for name, c in CHECKPOINTS.items()}
    assert shapes == {
        "beit_linear": (1024, 196),
        "beit_ft_linear": (1024, 196),
        "clip_linear": (3072, 144),
        "nfrn50_4096_linear": (2048, 1),
        "nfrn50_4096_random_linear": (2048, 1),
    }
    assert {name: c.blob for name, c in CHECKPOINTS.items()} == {
        "beit_linear": "4d3c937de5249a297f27ccf75809242d21bb9123",
        "beit_ft_linear": "b07d6099f428389495ce77bdd3e15ddcbb00972b",
        "clip_linear": "6364c10a62154d0b40b584c546210b3d7b145c29",
        "nfrn50_4096_linear": "d43bdc33bfbd09020220388c6cb0a002ba76e42c",
        "nfrn50_4096_random_linear": "2e99f008720779629792888267a38d3c21ed5de6",
    }
    page = (Path(__file__).parents[2] / "docs/presets.md").read_text(encoding="utf-8")
    for checkpoint in CHECKPOINTS.values():
        assert f"`{checkpoint.path}` | `{checkpoint.blob}` |" in page
        assert checkpoint.d_model == 4096
    assert CHECKPOINTS["clip_linear"].url == (
        "https://raw.githubusercontent.com/jmerullo/limber/"
        "ed3e942564abeefaca896bef2abb7f720b0b56ae/limber_weights/clip_linear/proj.ckpt"
    )
    assert CHECKPOINTS["clip_linear"].media_url.startswith(
        "https://media.githubusercontent.com/media/jmerullo/limber/ed3e942564abee"
    )


def test_it_is_fetched_once_and_kept_as_safetensors(site: Site, cache: Path) -> None:
    content = saved(weights())
    checkpoint = stand_in(content)
    site.put(checkpoint.url, content)
    assert not projection_path(checkpoint).exists()
    path = fetch_projection(checkpoint, opener=site)
    assert path == projection_path(checkpoint)
    assert fetch_projection(checkpoint, opener=site) == path
    assert site.asked == [checkpoint.url]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "hashes.json",
        "projection.safetensors",
    ]
    verify_folder(path.parent, full=True)
    record = read_record(path.parent)["source"]
    assert record["distribution"] == "github.com/jmerullo/limber"
    assert record["sha256"] == {
        "proj.ckpt": sha256(content).hexdigest(),
        "git blob": checkpoint.blob,
    }
    projection = load_projection(path)
    assert torch.equal(projection.linear.weight, weights()["weight"])
    assert torch.equal(projection.linear.bias, weights()["bias"])
    assert projection.provenance["language_model"] == "EleutherAI/gpt-j-6b"
    assert projection.provenance["encoder"] == "a/beit"
    assert projection.provenance["layout"] == {"begin": None, "text": "A picture of"}
    assert projection.provenance["source"]["git_blob"] == checkpoint.blob


def test_a_git_lfs_pointer_leads_to_the_file_it_names(site: Site) -> None:
    content = saved(weights())
    pointer = pointer_of(content)
    checkpoint = stand_in(pointer)
    site.put(checkpoint.url, pointer)
    site.put(checkpoint.media_url, content)
    projection = load_projection(fetch_projection(checkpoint, opener=site))
    assert site.asked == [checkpoint.url, checkpoint.media_url]
    assert torch.equal(projection.linear.weight, weights()["weight"])


def test_another_file_behind_the_pointer_is_refused(site: Site, cache: Path) -> None:
    pointer = pointer_of(saved(weights()))
    checkpoint = stand_in(pointer)
    site.put(checkpoint.url, pointer)
    site.put(checkpoint.media_url, saved(weights(D_FEATURES + 1)))
    with pytest.raises(WeightsError, match="not the file its Git LFS pointer names") as error:
        fetch_projection(checkpoint, opener=site)
    one_line(error)
    assert not (cache / checkpoint.folder).exists()


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("local", [True, False])
def test_another_file_is_refused_before_anything_reads_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    sprung = tmp_path / "sprung"
    content = pickle.dumps(_Trap(sprung))
    pickle.loads(content)
    assert sprung.exists()
    sprung.unlink()
    checkpoint = stand_in(saved(weights()))
    site.put(checkpoint.url, content)
    (tmp_path / "proj.ckpt").write_bytes(content)

    def never(*args: object, **options: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(torch, "load", never)
    with pytest.raises(WeightsError, match="it was not opened") as error:
        fetch_projection(checkpoint, file=tmp_path / "proj.ckpt" if local else None, opener=site)
    assert checkpoint.blob[:12] in one_line(error)
    assert not sprung.exists()


def test_code_in_the_very_file_does_not_run(site: Site, tmp_path: Path, cache: Path) -> None:
    content = saved({"weight": _Trap(tmp_path / "sprung"), "bias": torch.zeros(D_MODEL)})
    checkpoint = stand_in(content)
    site.put(checkpoint.url, content)
    with pytest.raises(WeightsError, match="does not hold tensors alone") as error:
        fetch_projection(checkpoint, opener=site)
    one_line(error)
    assert not (tmp_path / "sprung").exists()
    assert not (cache / checkpoint.folder).exists()


def test_a_local_copy_is_checked_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(url: str) -> BinaryIO:
        raise AssertionError(url)

    monkeypatch.setattr(limber, "open_url", never)
    content = saved(weights())
    file = tmp_path / "proj.ckpt"
    file.write_bytes(content)
    fetch_projection(stand_in(content), file=file)
    # A clone with Git LFS holds the weights, while git's id is that of their pointer.
    with_lfs = replace(stand_in(pointer_of(content)), name="other")
    fetch_projection(with_lfs, file=file)
    file.write_bytes(pointer_of(content))
    with pytest.raises(WeightsError, match="git lfs pull") as error:
        fetch_projection(replace(with_lfs, name="third"), file=file)
    one_line(error)
    with pytest.raises(WeightsError, match=r"cannot read .*nowhere"):
        fetch_projection(replace(with_lfs, name="third"), file=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "failure", [URLError("no route"), TimeoutError("timed out"), IncompleteRead(b"half")]
)
def test_without_a_network_one_line_says_what_to_do(failure: Exception) -> None:
    def broken(url: str) -> BinaryIO:
        raise failure

    with pytest.raises(WeightsError, match="cannot fetch https://raw") as error:
        fetch_projection(stand_in(b""), opener=broken)
    assert "--from FILE" in one_line(error)


def test_an_answer_that_breaks_off_is_called_so() -> None:
    class Half(io.BytesIO):
        headers = {"Content-Length": "5000"}  # noqa: RUF012

    with pytest.raises(WeightsError, match="cut off after 2000 of 5000 bytes") as error:
        fetch_projection(stand_in(b""), opener=lambda url: Half(bytes(2000)))
    assert "is not" not in one_line(error)


def test_an_endless_answer_is_cut_off(site: Site) -> None:
    checkpoint = stand_in(b"")
    site.put(checkpoint.url, bytes(8 * (D_FEATURES + 1) * D_MODEL + 2 * 10**6))
    with pytest.raises(WeightsError, match="larger than") as error:
        fetch_projection(checkpoint, opener=site)
    one_line(error)


@pytest.mark.parametrize("prefix", ["", "proj.", "module.image_prefix.proj."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_linear_layer_of_any_dtype_comes_back_in_float32(
    prefix: str, dtype: torch.dtype
) -> None:
    state = {prefix + key: value.to(dtype) for key, value in weights().items()}
    content = saved(state)
    weight, bias, stored = read_checkpoint(content, stand_in(content))
    assert weight.dtype == bias.dtype == torch.float32
    assert torch.equal(weight, weights()["weight"].to(dtype).float())
    assert torch.equal(bias, weights()["bias"].to(dtype).float())
    assert stored == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    "state",
    [
        {"weight": torch.zeros(D_MODEL, D_FEATURES)},
        {**weights(), "ln.weight": torch.ones(D_MODEL)},
        {"a.weight": weights()["weight"], "b.bias": weights()["bias"]},
        [torch.zeros(2)],
        torch.zeros(2),
    ],
)
def test_anything_but_one_linear_layer_is_refused(state: Any) -> None:
    content = saved(state)
    with pytest.raises(WeightsError, match="not the state dict of one linear layer") as error:
        read_checkpoint(content, stand_in(content))
    one_line(error)


def test_other_shapes_are_refused_in_one_line() -> None:
    content = saved(weights(D_FEATURES + 2))
    with pytest.raises(WeightsError, match=r"\(12, 7\).*not \(12, 5\)") as error:
        read_checkpoint(content, stand_in(content))
    one_line(error)
    transposed = saved({"weight": weights()["weight"].T, "bias": weights()["bias"]})
    with pytest.raises(WeightsError, match=r"\(5, 12\)"):
        read_checkpoint(transposed, stand_in(transposed))


def test_numbers_that_are_none_are_refused() -> None:
    state = weights()
    state["weight"][3, 2] = torch.nan
    content = saved(state)
    with pytest.raises(WeightsError, match="not finite"):
        read_checkpoint(content, stand_in(content))


@pytest.mark.parametrize("name", ["beit_linear", "clip_linear", "nfrn50_4096_linear"])
def test_the_published_shapes(name: str, site: Site) -> None:
    published = CHECKPOINTS[name]
    content = saved({k: v.bfloat16() for k, v in weights(published.d_features, 4096).items()})
    checkpoint = replace(published, blob=blob_id(content))
    site.put(checkpoint.url, content)
    path = fetch_projection(checkpoint, opener=site)
    assert abs(path.stat().st_size / 1e6 - published.size_mb) < 1
    projection = load_projection(path)
    assert projection.provenance["encoder"] == published.encoder
    features = torch.randn(1, published.n_patches, published.d_features)
    assert projection.project(features).shape == (1, published.n_patches, 4096)


def test_no_dropout_is_live_in_whatever_mode(site: Site) -> None:
    """LiMBeR trained with dropout on the output, live in its code until the first `generate`."""
    content = saved(weights())
    checkpoint = stand_in(content)
    site.put(checkpoint.url, content)
    projection = load_projection(fetch_projection(checkpoint, opener=site))
    features = torch.randn(2, 16, D_FEATURES)
    expected = nn.functional.linear(features, **weights())
    for mode in (True, False):
        projection.linear.train(mode)
        torch.testing.assert_close(projection.project(features), expected)
