"""Small random vision checkpoints, written as folders with their image processor's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

SIDE, PATCH, D_FEATURES = 64, 16, 32
SQUARE = {"height": SIDE, "width": SIDE}
_TOKENS: dict[str, Any] = {
    "hidden_size": D_FEATURES,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": SIDE,
    "patch_size": PATCH,
}
_DINO = {key: value for key, value in _TOKENS.items() if key != "intermediate_size"}
_MAP: dict[str, Any] = {"hidden_sizes": [8, D_FEATURES], "depths": [1, 1]}
_TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_DECODER: dict[str, Any] = {
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
}

# Checkpoint -> (class that is saved, its configuration, the image processor's class and settings).
KINDS: dict[str, tuple[str, str, dict[str, Any], str, dict[str, Any]]] = {
    "beit": (
        "BeitForMaskedImageModeling",
        "BeitConfig",
        {
            **_TOKENS,
            "use_shared_relative_position_bias": True,
            "use_mask_token": True,
            "vocab_size": 20,
            "layer_scale_init_value": 1.0,
        },
        "BeitImageProcessor",
        {"size": SQUARE},
    ),
    "dinov2": (
        "Dinov2Model",
        "Dinov2Config",
        {**_DINO, "image_size": 80},  # its positions are interpolated to other sizes
        "BitImageProcessor",
        {"size": {"shortest_edge": 73}, "crop_size": SQUARE},
    ),
    "dinov2_with_registers": (
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        {**_DINO, "num_register_tokens": 3},
        "BitImageProcessor",
        {"size": {"shortest_edge": 73}, "crop_size": SQUARE},
    ),
    "vit_mae": (
        "ViTMAEForPreTraining",
        "ViTMAEConfig",
        {**_TOKENS, **_DECODER},
        "ViTImageProcessor",
        {"size": SQUARE},
    ),
    "vit": ("ViTModel", "ViTConfig", _TOKENS, "ViTImageProcessor", {"size": SQUARE}),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"vision_config": _TOKENS, "text_config": _TEXT},
        "CLIPImageProcessor",
        {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    ),
    "clip_vision_model": (
        "CLIPVisionModel",
        "CLIPVisionConfig",
        _TOKENS,
        "CLIPImageProcessor",
        {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE},
    ),
    "siglip": (
        "SiglipModel",
        "SiglipConfig",
        {"vision_config": _TOKENS, "text_config": _TEXT},
        "SiglipImageProcessor",
        {"size": SQUARE},
    ),
    "siglip_vision_model": (
        "SiglipVisionModel",
        "SiglipVisionConfig",
        _TOKENS,
        "SiglipImageProcessor",
        {"size": SQUARE},
    ),
    "resnet": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {**_MAP, "embedding_size": 8},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": SIDE}, "crop_pct": 0.875},
    ),
    "convnext": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {**_MAP, "num_stages": 2},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": SIDE}, "crop_pct": 0.9},
    ),
    "convnextv2": (
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {**_MAP, "num_stages": 2},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": SIDE}, "crop_pct": 0.875},
    ),
}
MAPS = ("resnet", "convnext", "convnextv2")


def write_checkpoint(folder: Path, kind: str, seed: int = 0, **settings: Any) -> Path:
    """Write a random checkpoint of one of `KINDS` and return its folder.

    Every parameter is drawn anew: biases are not zero and no norm is the identity.
    """
    saved, config, entries, processor, size = KINDS[kind]
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = getattr(transformers, saved)(
                getattr(transformers, config)(**{**entries, **settings})
            )
            for parameter in network.parameters():
                if parameter.dim() <= 1 or parameter.shape[0] == 1:
                    parameter.data += 0.2 * torch.randn(parameter.shape)
                else:
                    fan_in = parameter[0].numel()
                    parameter.data = torch.randn(parameter.shape) / fan_in**0.5
        network.save_pretrained(folder)
    finally:
        transformers.logging.enable_progress_bar()
        transformers.logging.set_verbosity(before)
    write_processor(folder, {"image_processor_type": processor, **size})
    return folder


def write_processor(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write a preprocessor configuration and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return folder


def reference_pixels(folder: Path, photos: list[Image.Image]) -> torch.Tensor:
    """Return what transformers' own image processor, on Pillow, makes of photos."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = [processor(photo, return_tensors="pt")["pixel_values"][0] for photo in photos]
    return torch.stack(pixels)


def noisy_photos(*sizes: tuple[int, int]) -> list[Image.Image]:
    """Return photos of widths and heights in which every pixel differs from its neighbours."""
    photos = []
    for number, (width, height) in enumerate(sizes):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.integers(-40, 41, size=(height, width, 3))
        photos.append(Image.fromarray((np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8)))
    return photos
