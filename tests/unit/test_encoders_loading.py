"""Rows of encoder families and loading: what is refused, in one line each, and what names it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_encoders import write_checkpoint
from tiny_models import weights_hash

from molyneux.adapters import registry
from molyneux.adapters.encoder_families import ENCODER_FAMILIES, EncoderFamily
from molyneux.adapters.registry import find_encoder_family, register_encoder_family
from molyneux.checkpoints.encoders import load_encoder
from molyneux.checkpoints.hub import download_command
from molyneux.checkpoints.weight_files import hash_weights, weight_files
from molyneux.errors import AdapterError, MolyneuxError, UsageError, WeightsError
from molyneux.vision.encoder import ImageEncoder, PatchGrid, Preprocessing
from molyneux.vision.preprocessor_config import PROCESSORS
from molyneux.vision.transformers_encoder import TransformersEncoder

PREPARE = Preprocessing(64, 64, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("encoders") / "tiny-vit", "vit")


@pytest.fixture
def copy(vit: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may damage."""
    return Path(shutil.copytree(vit, tmp_path / "tiny-vit"))


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> list[EncoderFamily]:
    """The rows, restored after the test."""
    rows = list(ENCODER_FAMILIES)
    monkeypatch.setattr(registry, "ENCODER_FAMILIES", rows)
    return rows


