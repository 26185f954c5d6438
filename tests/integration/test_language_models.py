"""Loading language models: folders, the hub's cache, GGUF files, dtypes, devices, and refusals."""

from __future__ import annotations

import json
import shutil
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_gguf import write_gguf
from tiny_models import (
    N_LAYERS,
    OTHER_WIDTH,
    ToyEncoder,
    count_hooks,
    tiny_captioner,
    tiny_language_model,
    tiny_model,
    tiny_projection,
    tiny_tokenizer,
)
from tiny_vlms import tiny_vlm_parts
from torch import Tensor

from molyneux.adapters import LanguageModel, adapt
from molyneux.adapters.proof.prove import prove
from molyneux.adapters.proof.units import silencing
from molyneux.checkpoints.language_models import (
    load_language_model,
    load_tokenizer,
    unit_counts,
)
from molyneux.cli import main
from molyneux.errors import AdapterError, UsageError, WeightsError
from molyneux.models.captioner import Captioner
from molyneux.models.vlm_loading import load_vlm
from molyneux.neurons.ablation import ablate_units
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.sinks import patch_norms
from molyneux.neurons.unit import Unit

DOG = 20
IDS = torch.arange(9)[None]


def save(folder: Path, kind: str, **options: Any) -> Path:
    tiny_model(kind).save_pretrained(folder, **options)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "my-llama", "llama")


