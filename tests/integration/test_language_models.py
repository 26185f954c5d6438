"""Loading language models: folders, the hub's cache, GGUF files, dtypes, devices, and refusals."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import (
    N_LAYERS,
    OTHER_WIDTH,
    ToyEncoder,
    tiny_captioner,
    tiny_language_model,
    tiny_model,
    tiny_projection,
    tiny_tokenizer,
)
from torch import Tensor

from molyneux.adapters import LanguageModel
from molyneux.errors import AdapterError, UsageError, WeightsError
from molyneux.models.captioner import Captioner
from molyneux.models.language_models import load_language_model
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


def test_a_folder_is_loaded_with_its_logits_and_hash(kind: str, tmp_path: Path) -> None:
    folder = save(tmp_path / f"tiny-{kind}", kind)
    told: list[str] = []
    loaded = load_language_model(folder, note=told.append)
    assert torch.equal(logits(loaded.language_model), logits(tiny_language_model(kind)))
    digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (loaded.name, loaded.sha256) == (f"tiny-{kind}", digest)
    assert loaded.files == {"model.safetensors": digest}
    assert told[-1] == f"loading tiny-{kind}"
    assert load_language_model(str(folder), name="other").name == "other"


def test_a_sharded_model_has_one_hash(tmp_path: Path) -> None:
    folder = save(tmp_path / "sharded", "llama", max_shard_size="40KB")
    loaded = load_language_model(folder)
    assert len(loaded.files) > 2
    assert torch.equal(logits(loaded.language_model), logits(tiny_language_model("llama")))
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
    assert torch.equal(logits(loaded.language_model), logits(tiny_language_model("llama")))
    torch.save({"model.norm.weight": Path("code")}, copied / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot load"):
        load_language_model(copied)


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
    pair = torch.stack([found.patches.total.flatten(), reference.patches.total.flatten()])
    assert float(pair.corrcoef()[0, 1]) > 0.9
    assert ablate_units(model, prompt, [[Unit(0, 1)], []]).isfinite().all()
    assert len(captioner.write(prompt)[0]) > 0


def test_auto_is_the_dtype_of_the_files(copied: Path) -> None:
    tiny_model("llama", dtype=torch.bfloat16).save_pretrained(copied)
    assert load_language_model(copied, dtype="auto").language_model.dtype == torch.bfloat16
    assert load_language_model(copied).language_model.dtype == torch.float32


def test_devices(llama: Path) -> None:
    expected = logits(tiny_language_model("llama"))
    for options in ({"device": "cpu"}, {"device_map": "auto"}):
        assert torch.equal(logits(load_language_model(llama, **options).language_model), expected)
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
    model = LanguageModel.adapt(
        offloaded.language_model.model, offloaded.language_model.tokenizer, check=True
    )
    assert model.model.get_input_embeddings().weight.is_meta
    assert model.device == torch.device("cpu")
    prompt = offloaded.see(photos[:1])
    assert torch.equal(prompt.embeddings, plain.see(photos[:1]).embeddings)
    target = [Target(DOG, prompt.n_positions - 1)]
    found = attribute_units(model, prompt, target)
    expected = attribute_units(plain.language_model, prompt, target)
    assert torch.equal(found.patches.score, expected.patches.score)
    units = [Unit(0, 3), Unit(2, 11)]
    assert decode_units(model, units) == decode_units(plain.language_model, units)
    other = plain.language_model
    assert torch.equal(ablate_units(model, prompt, [units]), ablate_units(other, prompt, [units]))
    assert torch.equal(patch_norms(model, prompt), patch_norms(other, prompt))
    assert offloaded.write(prompt) == plain.write(prompt)


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
    assert torch.equal(logits(loaded.language_model), logits(tiny_language_model("llama")))


def test_without_a_network_the_line_says_how_to_bring_the_model(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, tmp_path / "empty", "someone/tiny", None)
    with pytest.raises(WeightsError, match="hf download someone/tiny --local-dir") as caught:
        load_language_model("someone/tiny")
    assert str(tmp_path / "empty") in str(caught.value)
    assert "\n" not in str(caught.value)
    hub(monkeypatch, tmp_path / "half", "someone/tiny", llama)
    for weights in (tmp_path / "half").rglob("model.safetensors"):
        weights.unlink()
    with pytest.raises(WeightsError, match=r"not there whole.*hf download someone/tiny"):
        load_language_model("someone/tiny")


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
    (copied / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(WeightsError, match="cannot load") as caught:
        load_language_model(copied)
    assert "\n" not in str(caught.value)
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="a configuration and no weights"):
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


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq"])
def test_quantised_models_are_refused_in_one_line(copied: Path, method: str) -> None:
    config = json.loads((copied / "config.json").read_text())
    settings = {"bitsandbytes": {"load_in_8bit": True}, "gptq": {"bits": 4}}[method]
    config["quantization_config"] = {"quant_method": method, **settings}
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError, match=rf"is quantised \({method}\).*unquantised") as caught:
        load_language_model(copied)
    assert "\n" not in str(caught.value)


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


def write_gguf(path: Path) -> None:
    """Write the tiny Llama as a GGUF file, with llama.cpp's names and order of rotary rows."""
    import gguf

    model: Any = tiny_model("llama")
    config, tokenizer = model.config, tiny_tokenizer()
    n_vocab = config.vocab_size
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(n_vocab)
    words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*words, *(f"<pad{i}>" for i in range(n_vocab - len(words)))])
    writer.add_token_types([1] * n_vocab)
    writer.add_token_merges(["Ġ a", "Ġa n"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    def rotary(weight: np.ndarray, heads: int) -> np.ndarray:
        halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))

    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.layers.": "blk.",
    }
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if "q_proj" in name:
            values = rotary(values, config.num_attention_heads)
        if "k_proj" in name:
            values = rotary(values, config.num_key_value_heads)
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_gguf_file_is_loaded(tmp_path: Path, as_folder: bool) -> None:
    path = tmp_path / "tiny-llama.F32.gguf"
    write_gguf(path)
    loaded = load_language_model(tmp_path if as_folder else path)
    torch.testing.assert_close(logits(loaded.language_model), logits(tiny_language_model("llama")))
    assert loaded.name == path.name
    assert loaded.sha256 == sha256(path.read_bytes()).hexdigest()
    assert loaded.language_model.token_text(DOG) == tiny_language_model("llama").token_text(DOG)
