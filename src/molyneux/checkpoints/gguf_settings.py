"""What a GGUF file says of its language model, down to the last key, or a refusal.

Transformers has a reader of these keys, which passes over those it does not know (a rotary
scaling, soft caps, the width of a head) and takes its own defaults, so that another model than the
file's runs without a word. Here a key that nobody reads is an error.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What llama.cpp fixes in its code
rather than in the file (Gemma's attention scale, the window's pattern) is fixed here the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from molyneux.checkpoints.gguf_files import GgufFile, Settings
from molyneux.errors import MolyneuxError, quote

# The bands of every published model with this scaling (Llama 3.1 to 3.3); held against the file's.
_LLAMA3_BANDS = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@dataclass(frozen=True)
class _Row:
    """How an architecture's keys are called in a Hugging Face configuration.

    Attributes:
        model_type: of the configuration.
        names: key -> setting.
        more: takes the keys that are not settings as they stand.
    """

    model_type: str
    names: Mapping[str, str]
    more: Callable[[GgufFile, Settings], Settings]


def _head(file: GgufFile, found: Settings) -> tuple[int, int]:
    """Return a head's width, and how much of it is rotated, by whichever keys say so."""
    turned = file.take("rope.dimension_count", 0)
    usual = found["hidden_size"] // found["num_attention_heads"]
    if turned and file.architecture == "llama":
        usual = turned  # older files tell the width of a head this way alone
    width = file.take("attention.key_length", usual)
    file.require("attention.value_length", width)
    return int(width), int(turned or width)


def _scaled(file: GgufFile) -> Settings:
    """Return the rotary scaling: none, linear, YaRN's, or Llama 3's, which only a tensor tells."""
    kind = file.take("rope.scaling.type", "none")
    file.stated.pop("rope.scaling.finetuned", None)
    if kind == "linear":
        return {"rope_type": "linear", "factor": file.take("rope.scaling.factor")}
    if kind == "yarn":
        length = file.take("rope.scaling.original_context_length")
        return {
            "rope_type": "yarn",
            "factor": file.take("rope.scaling.factor"),
            "original_max_position_embeddings": length,
        }
    if kind != "none":
        raise file.refusal(f"scales its rotary positions ({kind}) in a way that is not read here")
    if "rope_freqs.weight" in file.factors:
        largest = max(file.factors["rope_freqs.weight"])
        return {"rope_type": "llama3", "factor": largest, **_LLAMA3_BANDS}
    return {"rope_type": "default"}