@pytest.fixture
def copied(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copied"))


def logits(model: LanguageModel) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.run(input_ids=IDS).logits
    return found


def require_logits(found: LanguageModel, expected: LanguageModel) -> None:
    """Hold a loaded model's logits against those of the one that was saved.

    Weights that are read from a file lie otherwise in memory, where a kernel may sum in another
    order; another weight would move logits by far more.
    """
    torch.testing.assert_close(logits(found), logits(expected))


def test_a_folder_is_loaded_with_its_logits_and_hash(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / f"tiny-{kind}", kind)
    told: list[str] = []
    loaded = load_language_model(folder, note=told.append)
    require_logits(loaded.language_model, tiny_language_model(kind))
    digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (loaded.name, loaded.sha256) == (f"tiny-{kind}", digest)
    assert loaded.files == {"model.safetensors": digest}
    assert told[-1] == f"loading tiny-{kind}"
    assert load_language_model(str(folder), name="other").name == "other"


def test_a_sharded_model_has_one_hash(tmp_path: Path) -> None:
    folder = save(tmp_path / "sharded", "llama", max_shard_size="40KB")
    loaded = load_language_model(folder)
    assert len(loaded.files) > 2
    require_logits(loaded.language_model, tiny_language_model("llama"))
    lines = "".join(f"{loaded.files[name]}  {name}\n" for name in sorted(loaded.files))
    assert loaded.sha256 == sha256(lines.encode()).hexdigest()
    (folder / sorted(loaded.files)[1]).unlink()
    with pytest.raises(WeightsError, match=r"lacks 1 of \d+ weight files \(.*fetch .* anew"):
        load_language_model(folder)


def test_pickled_weights_are_read_by_the_weights_only_reader(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    torch.save(tiny_model("llama").state_dict(), copied / "pytorch_model.bin")
    loaded = load_language_model(copied)
    assert set(loaded.files) == {"pytorch_model.bin"}
    require_logits(loaded.language_model, tiny_language_model("llama"))
    held = {**tiny_model("llama").state_dict(), "model.norm.weight": Path("code")}
    torch.save(held, copied / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="more than tensors"):
        load_language_model(copied)


def distance(found: Tensor, expected: Tensor) -> float:
    """Return how far two tensors are from each other, as a part of the second."""
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_finite_scores_in_float32(
    kind: str, dtype: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    language = load_language_model(save(tmp_path / "tiny", kind), dtype=dtype).language_model
    assert language.dtype == getattr(torch, dtype)
    width = OTHER_WIDTH.get(kind, 32)
    captioner = Captioner.from_parts(  # transformers makes Qwen's tokenizer of any with Qwen
        language.model, tiny_tokenizer(), ToyEncoder(), tiny_projection(d_model=width)
    )
    model, prompt = captioner.language_model, captioner.see(photos[:1])
    assert prompt.embeddings.dtype == getattr(torch, dtype)
    target = Target(DOG, prompt.n_positions - 1)
    found = attribute_units(model, prompt, [target])
    for tensor in (found.patches.score, found.patches.total, found.last.total, found.activation):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()
    assert found.patches.score[0, : N_LAYERS - 1].any()
    exact = tiny_captioner(kind)
    reference = attribute_units(exact.language_model, exact.see(photos[:1]), [target])
    off = {
        "scores": distance(found.patches.total, reference.patches.total),
        "activation": distance(found.activation, reference.activation),
        "ablation": distance(
            ablate_units(model, prompt, [[Unit(0, 1)], []]),
            ablate_units(exact.language_model, exact.see(photos[:1]), [[Unit(0, 1)], []]),
        ),
    }
    # What three layers add up to; bfloat16 keeps 8 bits, float16 11.
    most = {"scores": 0.25, "activation": 0.05, "ablation": 0.06}
    parts = {"bfloat16": 1.0, "float16": 0.3}
    assert all(off[what] < most[what] * parts[dtype] for what in most), off
    assert len(captioner.write(prompt)[0]) > 0


def test_auto_is_the_dtype_of_the_files(copied: Path) -> None:
    tiny_model("llama", dtype=torch.bfloat16).save_pretrained(copied)
    assert load_language_model(copied, dtype="auto").language_model.dtype == torch.bfloat16
    assert load_language_model(copied).language_model.dtype == torch.float32


def test_devices(llama: Path) -> None:
    expected = tiny_language_model("llama")
    for options in ({"device": "cpu"}, {"device_map": "auto"}):
        require_logits(load_language_model(llama, **options).language_model, expected)
    with pytest.raises(UsageError, match="a device or a device map, not both"):
        load_language_model(llama, device="cpu", device_map="auto")
    with pytest.raises(UsageError, match="'int8' is not a dtype to load in"):
        load_language_model(llama, dtype="int8")


@pytest.mark.parametrize("kind", ["llama", "gemma2", "opt_350m", "gptj"])
def test_weights_that_accelerate_keeps_elsewhere_are_read(
    kind: str, photos: list[Image.Image]
) -> None:
    """What `device_map="auto"` does with layers that do not fit: no weight stays in the module."""
    from accelerate import cpu_offload

    plain, offloaded = tiny_captioner(kind), tiny_captioner(kind)
    cpu_offload(offloaded.language_model.model, execution_device=torch.device("cpu"))
    model = adapt(offloaded.language_model.model, offloaded.language_model.tokenizer)
    assert model.model.get_input_embeddings().weight.is_meta
    assert model.device == torch.device("cpu")
    prompt = offloaded.see(photos[:1])
    torch.testing.assert_close(prompt.embeddings, plain.see(photos[:1]).embeddings)
    target = [Target(DOG, prompt.n_positions - 1)]
    found = attribute_units(model, prompt, target)
    expected = attribute_units(plain.language_model, prompt, target)
    torch.testing.assert_close(found.patches.score, expected.patches.score)
    units = [Unit(0, 3), Unit(2, 11)]
    assert decode_units(model, units) == decode_units(plain.language_model, units)
    other = plain.language_model
    torch.testing.assert_close(
        ablate_units(model, prompt, [units]), ablate_units(other, prompt, [units])
    )
    torch.testing.assert_close(patch_norms(model, prompt), patch_norms(other, prompt))
    assert offloaded.write(prompt) == plain.write(prompt)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "opt_350m", "gptj", "gpt2", "bloom"])
def test_layers_that_stay_on_the_disk_are_read(
    kind: str, tmp_path: Path, photos: list[Image.Image]
) -> None:
    folder, plain = save(tmp_path / "tiny", kind), tiny_captioner(kind)
    half = sum(p.nbytes for p in plain.language_model.model.parameters()) // 2
    options = {"device_map": "auto", "max_memory": {"cpu": half}}
    loaded = load_language_model(folder, **options).language_model
    assert set(loaded.model.hf_device_map.values()) == {"cpu", "disk"}
    assert loaded.down_projection(2).weight.is_meta
    model, other = (
        LanguageModel(loaded.model, tiny_tokenizer(), loaded.family),
        plain.language_model,
    )
    hooks = count_hooks(model.model)
    prompt = plain.see(photos[:1])
    require_logits(model, other)
    target = [Target(DOG, prompt.n_positions - 1)]
    found, expected = attribute_units(model, prompt, target), attribute_units(other, prompt, target)
    torch.testing.assert_close(found.patches.score, expected.patches.score)
    units = [Unit(0, 3), Unit(2, 11)]
    assert decode_units(model, units) == decode_units(other, units)
    torch.testing.assert_close(
        ablate_units(model, prompt, [units]), ablate_units(other, prompt, [units])
    )
    for layer in range(N_LAYERS):
        assert torch.equal(model.output_rows(layer), other.output_rows(layer))
    checks = prove(model)
    assert all(check.holds for check in checks), checks
    assert [check.claim for check in checks] == [check.claim for check in prove(other)]
    assert count_hooks(model.model) == hooks


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_silencing_is_checked_on_what_stays_on_the_disk(
    dtype: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a row whose units are others is found wrong there too."""
    weights = sum(p.nbytes for p in tiny_model("llama").parameters())
    options = {"device_map": "auto", "max_memory": {"cpu": weights // 4}, "dtype": dtype}
    model = load_language_model(llama, **options).language_model
    assert model.down_projection(N_LAYERS - 1).weight.is_meta
    assert all(check.holds for check in prove(model))
    rows = LanguageModel.output_rows
    monkeypatch.setattr(LanguageModel, "output_rows", lambda *args: rows(*args).roll(1, 0))
    found = silencing(model, N_LAYERS - 1, model.embed(IDS), torch.arange(8))
    assert not found.holds, found


def test_only_safetensors_can_stay_on_the_disk(copied: Path) -> None:
    torch.save(tiny_model("llama").state_dict(), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"larger than the memory .* only safetensors can stay"):
        load_language_model(copied, device_map="auto", max_memory={"cpu": 60_000})
    with pytest.raises(UsageError, match="max_memory goes with a device map"):
        load_language_model(copied, max_memory={"cpu": 60_000})


def hub(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, source: Path | None) -> None:
    """Make a hub cache that holds one model, or none."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = root / f"models--{name.replace('/', '--')}"
    if source is not None:
        commit = "0123456789" * 4
        shutil.copytree(source, place / "snapshots" / commit)
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text(commit)


def test_a_hub_name_is_read_from_the_hubs_cache(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tmp_path, "someone/tiny", llama)
    loaded = load_language_model("someone/tiny")
    assert loaded.name == "someone/tiny"
    require_logits(loaded.language_model, tiny_language_model("llama"))


def test_without_a_network_the_line_says_how_to_bring_the_model(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tmp_path / "empty", "someone/tiny", None)
    with pytest.raises(WeightsError, match=r"hf download someone/tiny .*--local-dir") as caught:
        load_language_model("someone/tiny")
    assert str(tmp_path / "empty") in str(caught.value)
    assert "\n" not in str(caught.value)
    hub(monkeypatch, tmp_path / "half", "someone/tiny", llama)
    for weights in (tmp_path / "half").rglob("model.safetensors"):
        weights.unlink()
    with pytest.raises(WeightsError, match=r"not there whole.*hf download someone/tiny"):
        load_language_model("someone/tiny")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_parts_that_an_index_names_are_fetched(
    name: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are called: BLOOM's are `model_00001-of-00072.safetensors`."""
    from huggingface_hub.utils import filter_repo_objects
    from safetensors.torch import save_file

    source, cache = tmp_path / "published", tmp_path / "cache"
    shutil.copytree(llama, source)
    (source / "model.safetensors").unlink()
    stem, ending = name.split(".")
    weights = tiny_model("llama").state_dict()
    names = {key: f"{stem}_0000{1 + ('layers' in key)}-of-00002.{ending}" for key in weights}
    for part in set(names.values()):
        tensors = {key: value for key, value in weights.items() if names[key] == part}
        if ending == "bin":
            torch.save(tensors, source / part)
        else:
            save_file(tensors, source / part, {"format": "pt"})
    index = {"metadata": {}, "weight_map": names}
    (source / f"{name}.index.json").write_text(json.dumps(index))
    (source / "flax_model.msgpack").write_bytes(b"another framework's")

    def snapshot(repository: str, allow_patterns: list[str], **options: Any) -> str:
        files = [path.name for path in source.iterdir()]
        cache.mkdir(exist_ok=True)
        for file in filter_repo_objects(files, allow_patterns=allow_patterns):
            shutil.copy(source / file, cache / file)
        return str(cache)

    monkeypatch.setattr("molyneux.checkpoints.sources.hub_answers", lambda: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    loaded = load_language_model("someone/bloom")
    assert set(loaded.files) == set(names.values())
    assert not (cache / "flax_model.msgpack").exists()
    require_logits(loaded.language_model, tiny_language_model("llama"))
    shutil.rmtree(cache)
    (source / sorted(names.values())[0]).unlink()
    with pytest.raises(WeightsError, match="not there whole"):
        load_language_model("someone/bloom")


def test_a_float16_that_overflows_is_named(tmp_path: Path) -> None:
    model: Any = tiny_model("gemma3")
    with torch.no_grad():
        model.model.layers[1].post_feedforward_layernorm.weight.fill_(60_000)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    for dtype in ("float32", "bfloat16"):
        load_language_model(tmp_path, dtype=dtype)
    with pytest.raises(AdapterError, match=r"overflows in float16.*load it in bfloat16 or float32"):
        load_language_model(tmp_path, dtype="float16")


def test_a_hub_that_has_no_address_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would retry for seconds, and say so at length."""
    import huggingface_hub.constants as constants

    def asked(*args: object, **options: object) -> None:
        raise AssertionError("the hub was asked")

    def nowhere(*args: object) -> None:
        raise socket.gaierror("no such host")

    hub(monkeypatch, tmp_path, "someone/tiny", None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr("huggingface_hub.utils._http.http_backoff", asked)
    for load in (load_language_model, load_vlm, load_tokenizer):
        with pytest.raises(
            WeightsError, match=r"\(the hub cannot be reached\); run `hf d"
        ) as caught:
            load("someone/tiny")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_the_tokenizer_of_a_hub_model_costs_no_weights(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tmp_path, "someone/tiny", llama)
    for weights in tmp_path.rglob("model.safetensors"):
        weights.unlink()
    tokenizer, called = load_tokenizer("someone/tiny")
    assert (tokenizer.bos_token, called) == (tiny_tokenizer().bos_token, "someone/tiny")
    with pytest.raises(WeightsError, match="holds no weights"):  # but a folder must be whole
        load_tokenizer(next(tmp_path.rglob("config.json")).parent)


def test_an_unknown_family_costs_no_download(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tmp_path, "someone/tiny", llama)
    for config in tmp_path.rglob("config.json"):
        config.write_text(json.dumps({"model_type": "lama"}))
        (config.parent / "model.safetensors").unlink()
    with pytest.raises(
        AdapterError, match=r"'lama' \(near matches: .*llama.*register_family\(row\)"
    ):
        load_language_model("someone/tiny")


def test_what_is_no_model_is_refused_in_one_line(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"neither config\.json nor a \.gguf file"):
        load_language_model(tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"there is no .*nowhere"):
        load_language_model(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="is not a language model"):
        load_language_model(copied / "config.json")
    for name in ("a", "b"):
        (tmp_path / "empty" / f"{name}.gguf").write_bytes(b"GGUF")
    with pytest.raises(WeightsError, match=r"several GGUF files \(a\.gguf, b\.gguf\)"):
        load_language_model(tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"cannot read .*a\.gguf"):
        load_language_model(tmp_path / "empty" / "a.gguf")
    (copied / "model.safetensors").write_bytes(b"12345678" * 20_000)
    with pytest.raises(WeightsError, match="cannot load") as caught:
        load_language_model(copied)
    assert "\n" not in str(caught.value)
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="holds no weights"):
        load_language_model(copied)
    (copied / "config.json").write_text("[]")
    with pytest.raises(WeightsError, match=r"cannot read .*config\.json"):
        load_language_model(copied)


def test_weights_of_another_model_are_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"layers\.1\.mlp\.down_proj.*missing or of another"):
        load_language_model(copied)


QUANTISERS: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"load_in_8bit": True},
    "gptq": {"bits": 4},
    "awq": {"bits": 4},
    "torchao": {"quant_type": "int8_weight_only"},
    "compressed-tensors": {"config_groups": {}, "format": "dense"},
    "hqq": {},
    "unheard-of": {},
}


def say_quantised(folder: Path, method: str, settings: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, **settings}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("method", QUANTISERS)
def test_quantised_models_are_refused_in_one_line(copied: Path, method: str) -> None:
    say_quantised(copied, method, QUANTISERS[method])
    with pytest.raises(AdapterError, match=rf"is quantised \({method}\).*unquantised") as caught:
        load_language_model(copied)
    assert "\n" not in str(caught.value)


def test_quantised_vision_language_models_are_refused_in_one_line(tmp_path: Path) -> None:
    for part in tiny_vlm_parts("llava"):
        part.save_pretrained(tmp_path)
    for method in ("bitsandbytes", "gptq", "unheard-of"):
        say_quantised(tmp_path, method, QUANTISERS[method])
        with pytest.raises(AdapterError, match=rf"is quantised \({method}\).*unquantised"):
            load_vlm(tmp_path)


def blocks(weight: Tensor, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Return a weight in float8, the scales of its blocks, and what both stand for."""
    rows, columns = weight.shape
    cut = weight.reshape(rows // side, side, columns // side, side)
    scale = cut.abs().amax((1, 3)) / 448
    coded = (cut / scale[:, None, :, None]).to(torch.float8_e4m3fn)
    whole = coded.float() * scale[:, None, :, None]
    return coded.reshape(rows, columns), scale, whole.reshape(rows, columns)


def test_float8_blocks_are_dequantised_or_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    given, expected = {}, tiny_model("llama")
    for name, weight in load_file(copied / "model.safetensors").items():
        given[name] = weight
        if "_proj" in name:
            given[name], given[f"{name}_scale_inv"], whole = blocks(weight)
            expected.get_parameter(name).data = whole
    save_file(given, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdapterError, match=r"holds .*weight_scale_inv, which transformers passes"):
        load_language_model(copied)
    say_quantised(copied, "fp8", {"weight_block_size": [16, 16]})
    found = load_language_model(copied).language_model
    require_logits(found, adapt(expected, tiny_tokenizer()))


def test_adapters_are_refused_in_one_line(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    unmerged = {**tensors, "model.layers.0.mlp.down_proj.lora_A.weight": torch.ones(2, 48)}
    save_file(unmerged, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdapterError, match=r"lora_A\.weight, .* not read whole; .* merged"):
        load_language_model(copied)
    save_file(tensors, copied / "model.safetensors", {"format": "pt"})
    (copied / "adapter_config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"is an adapter .*merge_and_unload"):
        load_language_model(copied)


def test_a_tokenizer_that_is_not_there(copied: Path) -> None:
    whole = (copied / "tokenizer.json").read_bytes()
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"cannot load the tokenizer in .*; put .*tokenizer\.js"):
        load_language_model(copied)
    (copied / "tokenizer.json").unlink()
    with pytest.raises(
        WeightsError, match=r"tokenizer.*put the model's .*beside its config\.json$"
    ):
        load_language_model(copied)
    (copied / "tokenizer_config.json").unlink()
    (copied / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    with pytest.raises(WeightsError, match="pip install sentencepiece protobuf") as caught:
        load_language_model(copied)
    assert "\n" not in str(caught.value)
    (copied / "tokenizer.json").write_bytes(whole)
    assert load_language_model(copied).language_model.tokenizer.vocab_size > 70


def test_sharded_pickles_and_what_they_may_not_hold(copied: Path) -> None:
    weights = tiny_model("llama").state_dict()
    (copied / "model.safetensors").unlink()
    names = {key: f"pytorch_model-0000{1 + ('layers' in key)}-of-00002.bin" for key in weights}
    for name in set(names.values()):
        torch.save({k: v for k, v in weights.items() if names[k] == name}, copied / name)
    index = {"metadata": {}, "weight_map": names}
    (copied / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    loaded = load_language_model(copied)
    assert set(loaded.files) == set(names.values())
    require_logits(loaded.language_model, tiny_language_model("llama"))
    held = {"model.norm.weight": Calls(copied / "ran"), "as_large": torch.zeros(30_000)}
    torch.save(held, copied / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"more than tensors; .* give the model as safetensors"):
        load_language_model(copied)
    assert not (copied / "ran").exists()


class Calls:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_head_is_tied_or_there(copied: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tied = save(tmp_path / "tied", "gpt2")
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    require_logits(load_language_model(tied).language_model, tiny_language_model("gpt2"))
    tensors = load_file(copied / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"does not hold this model's weights \(lm_head\.weight"):
        load_language_model(copied)


def test_a_class_that_cannot_be_imported_names_torchvision(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.auto import modeling_auto

    class Broken:
        def __getitem__(self, key: object) -> object:
            raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(modeling_auto, "MODEL_FOR_CAUSAL_LM_MAPPING", Broken())
    with pytest.raises(WeightsError, match=r"cannot import its llama model.*torchvision"):
        load_language_model(llama)


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny-llama.F32.gguf", tiny_model("llama"), "llama")
    loaded = load_language_model(tmp_path)
    require_logits(loaded.language_model, tiny_language_model("llama"))
    assert loaded.name == path.name


def test_units_are_counted_without_weights(kind: str, tmp_path: Path) -> None:
    model = tiny_language_model(kind)
    model.model.config.save_pretrained(tmp_path)
    assert unit_counts(tmp_path) == (model.n_layers, model.d_mlp)


@pytest.mark.parametrize("form", ["folder", "gguf", "not here"])
def test_a_unit_that_is_not_there_is_refused_before_weights_are_read(
    form: str, llama: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: object = llama
    if form == "gguf":
        source = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"), "llama")
    elif form == "not here":
        source = "nobody/nothing-of-this-name"
        assert unit_counts(str(source)) is None
    read: list[object] = []

    def reading(*given: Any, **options: Any) -> Any:
        read.append(given)
        raise WeightsError("weights were read")

    monkeypatch.setattr("molyneux.checkpoints.language_models.read_weights", reading)
    status = main(["decode", "L1.u7", "L3.u1", "--language-model", str(source)])
    out, err = capsys.readouterr()
    assert out == ""
    if form == "not here":
        assert (status, read) == (1, [])
    else:
        assert (status, read) == (2, [])
        assert "there is no unit L3.u1: this model has layers L0 to L2" in err.splitlines()[-1]
        assert main(["decode", "L2.u1", "--language-model", str(source)]) == 1
        assert len(read) == 1
