"""Small random vision-language models of every family, with their image processors, offline."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import transformers
from PIL import Image
from tiny_models import LETTERS, PADDING_ROWS, tiny_tokenizer
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from molyneux.models.vlm import VisionLanguageModel

# fmt: off
VLM_KINDS = (
    "llava", "llava_siglip", "llava_next", "llava_onevision", "idefics3", "smolvlm", "qwen2_vl",
    "qwen2_5_vl", "paligemma", "paligemma2", "gemma3", "internvl",
)
# fmt: on
N_LAYERS, D_MODEL, D_MLP = 3, 32, 48
GRID = 4
CENTRE = 32
IMAGE = "<image>"

# What stands for the image in the texts that Hugging Face's processors take.
_PLACEHOLDER = {
    "gemma3": "<boi>",
    "internvl": "<IMG_CONTEXT>",
    "qwen2_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
}
# The tokens that a family writes around images, by what its tokenizer calls them.
_NAMED: dict[str, dict[str, str]] = {
    "idefics3": {
        "image_token": IMAGE,
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    },
    "qwen2_vl": {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start": "<|vision_start|>",
        "vision_end": "<|vision_end|>",
    },
    "gemma3": {"image_token": "<image_soft>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
    "internvl": {
        "context_image_token": "<IMG_CONTEXT>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    },
    "llava_onevision": {"image_token": IMAGE, "video_token": "<video>"},
}
_NAMED["smolvlm"] = _NAMED["idefics3"]
_NAMED["qwen2_5_vl"] = _NAMED["qwen2_vl"]


def tiny_vlm_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Return the tiny tokenizer with the tokens that a family writes around images."""
    named = _NAMED.get(kind, {"image_token": IMAGE})
    base = tiny_tokenizer(adds_begin=not kind.startswith(("qwen", "llava_onevision", "internvl")))
    return PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer,
        bos_token=base.bos_token,
        eos_token=base.eos_token,
        unk_token=base.unk_token,
        pad_token=base.eos_token,
        extra_special_tokens=named,
        clean_up_tokenization_spaces=False,
    )


