"""What each family of image encoders calls the handful of places Molyneux needs.

One declarative row per family. A row is a claim; `TransformersEncoder` tests it on the network it
is given: the number of patches must fill the grid, and changing the pixels of one patch must
change that patch's embedding and no other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from molyneux.adapters.families import require_row_of_text
from molyneux.checks import whole_number


@dataclass(frozen=True)
class EncoderFamily:
    """Where a family's patches are, and what its network and its photos need.

    Attributes:
        name: the family's name, as printed.
        model_types: the `model_type` values of Hugging Face configurations that belong to it.
        network: path of the class that holds the vision network alone.
        processor: the image processor, where the checkpoint's own file names none; one of
            `molyneux.vision.preprocessor_config.PROCESSORS`.
        leading: tokens ahead of the patches: the class token, a distillation token.
        registers: the configuration's entry that counts further ones, if the family has them.
        output: the entry of the network's output that holds the features.
        is_map: whether that is a map, channels first, and no sequence of tokens.
        patch: the configuration's entry with a patch's sides in pixels; unused for a map, whose
            own shape is the grid.
        settings: entries of the configuration that are set for this use.
        ordered_noise: whether the network shuffles its patches by noise, and so must be given
            increasing noise to leave them in order.
        idle: modules through which no patch feature passes, so that weights may lack them.
        limits: what must be said of its features, or "".
        example: a published checkpoint.
        example_mb: the size of its weights.
    """

    name: str
    model_types: tuple[str, ...]
    network: str
    processor: str
    leading: int = 1
    registers: str | None = None
    output: str = "last_hidden_state"
    is_map: bool = False
    patch: str = "patch_size"
    settings: Mapping[str, Any] = field(default_factory=dict)
    ordered_noise: bool = False
    idle: tuple[str, ...] = ("pooler",)
    limits: str = ""
    example: str = ""
    example_mb: int = 0

    def __post_init__(self) -> None:
        require_row_of_text(self, ("name", "network", "processor", "output", "patch"))
        whole_number("leading", self.leading, least=0)

    def n_leading(self, config: Any) -> int:
        """Return the number of tokens ahead of the patches for a network's configuration."""
        further = getattr(config, self.registers) if self.registers else 0
        return self.leading + int(further)


_WIDE_CELLS = "cells see beyond their own square, so heat maps localise weakly"

ENCODER_FAMILIES: list[EncoderFamily] = [
    EncoderFamily(
        name="BEiT",
        model_types=("beit",),
        network="transformers.BeitModel",
        processor="Beit",
        limits="without a final norm where the configuration pools by the mean",
        example="microsoft/beit-large-patch16-224-pt22k",
        example_mb=1250,
    ),
    EncoderFamily(
        name="DINOv2",
        model_types=("dinov2",),
        network="transformers.Dinov2Model",
        processor="Bit",
        example="facebook/dinov2-base",
        example_mb=346,
    ),
    EncoderFamily(
        name="DINOv2 with registers",
        model_types=("dinov2_with_registers",),
        network="transformers.Dinov2WithRegistersModel",
        processor="Bit",
        registers="num_register_tokens",
        example="facebook/dinov2-with-registers-base",
        example_mb=346,
    ),
    EncoderFamily(
        name="ViT-MAE",
        model_types=("vit_mae",),
        network="transformers.ViTMAEModel",
        processor="ViT",
        settings={"mask_ratio": 0.0},
        ordered_noise=True,
        example="facebook/vit-mae-base",
        example_mb=448,
    ),
    EncoderFamily(
        name="ViT",
        model_types=("vit",),
        network="transformers.ViTModel",
        processor="ViT",
        limits="most are category-supervised",
        example="google/vit-base-patch16-224",
        example_mb=346,
    ),
    EncoderFamily(
        name="CLIP vision",
        model_types=("clip", "clip_vision_model"),
        network="transformers.CLIPVisionModel",
        processor="CLIP",
        idle=("post_layernorm",),
        limits="trained with captions; LLaVA takes layer -2; its ResNets are not in transformers",
        example="openai/clip-vit-large-patch14",
        example_mb=1710,
    ),
    EncoderFamily(
        name="SigLIP",
        model_types=("siglip", "siglip_vision_model"),
        network="transformers.SiglipVisionModel",
        processor="Siglip",
        leading=0,
        idle=("head",),
        limits="trained with captions; no class token",
        example="google/siglip-base-patch16-224",
        example_mb=813,
    ),
    EncoderFamily(
        name="ResNet",
        model_types=("resnet",),
        network="transformers.ResNetModel",
        processor="ConvNext",
        leading=0,
        is_map=True,
        limits=f"category-supervised; {_WIDE_CELLS}",
        example="microsoft/resnet-50",
        example_mb=103,
    ),
    EncoderFamily(
        name="ConvNeXt",
        model_types=("convnext",),
        network="transformers.ConvNextModel",
        processor="ConvNext",
        leading=0,
        is_map=True,
        idle=("layernorm",),
        limits=f"category-supervised; without the norm that follows its pooling; {_WIDE_CELLS}",
        example="facebook/convnext-tiny-224",
        example_mb=115,
    ),
    EncoderFamily(
        name="ConvNeXt V2",
        model_types=("convnextv2",),
        network="transformers.ConvNextV2Model",
        processor="ConvNext",
        leading=0,
        is_map=True,
        idle=("layernorm",),
        limits=f"without the norm that follows its pooling; {_WIDE_CELLS}",
        example="facebook/convnextv2-tiny-1k-224",
        example_mb=115,
    ),
]