def refusal(kind: type[MolyneuxError], source: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        load_encoder(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Rows


def test_rows_are_whole_and_no_model_type_is_in_two() -> None:
    types = [model_type for family in ENCODER_FAMILIES for model_type in family.model_types]
    assert len(types) == len(set(types))
    for family in ENCODER_FAMILIES:
        assert family.processor in PROCESSORS
        assert hasattr(transformers, family.network.removeprefix("transformers."))
        assert family.example_mb > 0
        assert (family.leading == 0) == (family.is_map or family.name == "SigLIP")


def test_an_unknown_architecture_has_near_matches() -> None:
    with pytest.raises(AdapterError, match=r"near matches: .*dinov2") as error:
        find_encoder_family("dinov3")
    assert "register_encoder_family" in str(error.value)
    with pytest.raises(AdapterError, match="known: beit, clip"):
        find_encoder_family("zzzzzzzzz")


def test_a_registered_row_comes_first(families: list[EncoderFamily]) -> None:
    row = dataclasses.replace(find_encoder_family("vit"), name="mine")
    register_encoder_family(row)
    assert find_encoder_family("vit") is row
    assert families[0] is row


# Loading


def test_the_name_and_hash_of_a_folder(vit: Path) -> None:
    encoder = load_encoder(vit)
    assert isinstance(encoder, ImageEncoder)
    assert encoder.name == "tiny-vit"
    raw = (vit / "model.safetensors").read_bytes()
    assert encoder.sha256 == hashlib.sha256(raw).hexdigest()
    assert load_encoder(str(vit)).sha256 == encoder.sha256
    assert encoder.network.layers[0].mlp.fc1.weight.dtype == torch.float32
    stored = load_file(vit / "model.safetensors")
    key = next(key for key in stored if key.endswith("cls_token"))
    assert torch.equal(encoder.network.embeddings.cls_token, stored[key])


def test_loading_says_nothing_and_leaves_the_process_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even about the text model of a CLIP checkpoint."""
    folder = write_checkpoint(tmp_path / "clip", "clip")
    capfd.readouterr()
    state, verbosity = torch.get_rng_state(), transformers.logging.get_verbosity()
    notes: list[str] = []
    load_encoder(folder, note=notes.append)
    load_encoder(folder, random=True)
    assert capfd.readouterr() == ("", "")
    assert notes == ["hashing clip (0 MB)", "loading clip"]
    assert torch.equal(torch.get_rng_state(), state)
    assert transformers.logging.get_verbosity() == verbosity


def test_precision(vit: Path) -> None:
    encoder = load_encoder(vit, dtype=torch.bfloat16)
    features = encoder.encode(torch.zeros(1, 3, 64, 64))
    assert features.dtype == torch.bfloat16
    assert encoder.grid == PatchGrid(4, 4)


def test_random_weights_are_a_control_of_the_same_shape(vit: Path, tmp_path: Path) -> None:
    trained, random = load_encoder(vit), load_encoder(vit, random=True)
    assert random.name == "random:tiny-vit seed 0"
    assert random.grid == trained.grid
    assert random.preprocessing == trained.preprocessing
    shapes = [{k: v.shape for k, v in e.network.state_dict().items()} for e in (trained, random)]
    assert shapes[0] == shapes[1]
    again, other = load_encoder(vit, random=True), load_encoder(vit, random=True, seed=1)
    assert weights_hash(random.network) == weights_hash(again.network)
    assert len({e.sha256 for e in (trained, random, other)}) == 3
    assert again.sha256 == random.sha256
    assert other.name == "random:tiny-vit seed 1"
    pixels = torch.rand(1, 3, 64, 64)
    assert not torch.allclose(random.encode(pixels), trained.encode(pixels))
    shutil.copytree(vit, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    assert load_encoder(tmp_path / "bare", random=True).sha256 == random.sha256


def test_the_layer_is_counted_from_either_end_and_named_once(vit: Path) -> None:
    pixels = torch.rand(2, 3, 64, 64)
    encoder = load_encoder(vit)
    states = encoder.network(pixels, output_hidden_states=True).hidden_states
    assert len(states) == 3
    for layer in range(-3, 3):
        chosen = load_encoder(vit, layer=layer)
        assert chosen.name == f"tiny-vit layer {layer % 3}"
        torch.testing.assert_close(chosen.encode(pixels), states[layer][:, 1:])
    for layer in (3, -4):
        assert "has -3 to 2" in refusal(UsageError, vit, layer=layer)


# Weights


def test_the_hash_of_several_parts(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    names = sorted(state)
    (copy / "model.safetensors").unlink()
    parts = {"model-00001-of-00002.safetensors": names[::2]}
    parts["model-00002-of-00002.safetensors"] = names[1::2]
    for part, keys in parts.items():
        save_file({key: state[key] for key in keys}, copy / part, {"format": "pt"})
    weight_map = {key: part for part, keys in parts.items() for key in keys}
    index = {"metadata": {}, "weight_map": weight_map}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    lines = "".join(
        f"{hashlib.sha256((copy / part).read_bytes()).hexdigest()}  {part}\n" for part in parts
    )
    assert load_encoder(copy).sha256 == hashlib.sha256(lines.encode()).hexdigest()
    (copy / "model-00002-of-00002.safetensors").unlink()
    assert "00002" in refusal(WeightsError, copy)
    with pytest.raises(WeightsError, match=r"lacks 1 of 2 weight files .*00002"):
        weight_files(copy)


def index_parts(folder: Path, parts: tuple[str, str]) -> Path:
    """Divide a folder's weights between two files, which an index names; return the index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {key: parts[i % 2] for i, key in enumerate(sorted(state))}
    for part in parts:
        (folder / part).parent.mkdir(exist_ok=True)
        kept = {key: value for key, value in state.items() if where[key] == part}
        save_file(kept, folder / part, {"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index


def test_parts_in_subfolders_are_all_hashed(copy: Path) -> None:
    parts = ("a/part.safetensors", "b/part.safetensors")
    index_parts(copy, parts)
    hashes = hash_weights(weight_files(copy), copy, "tiny", lambda _: None)
    assert hashes == {p: hashlib.sha256((copy / p).read_bytes()).hexdigest() for p in parts}
    first = load_encoder(copy).sha256
    changed = {key: value + 1 for key, value in load_file(copy / parts[0]).items()}
    save_file(changed, copy / parts[0], {"format": "pt"})
    assert load_encoder(copy).sha256 != first


@pytest.mark.parametrize("outside", ["../part.safetensors", "a/../../part.safetensors", "/"])
def test_parts_outside_the_folder_are_refused(outside: str, copy: Path) -> None:
    index = index_parts(copy, ("part.safetensors", "other.safetensors"))
    shutil.move(copy / "part.safetensors", copy.parent / "part.safetensors")
    there = str(copy.parent / "part.safetensors") if outside == "/" else outside
    index.write_text(index.read_text().replace('"part.safetensors"', json.dumps(there)))
    assert "outside its folder" in refusal(WeightsError, copy)


@pytest.mark.parametrize("named", [{"x": 1}, {"x": None}, {"x": ["a"]}, {}, [], None])
def test_an_index_that_names_no_files_is_refused(named: Any, copy: Path) -> None:
    index = index_parts(copy, ("one.safetensors", "two.safetensors"))
    index.write_text(json.dumps({"weight_map": named}))
    assert f"cannot read {index} (" in refusal(WeightsError, copy)


def test_weights_in_pytorch_s_own_format(vit: Path, copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    encoder, first = load_encoder(copy), load_encoder(vit)
    assert weights_hash(encoder.network) == weights_hash(first.network)
    assert encoder.sha256 != first.sha256


def test_weights_that_lack_a_part_are_refused(copy: Path) -> None:
    """And not filled up with random numbers, as transformers would."""
    state = load_file(copy / "model.safetensors")
    lost = next(key for key in sorted(state) if key.endswith("cls_token"))
    kept = {key: value for key, value in state.items() if key != lost}
    save_file(kept, copy / "model.safetensors", {"format": "pt"})
    message = refusal(WeightsError, copy)
    assert "1 parameters are missing" in message
    assert "cls_token" in message


def test_weights_may_lack_what_no_patch_feature_passes(copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    kept = {key: value for key, value in state.items() if "pooler" not in key}
    assert len(kept) < len(state)
    save_file(kept, copy / "model.safetensors", {"format": "pt"})
    assert load_encoder(copy).grid == PatchGrid(4, 4)


@pytest.mark.parametrize("kind", ["clip_vision_model", "siglip_vision_model"])
def test_vision_weights_that_carry_the_older_prefix(kind: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / kind, kind)
    first = load_encoder(folder)
    state = load_file(folder / "model.safetensors")
    prefixed = {f"vision_model.{key}": value for key, value in state.items()}
    save_file(prefixed, folder / "model.safetensors", {"format": "pt"})
    assert weights_hash(load_encoder(folder).network) == weights_hash(first.network)


def test_another_configuration_s_weights_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    refusal(WeightsError, copy)


def test_truncated_weights_are_refused(copy: Path) -> None:
    whole = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "cannot load" in refusal(WeightsError, copy)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("config.json", "which says what network it is"),
        ("preprocessor_config.json", "which says how photos are resized"),
        ("model.safetensors", "holds no weights"),
    ],
)
def test_a_missing_file_is_named(file: str, why: str, copy: Path) -> None:
    (copy / file).unlink()
    message = refusal(WeightsError, copy)
    assert file in message
    assert why in message


@pytest.mark.parametrize("content", ["", "[]", "{}", "{"])
def test_a_broken_configuration_is_named(content: str, copy: Path) -> None:
    (copy / "config.json").write_text(content)
    assert "config.json" in refusal(WeightsError, copy)


def test_no_such_folder() -> None:
    assert "there is no folder" in refusal(WeightsError, Path("no/such"))
    assert "there is no folder" in refusal(WeightsError, "./no/such/folder")


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_offline_a_hub_name_says_what_is_missing_and_how_large_it_is(hub: Path) -> None:
    name = "microsoft/beit-large-patch16-224-pt22k"
    message = refusal(WeightsError, name)
    assert message.startswith(f"config.json of {name} is not in the hub's cache")
    assert "about 1250 MB" in message
    assert "the hub cannot be reached), and there is no such folder here" in message
    assert f"`{download_command(name, into='FOLDER')}`" in message
    assert "its page on the hub says how large" in refusal(WeightsError, "someone/something")


def test_what_lies_in_the_hub_s_cache_is_used_offline(hub: Path, vit: Path) -> None:
    repo = hub / "models--someone--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    snapshot = repo / "snapshots" / ("0" * 40)
    shutil.copytree(vit, snapshot)
    encoder = load_encoder("someone/tiny")
    assert encoder.name == "someone/tiny"
    assert encoder.sha256 == load_encoder(vit).sha256
    assert load_encoder(snapshot).name == "someone/tiny"
    mine = Path(shutil.copytree(vit, repo / "mine"))
    assert load_encoder(mine).name == "mine"
    assert load_encoder(Path(shutil.copytree(vit, snapshot / "deeper"))).name == "deeper"
    (snapshot / "model.safetensors").unlink()
    assert refusal(WeightsError, "someone/tiny").startswith("model.safetensors of someone/tiny")
    assert load_encoder("someone/tiny", random=True).name == "random:someone/tiny seed 0"


def test_with_a_network_only_what_is_needed_is_fetched(
    hub: Path, vit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    asked: list[str] = []

    def download(name: str, file: str, *, local_files_only: bool) -> str:
        asked.append(file)
        if not (vit / file).is_file():
            raise EntryNotFoundError(file)
        snapshot = hub / f"models--{name.replace('/', '--')}" / "snapshots" / ("1" * 40)
        snapshot.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(vit / file, snapshot / file))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr("molyneux.checkpoints.encoder_files.hub_answers", lambda: True)
    notes: list[str] = []
    assert load_encoder("someone/new", random=True, note=notes.append).grid == PatchGrid(4, 4)
    assert asked == ["config.json", "preprocessor_config.json", "processor_config.json"]
    asked.clear()
    assert load_encoder("someone/new", note=notes.append).name == "someone/new"
    settings = ["preprocessor_config.json", "processor_config.json"]
    assert asked == ["config.json", *settings, "model.safetensors"]
    assert notes[0] == "fetching someone/new from the hub, once"


# Rows that do not hold


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"leading": 0}, "gives 17 patches, not the 4 x 4"),
        ({"leading": 2}, "gives 15 patches"),
        ({"patch": "hidden_size"}, "not the 2 x 2"),
        ({"patch": "intermediate_size"}, "not the 1 x 1"),
        ({"patch": "no_such_entry"}, "has no 'no_such_entry'"),
        ({"output": "no_such_output"}, "does not take"),
    ],
)
def test_a_wrong_row_is_refused(change: dict[str, Any], why: str, vit: Path) -> None:
    network = load_encoder(vit).network
    family = dataclasses.replace(find_encoder_family("vit"), **change)
    with pytest.raises(AdapterError, match=why):
        TransformersEncoder(network, family, PREPARE, name="x")


