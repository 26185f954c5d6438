"""The paper's presets: what they say, and that nothing of them is fetched unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import urlopen

import pytest
import torch
from huggingface_hub import constants
from test_limber import saved, weights
from tiny_models import tiny_language_model

from molyneux.checkpoints.placement import device_named, dtype_named
from molyneux.cli import main
from molyneux.cli.model_choice import ModelChoice
from molyneux.errors import UsageError, WeightsError
from molyneux.models import DEFAULT_PRESET, parts, presets
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.models.presets import PRESETS, find_preset, pieces_of
from molyneux.neurons.reference import load_reference
from molyneux.vision.layout import Layout
from molyneux.vision.projection import load_projection
from molyneux.weights import limber
from molyneux.weights.limber import CHECKPOINTS, blob_id, projection_path

NAMES = ("gptj-beit", "gptj-beit-ft", "gptj-nfrn50", "gptj-clip")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and a network that is never to be used."""

    def never(url: str) -> BinaryIO:
        raise AssertionError(url)

    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(limber, "open_url", never)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_what_the_paper_s_presets_say() -> None:
    checkpoints = ("beit_linear", "beit_ft_linear", "nfrn50_4096_linear", "clip_linear")
    for name, checkpoint in zip(NAMES, checkpoints, strict=True):
        preset = find_preset(name)
        assert preset.language_model == preset.language_model_source == "EleutherAI/gpt-j-6b"
        assert preset.published is CHECKPOINTS[checkpoint]
        assert preset.encoder == CHECKPOINTS[checkpoint].encoder
        assert preset.begin is None
        decoding = preset.decoding
        assert (decoding.final_norm, decoding.bias, decoding.written) == (False, False, False)
        assert set(preset.licences) == {"language model", "encoder weights", "projection"}
        assert any("stand-ins" in limit for limit in preset.limits)
    assert find_preset("gptj-beit").encoder_source == "microsoft/beit-large-patch16-224-pt22k"
    assert find_preset("gptj-beit-ft").encoder.endswith("-pt22k-ft22k")
    assert any("no heat maps" in limit for limit in find_preset("gptj-nfrn50").limits)
    default = find_preset("smollm2-effnet").decoding
    assert (default.final_norm, default.bias, default.written) == (True, False, True)


def test_every_shipped_projection_is_there_with_its_own_table() -> None:
    hashes = {}
    for name, preset in PRESETS.items():
        if preset.projection is None:
            continue
        projection = load_projection(preset.projection)
        hashes[name] = projection.hash()
        assert projection.layout == Layout(preset.begin), name
        assert projection.provenance["encoder"] == preset.encoder, name
        if preset.reference is not None:
            table = load_reference(preset.reference)
            assert table.provenance["projection"] == hashes[name], name
    assert list(hashes) == ["smollm2-effnet", "smollm2-effnet@1"]
    assert len(set(hashes.values())) == len(hashes)


def test_the_first_projection_is_the_one_that_was_published_first() -> None:
    first = find_preset("smollm2-effnet@1")
    assert first.projection is not None
    assert load_projection(first.projection).hash() == (
        "2584d97f557a00d130cb710fa26cab8c443380c7c91ef6bc120a4475a4250dfa"
    )
    assert first.reference is not None
    default = find_preset(DEFAULT_PRESET)
    for part in ("language_model", "encoder", "layout", "begin", "folders", "decoding"):
        assert getattr(first, part) == getattr(default, part), part
    assert "research use" in default.licences["projection"]


def test_presets_are_listed_with_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "models", "--json")
    assert status == 0
    assert [row["preset"] for row in json.loads(out)] == [
        *("smollm2-effnet", "smollm2-effnet@1", *NAMES)
    ]


@pytest.mark.parametrize("name", ["gptj-beit", "gptj-beit-ft"])
def test_loading_without_the_projection_says_what_to_run(name: str) -> None:
    with pytest.raises(WeightsError, match=f"`molyneux models fetch {name}`") as error:
        Captioner.load(name)
    assert "MB" in str(error.value)
    assert "MIT" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["gptj-nfrn50", "gptj-clip"])
def test_an_encoder_that_transformers_lacks_is_asked_for(name: str) -> None:
    for load in (lambda: Captioner.load(name), lambda: Parts.load(find_preset(name))):
        with pytest.raises(UsageError, match=r"Captioner\.load\('gptj-.*encoder=") as error:
            load()
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["gptj-nfrn50", "gptj-clip"])
@pytest.mark.parametrize("asked", ["random", "random:{}", "random:{} seed 3"])
def test_random_weights_of_an_encoder_that_transformers_lacks_are_not_another_s(
    name: str, asked: str
) -> None:
    preset = find_preset(name)
    with pytest.raises(UsageError, match=f"{name} sees through {preset.encoder}") as error:
        Parts.load(preset, encoder=asked.format(preset.encoder))
    assert len(str(error.value).splitlines()) == 1