def _text(kind: str, d_vocab: int) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "vocab_size": d_vocab,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    rope = {"type": "mrope", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    gemma = {"head_dim": 8, "tie_word_embeddings": True}
    window = {**gemma, "sliding_window": 12, "query_pre_attn_scalar": 8}
    full, near = "full_attention", "sliding_attention"
    own: dict[str, dict[str, Any]] = {
        "llava": {"model_type": "llama"},
        "llava_siglip": {"model_type": "llama"},
        "llava_next": {"model_type": "mistral", "sliding_window": 200},
        "llava_onevision": {"model_type": "qwen2"},
        "idefics3": {"model_type": "llama"},
        "smolvlm": {"model_type": "llama"},
        "qwen2_vl": {"rope_parameters": {"rope_type": "default", **rope}},
        "qwen2_5_vl": {"rope_parameters": {"rope_type": "default", **rope}},
        "paligemma": {"model_type": "gemma", **gemma},
        "paligemma2": {"model_type": "gemma2", **window, "layer_types": [near, full, near]},
        "gemma3": {"model_type": "gemma3_text", **window, "layer_types": [near, full, near]},
        "internvl": {"model_type": "qwen2"},
    }
    return {**shared, **own[kind]}


def _vision(kind: str) -> dict[str, Any]:
    side = 32
    shared: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "patch_size": 8,
    }
    siglip = {**shared, "model_type": "siglip_vision_model", "image_size": side}
    clip = {**shared, "model_type": "clip_vision_model", "image_size": side, "projection_dim": 16}
    qwen: dict[str, Any] = {"depth": 2, "num_heads": 4, "patch_size": 4, "spatial_merge_size": 2}
    return {
        "llava": clip,
        "llava_siglip": siglip,
        "llava_next": clip,
        "llava_onevision": {**siglip, "vision_use_head": False},
        "idefics3": {**shared, "model_type": "idefics3_vision", "image_size": 2 * side},
        "smolvlm": {**shared, "model_type": "smolvlm_vision", "image_size": 2 * side},
        "qwen2_vl": {**qwen, "embed_dim": 32, "hidden_size": D_MODEL, "mlp_ratio": 2},
        "qwen2_5_vl": {
            **qwen,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": D_MODEL,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        "paligemma": {**siglip, "vision_use_head": False, "projection_dim": D_MODEL},
        "paligemma2": {**siglip, "vision_use_head": False, "projection_dim": D_MODEL},
        "gemma3": {**siglip, "vision_use_head": False, "image_size": 2 * side},
        "internvl": {
            **shared,
            "image_size": [2 * side, 2 * side],
            "patch_size": [8, 8],
        },
    }[kind]


_CLASSES = {
    "llava": ("LlavaConfig", "LlavaForConditionalGeneration"),
    "llava_siglip": ("LlavaConfig", "LlavaForConditionalGeneration"),
    "llava_next": ("LlavaNextConfig", "LlavaNextForConditionalGeneration"),
    "llava_onevision": ("LlavaOnevisionConfig", "LlavaOnevisionForConditionalGeneration"),
    "idefics3": ("Idefics3Config", "Idefics3ForConditionalGeneration"),
    "smolvlm": ("SmolVLMConfig", "SmolVLMForConditionalGeneration"),
    "qwen2_vl": ("Qwen2VLConfig", "Qwen2VLForConditionalGeneration"),
    "qwen2_5_vl": ("Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration"),
    "paligemma": ("PaliGemmaConfig", "PaliGemmaForConditionalGeneration"),
    "paligemma2": ("PaliGemmaConfig", "PaliGemmaForConditionalGeneration"),
    "gemma3": ("Gemma3Config", "Gemma3ForConditionalGeneration"),
    "internvl": ("InternVLConfig", "InternVLForConditionalGeneration"),
}
_PINS = [[32, 64], [64, 32], [64, 64]]
_SQUARE = {"height": 32, "width": 32}
_OPTIONS: dict[str, dict[str, Any]] = {
    "llava": {"vision_feature_select_strategy": "default", "vision_feature_layer": -2},
    "llava_siglip": {"vision_feature_select_strategy": "full", "vision_feature_layer": -1},
    "llava_next": {
        "vision_feature_select_strategy": "default",
        "vision_feature_layer": -2,
        "image_grid_pinpoints": _PINS,
    },
    "llava_onevision": {
        "vision_feature_select_strategy": "full",
        "vision_feature_layer": -1,
        "image_grid_pinpoints": _PINS,
        "vision_aspect_ratio": "anyres_max_9",
    },
    "idefics3": {"scale_factor": 2},
    "smolvlm": {"scale_factor": 2},
    "paligemma": {"projection_dim": D_MODEL},
    "paligemma2": {"projection_dim": D_MODEL},
    "gemma3": {"mm_tokens_per_image": GRID * GRID},
    "internvl": {"downsample_ratio": 0.5},
}
_PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "llava": (
        "CLIPImageProcessorPil",
        {"size": {"shortest_edge": 34}, "crop_size": _SQUARE},
    ),
    "llava_siglip": ("SiglipImageProcessorPil", {"size": _SQUARE}),
    "llava_next": (
        "LlavaNextImageProcessorPil",
        {
            "size": {"shortest_edge": 32},
            "crop_size": _SQUARE,
            "image_grid_pinpoints": _PINS,
        },
    ),
    "llava_onevision": (
        "LlavaOnevisionImageProcessorPil",
        {"size": _SQUARE, "image_grid_pinpoints": _PINS},
    ),
    "idefics3": (
        "Idefics3ImageProcessorPil",
        {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}},
    ),
    "smolvlm": (
        "SmolVLMImageProcessorPil",
        {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}},
    ),
    "qwen2_vl": (
        "Qwen2VLImageProcessorPil",
        {"patch_size": 4, "merge_size": 2, "min_pixels": 256, "max_pixels": 4096},
    ),
    "paligemma": ("SiglipImageProcessorPil", {"size": _SQUARE}),
    "gemma3": ("Gemma3ImageProcessorPil", {"size": {"height": 64, "width": 64}}),
    "internvl": ("GotOcr2ImageProcessorPil", {"size": {"height": 64, "width": 64}}),
}
_PROCESSORS["qwen2_5_vl"] = _PROCESSORS["qwen2_vl"]
_PROCESSORS["paligemma2"] = _PROCESSORS["paligemma"]


def tiny_image_processor(kind: str) -> Any:
    """Return the image processor of a family, on the Pillow backend, for tiny images."""
    name, settings = _PROCESSORS[kind]
    processor = getattr(transformers, name)(**settings)
    if kind.startswith("paligemma"):
        processor.image_seq_length = GRID * GRID
    return processor


@torch.no_grad()
def _randomise(model: PreTrainedModel, seed: int, ordinary: int) -> None:
    """Give every parameter a seeded value: biases are not zero, norms do not all scale by 1."""
    generator = torch.Generator().manual_seed(seed)
    text = model.config.text_config.model_type
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        tower = "vision" in name or "visual" in name
        if parameter.dim() == 1:
            scale = name.endswith("weight")
            offset = (text.startswith("gemma") and not tower) or "mm_soft_emb_norm" in name
            middle = 0.0 if offset else 1.0
            parameter.copy_(middle + 0.3 * noise if scale else 0.2 * noise)
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            parameter.copy_(noise * (0.15 if text.startswith("gemma") else 0.5))
        elif tower and "proj.weight" in name and ("q_" in name or "k_" in name):
            parameter.copy_(noise * 0.1)  # patches mostly keep to themselves, as where trained
        elif tower and name.endswith(("out_proj.weight", "attn.proj.weight", "n_layer.weight")):
            parameter.copy_(noise * 0.05)
        else:
            fan_in = parameter[0].numel()
            parameter.copy_(noise * ((1.0 if tower else 1.8) / fan_in**0.5))
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for table in tables[:1] if tables[0] is tables[1] else tables:
        # Padding rows that would win most argmaxes, so that a test notices one let through.
        table[-PADDING_ROWS:] *= 3
        # Special tokens seldom win, nor letters, so that captions are made of words.
        table[ordinary - len(LETTERS) : -PADDING_ROWS] *= 0.2
        table[[0, 1, 2, 4]] *= 0.4