def test_without_ordered_noise_mae_s_patches_are_shuffled_and_refused(tmp_path: Path) -> None:
    """A negative control: the row's noise is needed, and the proof at loading sees it lack."""
    network = load_encoder(write_checkpoint(tmp_path / "mae", "vit_mae")).network
    family = dataclasses.replace(find_encoder_family("vit_mae"), ordered_noise=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with pytest.raises(AdapterError, match="not in raster order"):
            TransformersEncoder(network, family, PREPARE, name="x")


class Columns(torch.nn.Module):
    """A network whose tokens run down the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 16, 16)
        self.config = SimpleNamespace(patch_size=[16, 16])

    def forward(self, pixel_values: torch.Tensor, output_hidden_states: bool = False) -> Any:
        tokens = self.convolution(pixel_values).transpose(2, 3).flatten(2).transpose(1, 2)
        return SimpleNamespace(last_hidden_state=tokens, hidden_states=(tokens,))


def test_patches_numbered_by_columns_are_refused() -> None:
    family = dataclasses.replace(find_encoder_family("vit"), leading=0)
    with pytest.raises(AdapterError, match="changing patch 3 changed token 12"):
        TransformersEncoder(Columns(), family, PREPARE, name="x")


def test_a_size_the_network_does_not_take_is_refused(copy: Path) -> None:
    config = {"image_processor_type": "ViTImageProcessor", "size": 96}
    (copy / "preprocessor_config.json").write_text(json.dumps(config))
    message = refusal(AdapterError, copy)
    assert "does not take 96 x 96 pixels" in message
    assert "preprocessor_config.json" in message
    config["size"] = 8
    (copy / "preprocessor_config.json").write_text(json.dumps(config))
    assert "8 x 8 pixels" in refusal(AdapterError, copy)


def test_a_class_that_cannot_be_imported(
    vit: Path, families: list[EncoderFamily], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mismatched torchvision is named only here, and only if there is one."""
    row = dataclasses.replace(find_encoder_family("vit"), network="transformers.NoSuchModel")
    register_encoder_family(row)
    message = refusal(AdapterError, vit)
    assert "cannot import transformers.NoSuchModel" in message
    assert "torchvision" not in message
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1")
    message = refusal(AdapterError, vit)
    assert "a torchvision made for another torch (0.1 is installed)" in message
    assert "uninstall torchvision" in message