def test_a_language_model_alone_takes_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_language_model("llama")
    monkeypatch.setattr(parts, "load_language", lambda *_: (tiny, "tiny", ""))
    monkeypatch.setattr(parts, "_encoder", lambda *_: pytest.fail("loaded"))
    model, decoding = ModelChoice().load_language()
    assert model is tiny
    assert decoding == find_preset(DEFAULT_PRESET).decoding


def test_only_nfrn50_has_a_projection_for_random_weights() -> None:
    with pytest.raises(WeightsError, match="fetch gptj-nfrn50 --random-encoder"):
        find_preset("gptj-nfrn50").projection_file(random_encoder=True)
    with pytest.raises(WeightsError, match="no projection of gptj-beit was published"):
        find_preset("gptj-beit").projection_file(random_encoder=True)


def test_what_is_missing_is_listed(capsys: Any) -> None:
    status, out, _ = run(capsys, "models", "--json")
    rows = {row["preset"]: row for row in json.loads(out)}
    assert status == 0
    assert set(rows) == set(PRESETS)
    beit = rows["gptj-beit"]
    assert not beit["cached"]
    assert [(p["part"], p["mb"], p["here"]) for p in beit["pieces"]] == [
        ("language model", 24200, False),
        ("encoder", 1250, False),
        ("projection", 17, False),
    ]
    assert beit["download_mb"] == 24200 + 1250 + 17
    status, out, _ = run(capsys, "models")
    assert "projection: 17 MB, `molyneux models fetch gptj-beit`" in out
    assert "encoder: give it as an object" in out


@pytest.mark.parametrize("part", ["model.safetensors", "pytorch_model.bin", "sharded", "broken"])
def test_the_hub_s_cache_is_looked_into(part: str, empty: Path) -> None:
    model = empty / "hub" / "models--EleutherAI--gpt-j-6b"
    folder = model / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    (folder / "config.json").write_text("{}")

    def here() -> bool:
        return pieces_of(find_preset("gptj-beit"))[0].here

    assert not here()
    if part == "sharded":
        index = {"weight_map": {"a": "one.bin", "b": "two.bin"}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        (folder / "one.bin").touch()
        assert not here()
        (folder / "two.bin").touch()
    elif part == "broken":
        (folder / "pytorch_model.bin.index.json").write_text("[]")
        assert not here()
        return
    else:
        (folder / part).touch()
    assert here()
    assert not all(piece.here for piece in pieces_of(find_preset("gptj-beit")))


def test_fetching_is_a_command(empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    content = saved(weights())
    checkpoint = replace(
        CHECKPOINTS["nfrn50_4096_linear"], blob=blob_id(content), d_model=12, d_features=5
    )
    control = replace(checkpoint, name="random", encoder="random:nf_resnet50")
    preset = replace(
        PRESETS["gptj-nfrn50"], published=checkpoint, control=control, folders=(checkpoint.folder,)
    )
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, "gptj-nfrn50": preset})
    file = empty / "proj.ckpt"
    file.write_bytes(content)
    asked: list[str] = []

    def served(url: str) -> BinaryIO:
        asked.append(url)
        answer: BinaryIO = urlopen(file.as_uri())
        return answer

    monkeypatch.setattr(limber, "open_url", served)
    status, out, err = run(capsys, "models", "fetch", "gptj-nfrn50", "--json")
    assert (status, asked) == (0, [checkpoint.url])
    assert checkpoint.url in err
    document = json.loads(out)
    assert document["projection"] == str(projection_path(checkpoint))
    assert [row["part"] for row in document["missing"]] == ["language model", "encoder"]
    assert preset.projection_file() == projection_path(checkpoint)
    status, out, _ = run(
        capsys, "models", "fetch", "gptj-nfrn50", "--random-encoder", "--from", file
    )
    assert status == 0
    assert len(asked) == 1
    found = load_projection(preset.projection_file(random_encoder=True))
    assert found.provenance["encoder"] == "random:nf_resnet50"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "fetch"], "name the preset to fetch"),
        (["models", "list", "gptj-beit"], "only fetch takes a preset"),
        (["models", "fetch", "gptj-beat"], "did you mean gptj-beit"),
        (["models", "fetch", "smollm2-effnet"], "fetched at first use"),
        (["models", "fetch", "gptj-beit", "--random-encoder"], "leave out --random-encoder"),
        (["caption", "a.png", "--preset", "gptj-clip"], "which transformers does not have"),
        (["caption", "a.png", "--preset", "gptj-beit"], "molyneux models fetch gptj-beit"),
        (["caption", "a.png", "--dtype", "int8"], "no dtype 'int8'"),
        (["caption", "a.png", "--device", "tpu"], "no device 'tpu'"),
    ],
)
def test_a_wrong_call_is_one_line(arguments: list[str], said: str, capsys: Any) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (1 if "fetch gptj-beit" in said else 2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_dtypes_and_devices() -> None:
    assert dtype_named("bf16") == dtype_named("bfloat16") == torch.bfloat16
    assert dtype_named("fp16") == torch.float16
    assert device_named("cpu") == torch.device("cpu")