def _require_llama3(file: GgufFile, width: int, rotary: Settings) -> None:
    """Hold Llama 3's scaling, worked out from one number, against all the file's divisors."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(
        hidden_size=width, num_attention_heads=1, head_dim=width, rope_parameters=rotary
    )
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = rotary["rope_theta"] ** (-np.arange(0, width, 2) / width)
    expected = plain / np.asarray(scaled, dtype=np.float64)
    stated = np.asarray(file.factors.pop("rope_freqs.weight"))
    if stated.shape != expected.shape or not np.allclose(stated, expected, rtol=1e-4):
        raise file.refusal(
            "scales its rotary positions (rope_freqs.weight) in a way that is not read here"
        )


def _llama_like(file: GgufFile, found: Settings) -> Settings:
    width, turned = _head(file, found)
    if turned != width:
        raise file.refusal(f"rotates {turned} of the {width} values of a head, which is not read")
    usual = 1e6 if file.architecture == "gemma3" else 1e4
    rotary = {"rope_theta": file.take("rope.freq_base", usual), **_scaled(file)}
    if rotary["rope_type"] == "llama3":
        _require_llama3(file, width, rotary)
    return {"head_dim": width, "rope_parameters": rotary}


def _phi3(file: GgufFile, found: Settings) -> Settings:
    width, turned = _head(file, found)
    rotary: Settings = {
        "rope_type": "default",
        "rope_theta": file.take("rope.freq_base", 10000.0),
        "partial_rotary_factor": turned / width,
    }
    file.require("rope.scaling.type", "none")
    original = file.take("rope.scaling.original_context_length", found["max_position_embeddings"])
    if "rope_factors_long.weight" in file.factors:
        if "rope_factors_short.weight" not in file.factors:
            raise file.refusal("holds rope_factors_long.weight without rope_factors_short.weight")
        rotary |= {
            "rope_type": "longrope",
            "long_factor": file.factors.pop("rope_factors_long.weight"),
            "short_factor": file.factors.pop("rope_factors_short.weight"),
            "original_max_position_embeddings": original,
        }
        stretch = found["max_position_embeddings"] / original
        usual = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
        stated = file.take("rope.scaling.attn_factor", usual)
        if not math.isclose(stated, usual, rel_tol=1e-4):
            raise file.refusal(f"scales its attention by {stated}, which is not read here")
    window = file.take("attention.sliding_window", 0)
    return {
        "rope_parameters": rotary,
        "original_max_position_embeddings": original,
        "sliding_window": window or None,
    }


def _gemma(file: GgufFile, found: Settings) -> Settings:
    settings = _llama_like(file, found)
    if file.architecture == "gemma":
        return settings
    largest = {"gemma2": 46, "gemma3": 62}[file.architecture]  # layers of the 27B, as in llama.cpp
    heads = found["hidden_size"] // found["num_attention_heads"]
    of_27b = found["num_hidden_layers"] == largest
    settings["query_pre_attn_scalar"] = heads if of_27b else settings["head_dim"]
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if key in file.stated:
            settings[key] = file.take(key)
    if file.architecture == "gemma3":
        file.require("attention.sliding_window_pattern", 6)
        near = file.take("rope.freq_base_swa", 10000.0)
        settings["rope_parameters"] = {
            "full_attention": settings["rope_parameters"],
            "sliding_attention": {"rope_type": "default", "rope_theta": near},
        }
    return settings


def _bloom(file: GgufFile, found: Settings) -> Settings:
    file.take("context_length", 0)  # its positions have no end
    file.require("attention.head_count_kv", found["n_head"])
    file.require("feed_forward_length", 4 * found["hidden_size"])
    return {}


def _falcon(file: GgufFile, found: Settings) -> Settings:
    file.stated.pop("tensor_data_layout", None)
    rotary = _llama_like(file, found)["rope_parameters"]
    one = found["num_kv_heads"] == 1  # 7B; 40B and 11B have more, and are made otherwise
    second = any("attn_norm_2" in name for name in file.tensors)
    return {
        "rope_parameters": rotary,
        "multi_query": one,
        "new_decoder_architecture": not one,
        "num_ln_in_parallel_attn": None if one else 1 + second,
        "parallel_attn": True,
        "bias": "blk.0.attn_qkv.bias" in file.tensors,
    }


def _half_rotated(file: GgufFile, found: Settings) -> Settings:
    """GPT-NeoX and Phi: a part of every head is rotated."""
    width, turned = _head(file, found)
    theta = file.take("rope.freq_base", 10000.0)
    settings: Settings = {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": theta,
            "partial_rotary_factor": turned / width,
        }
    }
    if file.architecture == "gptneox":
        settings["use_parallel_residual"] = file.take("use_parallel_residual", True)
    return settings


def _nothing(_: GgufFile, __: Settings) -> Settings:
    return {}


_SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
}
_MODERN = {
    **_SIZES,
    "feed_forward_length": "intermediate_size",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_CENTRED = {
    **_SIZES,
    "feed_forward_length": "intermediate_size",
    "attention.layer_norm_epsilon": "layer_norm_eps",
}
_WINDOWED = {**_MODERN, "attention.sliding_window": "sliding_window"}
_ROWS = {
    "llama": _Row("llama", _MODERN, _llama_like),
    "qwen2": _Row("qwen2", _MODERN, _llama_like),
    "qwen3": _Row("qwen3", _MODERN, _llama_like),
    "phi3": _Row("phi3", _MODERN, _phi3),
    "gemma": _Row("gemma", _MODERN, _gemma),
    "gemma2": _Row("gemma2", _WINDOWED, _gemma),
    "gemma3": _Row("gemma3_text", _WINDOWED, _gemma),
    "gptneox": _Row("gpt_neox", _CENTRED, _half_rotated),
    "phi2": _Row(
        "phi", {**_CENTRED, "attention.head_count_kv": "num_key_value_heads"}, _half_rotated
    ),
    "gpt2": _Row(
        "gpt2",
        {
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        _nothing,
    ),
    "bloom": _Row(
        "bloom",
        {
            "embedding_length": "hidden_size",
            "block_count": "n_layer",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        _bloom,
    ),
    "falcon": _Row(
        "falcon",
        {
            **_SIZES,
            "feed_forward_length": "ffn_hidden_size",
            "attention.head_count_kv": "num_kv_heads",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        _falcon,
    ),
}
GGUF_ARCHITECTURES = tuple(sorted(_ROWS))


def gguf_configuration(file: GgufFile) -> Any:
    """Return the Hugging Face configuration of a GGUF file's model.

    Raises:
        WeightsError: the architecture is not read here, or the file states something that is not,
            or that contradicts itself.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    row = _ROWS.get(file.architecture)
    if row is None:
        raise file.refusal(
            f"holds the architecture {file.architecture!r}; of GGUF files only "
            f"{', '.join(GGUF_ARCHITECTURES)} are read"
        )
    try:
        return CONFIG_MAPPING[row.model_type](**_settings(file, row))
    except MolyneuxError:
        raise
    except Exception as error:  # of wrong types and sizes, or each configuration's own
        raise file.refusal(
            f"describes no {row.model_type} that can be made ({quote(error)})"
        ) from error


def _settings(file: GgufFile, row: _Row) -> Settings:
    """Return the entries of a configuration; every key of the file is taken.

    Raises:
        WeightsError: the file states something that is not read.
    """
    found: Settings = {name: file.take(key) for key, name in row.names.items()}
    file.stated.pop("vocab_size", None)  # the embedding's rows say so
    uneven = [key for key, name in row.names.items() if isinstance(found[name], list)]
    if uneven:
        raise file.refusal(f"has layers that differ in {uneven[0]}, which is not read here")
    found |= row.more(file, found)
    for key, value in (*file.stated.items(), *file.factors.items()):
        raise file.refusal(
            f"says {file.architecture}.{key} = {str(value)[:40]}, which is not read here and may "
            "change what the model computes"
        )
    return {
        **found,
        **file.specials,
        "vocab_size": file.d_vocab,
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }
