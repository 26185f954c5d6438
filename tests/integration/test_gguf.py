"""GGUF files of every architecture that is read: the logits of the model they were made from.

The files are written here as llama.cpp's converter writes them: its names, its order of rows, its
keys. What transformers passes over in silence is in them too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tiny_models import N_LAYERS, tiny_language_model, tiny_model, tiny_tokenizer, weights_hash
from torch import Tensor
from transformers import PreTrainedModel

from molyneux.adapters.proof.prove import prove
from molyneux.checkpoints.gguf_files import gguf_weights, read_gguf
from molyneux.checkpoints.gguf_settings import GGUF_ARCHITECTURES, gguf_configuration
from molyneux.checkpoints.gguf_steps import weight_steps
from molyneux.checkpoints.language_models import load_language_model
from molyneux.errors import WeightsError
from molyneux.weights.fetch import quiet_progress_bars

IDS = torch.arange(24)[None]
DOG = 20
# Which architecture llama.cpp writes each tiny model as.
READ = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gpt2": "gpt2",
    "phi3": "phi3",
    "bloom": "bloom",
    "falcon_7b": "falcon",
    "falcon": "falcon",
    "gpt_neox": "gptneox",
    "phi": "phi2",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
}
_ROTARY = ("llama", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3")
_CENTRED = ("gpt2", "bloom", "falcon", "gptneox", "phi2")


def made(kind: str, **settings: Any) -> PreTrainedModel:
    """Return a tiny model with other settings; layers that are new repeat the others."""
    plain = tiny_model(kind)
    if kind in ("gemma2", "gemma3"):  # the window's pattern as llama.cpp has it
        settings = {"layer_types": None, "sliding_window": 12, **settings}
    if not settings:
        return plain
    config = type(plain.config)(**{**plain.config.to_dict(), "rope_parameters": None, **settings})
    config._attn_implementation = "eager"
    model = type(plain)(config)
    weights = plain.state_dict()
    for name in model.state_dict():
        old = re.sub(r"layers\.(\d+)", lambda at: f"layers.{int(at[1]) % N_LAYERS}", name)
        weights[name] = weights[old].clone()
        if name == "lm_head.weight" and not config.tie_word_embeddings:
            weights[name] = weights[name].flip(0)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def _rotary_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return rows in the order of llama.cpp's rotation, in pairs rather than halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _values(model: PreTrainedModel, architecture: str, name: str, values: np.ndarray) -> np.ndarray:
    """Return a tensor as llama.cpp's converter writes it."""
    config: Any = model.config
    heads, rest = config.num_attention_heads, values.shape[1:]
    if architecture == "llama" and "q_proj" in name:
        return _rotary_rows(values, heads)
    if architecture == "llama" and "k_proj" in name:
        return _rotary_rows(values, config.num_key_value_heads)
    if architecture == "gpt2" and values.ndim == 2 and ".h." in name:
        return values.T
    if architecture in ("bloom", "gptneox") and "query_key_value" in name:
        return values.reshape(heads, 3, -1, *rest).swapaxes(0, 1).reshape(values.shape)
    if architecture == "falcon" and "query_key_value" in name:
        n_kv = config.num_kv_heads if config.new_decoder_architecture else 1
        grouped = values.reshape(n_kv, heads // n_kv + 2, -1, *rest)
        parts = [grouped[:, :-2], grouped[:, [-2]], grouped[:, [-1]]]
        return np.concatenate([part.reshape(-1, *rest) for part in parts])
    if architecture.startswith("gemma") and name.endswith("norm.weight"):
        return values + 1
    return values


def _keys(model: PreTrainedModel, architecture: str) -> dict[str, Any]:
    """Return what llama.cpp's converter writes of a configuration."""
    config: Any = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inner = {"gpt2": "n_inner", "falcon": "ffn_hidden_size"}.get(architecture, "intermediate_size")
    keys: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "context_length": getattr(config, "max_position_embeddings", 0),
        "feed_forward_length": getattr(config, inner, None) or 4 * config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture in _CENTRED:
        epsilon = getattr(config, "layer_norm_epsilon", None) or config.layer_norm_eps
        keys["attention.layer_norm_epsilon"] = epsilon
    else:
        keys["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
    if architecture in (*_ROTARY, "gptneox"):
        theta = config.rope_parameters
        keys["rope.freq_base"] = float(theta.get("full_attention", theta)["rope_theta"])
    if architecture in (*_ROTARY, "phi2"):
        keys["attention.head_count_kv"] = config.num_key_value_heads
    if architecture in ("llama", "phi3", "phi2", "gptneox"):
        part = config.rope_parameters.get("partial_rotary_factor", 1)
        keys["rope.dimension_count"] = int(part * width)
    if architecture in ("qwen3", "gemma", "gemma2", "gemma3"):
        keys["attention.key_length"] = keys["attention.value_length"] = width
    if architecture in ("gemma2", "gemma3", "phi3"):
        keys["attention.sliding_window"] = config.sliding_window or 0
    if architecture == "gemma2":
        keys["attn_logit_softcapping"] = config.attn_logit_softcapping
        keys["final_logit_softcapping"] = config.final_logit_softcapping
    if architecture == "bloom":
        keys["attention.head_count_kv"] = config.n_head
    if architecture == "falcon":
        keys["tensor_data_layout"] = "jploski"
        keys["attention.head_count_kv"] = (
            config.num_kv_heads if config.new_decoder_architecture else 1
        )
    if architecture == "gptneox":
        keys["use_parallel_residual"] = config.use_parallel_residual
    return keys


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    architecture: str,
    *,
    keys: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    tensors: dict[str, np.ndarray] | None = None,
    quantise: Callable[[str], gguf.GGMLQuantizationType | None] = lambda _: None,
) -> Path:
    """Write a model as a GGUF file.

    Args:
        keys: further metadata of the architecture, or other values.
        without: names of keys and tensors that are left out.
        tensors: further tensors.
        quantise: a tensor's name in the file -> its type, None for float32.
    """
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(
        number.get(architecture, gguf.MODEL_ARCH.LLAMA), model.config.num_hidden_layers
    )
    config, tokenizer = model.config, tiny_tokenizer()
    writer = gguf.GGUFWriter(path, architecture)
    add: dict[type, Callable[[str, Any], None]] = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        bool: writer.add_bool,
        list: writer.add_array,
    }
    for key, value in ({**_keys(model, architecture), **(keys or {})}).items():
        if key not in without:
            prefix = "" if key.startswith(("split.", "general.")) else f"{architecture}."
            add[type(value)](f"{prefix}{key}", value)
    words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    n_pads = config.vocab_size - len(words)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*words, *(f"<pad{i}>" for i in range(n_pads))])
    writer.add_token_types([1] * config.vocab_size)
    writer.add_token_merges(["Ġ a", "Ġa n"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(1)
    given: dict[str, np.ndarray] = dict(tensors or {})
    tied = model.config.tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if (name == "lm_head.weight" and tied) or name.endswith((".attn.bias", "masked_bias")):
            continue
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        known = known or names.get_name(
            name.removeprefix("transformer."), try_suffixes=(".weight", ".bias")
        )
        assert known or architecture not in number, name
        given[known or name] = _values(model, architecture, name, tensor.numpy())
    for name, values in given.items():
        if name in without:
            continue
        kind = quantise(name)
        values = np.ascontiguousarray(values, dtype=np.float32)
        if kind is None:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@torch.no_grad()
def logits(model: Any, ids: Tensor = IDS) -> Tensor:
    found: Tensor = model(input_ids=ids).logits
    return found


@pytest.mark.parametrize("kind", READ)
def test_a_file_has_the_logits_of_the_model_it_was_made_from(kind: str, tmp_path: Path) -> None:
    source = made(kind)
    path = write_gguf(tmp_path / f"tiny-{kind}.gguf", source, READ[kind])
    loaded = load_language_model(path)
    found = loaded.language_model
    torch.testing.assert_close(logits(found.model), logits(source), atol=2e-5, rtol=1e-5)
    failed = [check for check in prove(found) if not check.holds]
    assert not failed
    assert loaded.name == path.name
    assert loaded.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.token_text(DOG) == tiny_language_model("llama").token_text(DOG)
    assert found.model.dtype == torch.float32


BANDS = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def llama3_divisors(theta: float, factor: float, width: int = 8) -> np.ndarray:
    """Return what llama.cpp's converter writes as rope_freqs.weight for Llama 3.1."""
    divisors = []
    for k in range(0, width, 2):
        wavelength = 2 * np.pi * theta ** (k / width)
        smooth = (8192 / wavelength - 1.0) / (4.0 - 1.0)
        between = 1 / ((1 - smooth) / factor + smooth)
        near, far = wavelength < 8192 / 4.0, wavelength > 8192 / 1.0
        divisors.append(1.0 if near else factor if far else between)
    return np.array(divisors)


LINEAR = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
YARN = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 16,
    "rope.scaling.finetuned": True,
}
SHORT, LONG = [1.0, 1.5, 2.0, 3.0], [1.0, 2.0, 4.0, 8.0]
PLAIN = {"rope_type": "default", "rope_theta": 1e4}
# Settings of the model, keys and tensors of its file; what transformers' own reader passes over.
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "llama 3.1": (
        "llama",
        {
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, **BANDS},
            "max_position_embeddings": 131072,
        },
        {},
        {"rope_freqs.weight": llama3_divisors(5e5, 8.0)},
    ),
    "linear": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
        LINEAR,
        {},
    ),
    "yarn": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            },
            "max_position_embeddings": 64,
        },
        YARN,
        {},
    ),
    "longrope": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": SHORT,
                "long_factor": LONG,
                "original_max_position_embeddings": 16,
            },
            "original_max_position_embeddings": 16,
        },
        {
            "rope.scaling.original_context_length": 16,
            "rope.scaling.attn_factor": float(np.sqrt(1 + np.log(96 / 16) / np.log(16))),
        },
        {
            "rope_factors_short.weight": np.array(SHORT),
            "rope_factors_long.weight": np.array(LONG),
        },
    ),
    "half rotated": (
        "phi3",
        {"rope_parameters": {**PLAIN, "partial_rotary_factor": 0.5}},
        {},
        {},
    ),
    "windowed": ("phi3", {"sliding_window": 6}, {}, {}),
    "other caps": (
        "gemma2",
        {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
        {},
        {},
    ),
    "far and near": (
        "gemma3",
        {
            "num_hidden_layers": 7,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e5, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
            },
        },
        {**LINEAR, "rope.freq_base_swa": 5e3, "attention.sliding_window_pattern": 6},
        {},
    ),
    "one after another": ("gpt_neox", {"use_parallel_residual": False}, {}, {}),
    "untied": ("falcon_7b", {"tie_word_embeddings": False}, {}, {}),
    "an epsilon of its own": ("qwen3", {"rms_norm_eps": 0.03}, {}, {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_file_says_is_read(variant: str, tmp_path: Path) -> None:
    kind, settings, keys, tensors = VARIANTS[variant]
    source = made(kind, **settings)
    path = write_gguf(tmp_path / "x.gguf", source, READ[kind], keys=keys, tensors=tensors)
    found = load_language_model(path).language_model.model
    torch.testing.assert_close(logits(found), logits(source), atol=2e-5, rtol=1e-5)
    assert not torch.allclose(logits(found), logits(made(kind)), atol=1e-3)  # it matters


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bloom", "phi3", "gemma2"])
def test_transformers_own_reader_orders_the_weights_alike(kind: str, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", made(kind), READ[kind])
    found = load_language_model(path).language_model.model
    with quiet_progress_bars():
        theirs = type(found).from_pretrained(
            tmp_path,
            gguf_file=path.name,
            config=gguf_configuration(read_gguf(path)),
            attn_implementation="eager",
            dtype=torch.float32,
        )
    for (name, ours), other in zip(found.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(ours, other), name


Q8, Q4 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0
F16, BF16 = gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16


def mixed(name: str) -> gguf.GGMLQuantizationType | None:
    """Return what a file of several types holds a tensor as; 48 values make no block of 32."""
    if "norm" in name or name.endswith("bias"):
        return None
    return F16 if "ffn_down" in name else Q8 if "attn" in name else Q4


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2"])
def test_a_quantised_file_is_dequantised(kind: str, tmp_path: Path) -> None:
    source = made(kind)
    path = write_gguf(tmp_path / "x.gguf", source, READ[kind], quantise=mixed)
    loaded = load_language_model(path)
    for name, weight in source.named_parameters():
        if weight.dim() > 1:
            attention = "self_attn" in name
            as_kept = F16 if "down_proj" in name else Q8 if attention else Q4
            coded = gguf.quants.quantize(weight.numpy(), as_kept)
            weight.data = torch.tensor(gguf.quants.dequantize(coded, as_kept))
    torch.testing.assert_close(logits(loaded.language_model.model), logits(source))
    assert all(check.holds for check in prove(loaded.language_model))
    assert load_language_model(path, dtype="auto").language_model.dtype == torch.float32


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_steps_are_those_of_each_weights_block(kind: str, tmp_path: Path) -> None:
    """As the values have it: whole steps apart in a block, whose range is all of its steps."""
    four, eight = gguf.GGMLQuantizationType.Q4_1, Q8

    def quantise(name: str) -> gguf.GGMLQuantizationType | None:
        if "norm" in name or "ffn_down" in name or name.endswith("bias"):
            return None
        return four if "ffn" in name or "attn_q." in name else eight

    source = made(kind)
    path = write_gguf(tmp_path / "x.gguf", source, READ[kind], quantise=quantise)
    file = read_gguf(path)
    config = gguf_configuration(file)
    steps = weight_steps(file, type(source), config)
    weights = gguf_weights(file, type(source), config, torch.float32)
    exact = {name for name in weights if name not in steps}
    assert exact == {
        name
        for name, weight in weights.items()
        if weight.dim() == 1 or "down_proj" in name or "mlp.c_proj" in name
    }
    checked = 0
    for name, step in steps.items():
        assert step.shape == weights[name].shape
        across = kind == "gpt2" and ".h." in name  # which holds them the other way round
        w, d = ((t.T if across else t).reshape(-1, 32).double() for t in (weights[name], step))
        assert torch.equal(d, d[:, :1].expand_as(d))
        assert bool((d > 0).all())
        whole = (w - w[:, :1]) / d
        torch.testing.assert_close(whole, whole.round(), atol=1e-2, rtol=0)
        in_fours = "mlp" in name or "q_proj" in name
        # All 15 steps of a block, and up to 127 of them from nought.
        reach = w.amax(1) - w.amin(1) if in_fours else w.abs().amax(1)
        steps_there = torch.full_like(reach, 15 if in_fours else 127)
        torch.testing.assert_close(reach / d[:, 0], steps_there, atol=1e-2, rtol=0)
        checked += in_fours
    assert 0 < checked < len(steps)


def test_a_block_without_one_step_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", made("llama"), "llama")
    file = read_gguf(path)
    config = gguf_configuration(file)
    name = "blk.0.ffn_down.weight"
    file.tensors[name] = SimpleNamespace(name=name, tensor_type=gguf.GGMLQuantizationType.Q6_K)
    with pytest.raises(WeightsError, match="as Q6_K, whose weights have no one step"):
        weight_steps(file, type(made("llama")), config)


@pytest.mark.parametrize(("kind", "dtype"), [(F16, torch.float16), (BF16, torch.bfloat16)])
def test_a_half_precision_file(
    kind: gguf.GGMLQuantizationType, dtype: torch.dtype, tmp_path: Path
) -> None:
    path = write_gguf(
        tmp_path / "x.gguf",
        made("llama"),
        "llama",
        quantise=lambda name: None if "norm" in name else kind,
    )
    assert load_language_model(path, dtype="auto").language_model.dtype == dtype
    full = load_language_model(path).language_model
    assert full.dtype == torch.float32
    rounded: Any = made("llama")
    rounded.to(dtype)
    for name, weight in full.model.named_parameters():
        if weight.dim() > 1:
            assert torch.equal(weight, rounded.get_parameter(name).float()), name


def test_a_file_is_converted_once_for_all(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", made("llama"), "llama", quantise=mixed)
    found = load_language_model(path).language_model
    found.model.save_pretrained(tmp_path / "folder")
    found.tokenizer.save_pretrained(tmp_path / "folder")
    again = load_language_model(tmp_path / "folder").language_model
    assert weights_hash(again.model) == weights_hash(found.model)
    # Read from another file, they lie otherwise in memory: kernels may sum in another order.
    torch.testing.assert_close(logits(again.model), logits(found.model))
    assert again.tokenizer.get_vocab() == found.tokenizer.get_vocab()


EXTRA = {"blk.0.attn_q.bias": np.zeros(32)}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": (
        {"keys": {"attention.scale": 0.5}},
        r"llama\.attention\.scale = 0\.5, which is not read here and may change what",
    ),
    "experts": ({"keys": {"expert_count": 8}}, r"llama\.expert_count = 8, which is not read"),
    "no key": (
        {"without": ("attention.head_count_kv",)},
        r"does not say llama\.attention\.head_count_kv",
    ),
    "layers that differ": (
        {"keys": {"attention.head_count_kv": [2, 2, 4]}},
        r"layers that differ in attention\.head_count_kv",
    ),
    "an unknown scaling": ({"keys": {"rope.scaling.type": "longrope"}}, r"positions \(longrope\)"),
    "another Llama 3 scaling": (
        {"tensors": {"rope_freqs.weight": np.array([1.0, 2.0, 3.0, 8.0])}},
        r"positions \(rope_freqs\.weight\) in a way that is not read",
    ),
    "values of another width": (
        {"keys": {"attention.key_length": 8, "attention.value_length": 16}},
        r"llama\.attention\.value_length = 16, and only 8 can be read",
    ),
    "a tensor more": ({"tensors": EXTRA}, r"holds blk\.0\.attn_q\.bias, for which .*no place"),
    "a tensor less": (
        {"without": ("blk.1.ffn_down.weight",)},
        r"does not hold this model's weights \(model\.layers\.1\.mlp\.down_proj",
    ),
    "one of several": ({"keys": {"split.count": 3}}, r"one of 3 parts: join them with"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    options, line = REFUSED[what]
    path = write_gguf(tmp_path / "x.gguf", made("llama"), "llama", **options)
    with pytest.raises(WeightsError, match=line) as caught:
        load_language_model(path)
    assert "\n" not in str(caught.value)


LONGER = {"rope_factors_long.weight": np.ones(4)}
CONTRADICTORY: dict[str, tuple[str, dict[str, Any], str]] = {
    "heads of keys": ("llama", {"keys": {"attention.head_count_kv": 3}}, r"attn_k.* does not fit"),
    "falcon's groups": ("falcon", {"keys": {"attention.head_count_kv": 7}}, r"qkv.* does not fit"),
    "no heads": ("llama", {"keys": {"attention.head_count": 0}}, r"no llama that can be made"),
    "no heads to check": ("gpt2", {"keys": {"attention.head_count": 0}}, r"describes no network"),
    "heads as text": (
        "llama",
        {"keys": {"attention.head_count": "four"}},
        r"no llama that can be made",
    ),
    "long without short": (
        "phi3",
        {"tensors": LONGER},
        r"holds rope_factors_long\.weight without rope_factors_short\.weight",
    ),
    "an original length of 0": (
        "phi3",
        {
            "keys": {"rope.scaling.original_context_length": 0},
            "tensors": {**LONGER, "rope_factors_short.weight": np.ones(4)},
        },
        r"no phi3 that can be made",
    ),
    "parts as text": ("llama", {"keys": {"split.count": "x"}}, r"cannot read .* as a GGUF file"),
    "no embedding": (
        "llama",
        {"without": ("token_embd.weight",)},
        r"holds no token_embd\.weight with a row for each token",
    ),
    "a flat embedding": (
        "llama",
        {"tensors": {"token_embd.weight": np.zeros(5)}, "flat": True},
        r"holds no token_embd\.weight with a row for each token",
    ),
}


@pytest.mark.parametrize("what", CONTRADICTORY)
def test_a_header_that_contradicts_itself_is_refused_in_one_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, options, line = CONTRADICTORY[what]
    source = made(kind)
    if options.get("flat"):
        rows = source.state_dict()
        flat = {**rows, "model.embed_tokens.weight": torch.zeros(5)}
        monkeypatch.setattr(source, "state_dict", lambda: flat)
    given = {key: value for key, value in options.items() if key != "flat"}
    path = write_gguf(tmp_path / "x.gguf", source, READ[kind], **given)
    with pytest.raises(WeightsError, match=line) as caught:
        load_language_model(path)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)


def test_an_architecture_that_is_not_read_names_those_that_are(tmp_path: Path) -> None:
    assert set(READ.values()) == set(GGUF_ARCHITECTURES)
    path = write_gguf(tmp_path / "x.gguf", made("llama"), "smollm3")
    with pytest.raises(
        WeightsError, match=r"'smollm3'; of GGUF files only bloom, .* are read; give"
    ):
        load_language_model(path)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", made("llama"), "llama")
    whole = path.read_bytes()
    for size in (10, 2000, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"x\.gguf.*fetch") as caught:
            load_language_model(path)
        assert "\n" not in str(caught.value)