def tiny_vlm_parts(
    kind: str, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, Any]:
    """Return a random Hugging Face model of one of `VLM_KINDS`, its tokenizer, its processor."""
    tokenizer = tiny_vlm_tokenizer(kind)
    named = _NAMED.get(kind, {"image_token": IMAGE})
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in named.items()}
    image_token_id = ids.get("image_token", ids.get("context_image_token"))
    config_class, model_class = (getattr(transformers, name) for name in _CLASSES[kind])
    options = dict(_OPTIONS.get(kind, {}))
    if kind.startswith("qwen2"):
        options |= {
            "video_token_id": ids["video_token"],
            "vision_start_token_id": ids["vision_start"],
            "vision_end_token_id": ids["vision_end"],
        }
    key = "image_token_id"
    if kind.startswith(("llava", "paligemma", "gemma3")):
        key = "image_token_index"
    config = config_class(
        text_config=_text(kind, len(tokenizer) + PADDING_ROWS),
        vision_config=_vision(kind),
        **{key: image_token_id},
        **options,
    )
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        model = model_class._from_config(config, attn_implementation="eager")
    _randomise(model, 100 * seed + VLM_KINDS.index(kind), len(tiny_tokenizer()))
    return model.to(dtype).eval(), tokenizer, tiny_image_processor(kind)


def tiny_vlm(kind: str, **options: Any) -> VisionLanguageModel:
    """Return a random vision-language model, adapted and proved (see `tiny_vlm_parts`)."""
    model, tokenizer, processor = tiny_vlm_parts(kind, **options)
    return VisionLanguageModel.from_parts(
        model,
        tokenizer,
        processor,
        name=f"tiny-{kind}",
        sha256="0" * 64,
        centre=CENTRE if kind.startswith("qwen2") else None,
    )


class _NoVideo:
    """A processor whose video part, which needs torchvision, is left out."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """Let the video part be None."""
        if argument is None:
            return None
        return super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]


def hugging_face_processor(kind: str) -> Any:
    """Return Hugging Face's own processor of a family, to compare with."""
    tokenizer, image = tiny_vlm_tokenizer(kind), tiny_image_processor(kind)

    def quiet(name: str) -> Callable[..., Any]:
        return type(name, (_NoVideo, getattr(transformers, name)), {})

    if kind in ("llava", "llava_siglip"):
        strategy, more = ("default", 1) if kind == "llava" else ("full", 0)
        return quiet("LlavaProcessor")(
            image,
            tokenizer,
            patch_size=8,
            vision_feature_select_strategy=strategy,
            num_additional_image_tokens=more,
        )
    if kind == "llava_next":
        return quiet("LlavaNextProcessor")(
            image,
            tokenizer,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
    if kind == "llava_onevision":
        return quiet("LlavaOnevisionProcessor")(
            image,
            tokenizer,
            None,
            num_image_tokens=GRID * GRID,
            vision_feature_select_strategy="full",
        )
    if kind in ("idefics3", "smolvlm"):  # SmolVLM's own needs num2words, and writes the same
        return quiet("Idefics3Processor")(image, tokenizer, image_seq_len=GRID * GRID)
    if kind.startswith("qwen2"):
        name = "Qwen2VLProcessor" if kind == "qwen2_vl" else "Qwen2_5_VLProcessor"
        return quiet(name)(image, tokenizer, None)
    if kind.startswith("paligemma"):
        return quiet("PaliGemmaProcessor")(image, tokenizer)
    if kind == "gemma3":
        return quiet("Gemma3Processor")(image, tokenizer, image_seq_length=GRID * GRID)
    assert kind == "internvl"
    return quiet("InternVLProcessor")(image, tokenizer, None, image_seq_length=GRID * GRID)


def hugging_face_inputs(
    kind: str, seeing: VisionLanguageModel, photo: Image.Image
) -> dict[str, Tensor]:
    """Return what Hugging Face's own processor makes of a photo and the family's prompt."""
    text = seeing.layout.prompt.replace("{bos_token}", "").removesuffix("\n")
    text = text.replace("{image}", _PLACEHOLDER.get(kind, IMAGE))
    shown = photo
    if seeing.family.view == "centre":
        shown = seeing.encoder.preprocessing.crop(shown)
    settings = dict(seeing.family.image_settings)
    processor = hugging_face_processor(kind)
    with warnings.catch_warnings():  # PaliGemma's processor copies a tensor as numpy deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        inputs = processor(images=shown, text=text, return_tensors="pt", **settings)
    return {key: value for key, value in inputs.items() if key != "labels"}
