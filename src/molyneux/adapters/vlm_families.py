"""What each family of vision-language models calls the places Molyneux needs, and its image's.

One declarative row per family, beside the row of the language model inside it. A row says how the
image is written into the text, which of its positions are patches, in what grid, and what the
model has to be given beside the embeddings; `molyneux.models.vlm_proof` tests it by intervention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from molyneux.adapters.families import require_row_of_text
from molyneux.errors import AdapterError

IMAGE = "{image}"
"""Stands for the image in a prompt."""
TOKENS = "{tokens}"
"""Stands for the image's tokens, one for every feature, in `VisionFamily.image`."""

View = Literal["crop", "whole", "centre"]


@dataclass(frozen=True)
class VisionFamily:
    """How a family of vision-language models takes an image.

    Attributes:
        name: the family's name, as printed.
        model_types: the `model_type` values of Hugging Face configurations that belong to it.
        towers: the `model_type` values of the vision networks it is known with.
        text: path of the text model inside the model.
        image: how an image is written into the text, around `TOKENS`. Special tokens that differ
            between checkpoints are named as attributes of the tokenizer, in braces.
        side: rows, and columns, of the patch grid, from the configuration; None where the size of
            the photo decides (`view="centre"`).
        view: what the patches show: "crop" what the image processor cuts out, "whole" the
            whole photo, squeezed into a square by the image processor; "centre" the photo's
            central square, cut out ahead of an image processor that keeps every photo's shape.
        centre: sides of that square in pixels, unless asked for otherwise.
        cell: sides of a patch in the encoder's pixels, from the configuration, for
            `view="centre"`.
        tiles: whether tiles of the photo, in a higher resolution, follow the patches: they are
            part of the prompt, and of no grid.
        image_settings: what the image processor is told, so that it makes no tiles.
        begins: whether the tokenizer adds its special tokens to the text.
        prompt: what the model continues, `IMAGE` standing for the image.
        text_type: whose row describes the text model, where its own `model_type` is of no
            language model.
        token_types: name of an argument that marks image tokens, its value there, at other
            tokens of the prompt, and at tokens written.
        marks: name of an argument that marks image tokens with 1, given with the pixels.
        positions: name of an argument with every token's position, which the model makes from
            the pixels' shape and counts on from when it writes.
    """

    name: str
    model_types: tuple[str, ...]
    towers: tuple[str, ...]
    text: str = "model.language_model"
    image: str = TOKENS
    side: Callable[[Any], int] | None = None
    view: View = "whole"
    centre: int = 0
    cell: Callable[[Any], int] | None = None
    tiles: bool = False
    image_settings: Mapping[str, Any] = field(default_factory=dict)
    begins: bool = True
    prompt: str = IMAGE + "A picture of"
    text_type: str | None = None
    token_types: tuple[str, int, int, int] | None = None
    marks: str | None = None
    positions: str | None = None

    def __post_init__(self) -> None:
        require_row_of_text(self, ("name", "text", "image", "prompt"))
        centre = self.view == "centre"
        claims = {
            f"`view` is {self.view!r}, none of {', '.join(get_args(View))}": (
                self.view in get_args(View)
            ),
            "`side` is missing, the rows of the patch grid": centre or self.side is not None,
            "`view='centre'` needs `cell` and `centre`": (
                not centre or (self.cell is not None and self.centre > 0)
            ),
            f"`image` must hold {TOKENS} once": self.image.count(TOKENS) == 1,
            f"`prompt` must hold {IMAGE} once": self.prompt.count(IMAGE) == 1,
            "`positions` needs `marks`": self.positions is None or self.marks is not None,
        }
        for wrong, holds in claims.items():
            if not holds:
                raise AdapterError(f"in the row of {self.name}, {wrong}; mend the VisionFamily")


def one_side(value: Any) -> int:
    """Return a side in pixels that some configurations give twice."""
    if isinstance(value, list | tuple):
        if value[0] != value[1]:
            raise AdapterError(
                f"this model's images or patches are {value[0]} by {value[1]} pixels; only square "
                "ones are known here"
            )
        value = value[0]
    return int(value)


def _patches(config: Any) -> int:
    """Return how many patches of the vision network are beside each other."""
    vision = config.vision_config
    return one_side(vision.image_size) // one_side(vision.patch_size)


def _without_class_token(config: Any) -> int:
    """Return LLaVA-NeXT's grid; its tiles cannot be put together with a class token.

    Raises:
        AdapterError: the configuration keeps the class token.
    """
    if config.vision_feature_select_strategy == "full" and (
        config.vision_config.model_type == "clip_vision_model"
    ):
        raise AdapterError(
            "this LLaVA-NeXT keeps its vision network's class token, with which its tiles make no "
            'grid; only vision_feature_select_strategy="default" is known here'
        )
    return _patches(config)


def _pooled(config: Any) -> int:
    return int(config.mm_tokens_per_image**0.5)


VISION_FAMILIES: list[VisionFamily] = [
    VisionFamily(
        name="LLaVA 1.5",
        model_types=("llava",),
        towers=("clip_vision_model", "siglip_vision_model"),
        side=_patches,
        view="crop",
    ),
    VisionFamily(
        name="LLaVA-NeXT",
        model_types=("llava_next",),
        towers=("clip_vision_model",),
        side=_without_class_token,
        tiles=True,
    ),
    VisionFamily(
        name="LLaVA-OneVision",
        model_types=("llava_onevision",),
        towers=("siglip_vision_model",),
        side=_patches,
        tiles=True,
    ),
    VisionFamily(
        name="Idefics3 and SmolVLM",
        model_types=("idefics3", "smolvlm"),
        towers=("idefics3_vision", "smolvlm_vision", "idefics3", "smolvlm"),
        text="model.text_model",
        image=f"<fake_token_around_image><global-img>{TOKENS}<fake_token_around_image>",
        side=lambda config: _patches(config) // int(config.scale_factor),
        image_settings={"do_image_splitting": False},
    ),
    VisionFamily(
        name="Qwen2-VL and Qwen2.5-VL",
        model_types=("qwen2_vl", "qwen2_5_vl"),
        towers=("qwen2_vl", "qwen2_vl_vision", "qwen2_5_vl", "qwen2_5_vl_vision"),
        image=f"<|vision_start|>{TOKENS}<|vision_end|>",
        view="centre",
        centre=448,
        cell=lambda config: (
            one_side(config.vision_config.patch_size) * int(config.vision_config.spatial_merge_size)
        ),
        text_type="qwen2",
        marks="mm_token_type_ids",
        positions="position_ids",
    ),
    VisionFamily(
        name="PaliGemma",
        model_types=("paligemma",),
        towers=("siglip_vision_model",),
        side=_patches,
        begins=False,
        # As its processor writes it: the text begins behind the image, and ends with its line.
        image=f"{TOKENS}{{bos_token}}",
        prompt=IMAGE + "caption en\n",
        token_types=("token_type_ids", 0, 0, 1),
    ),
    VisionFamily(
        name="Gemma 3",
        model_types=("gemma3",),
        towers=("siglip_vision_model",),
        image=f"\n\n{{boi_token}}{TOKENS}{{eoi_token}}\n\n",
        side=_pooled,
        image_settings={"do_pan_and_scan": False},
        token_types=("token_type_ids", 1, 0, 0),
    ),
    VisionFamily(
        name="InternVL",
        model_types=("internvl",),
        towers=("internvl_vision",),
        image=f"{{start_image_token}}{TOKENS}{{end_image_token}}",
        side=lambda config: int(_patches(config) * config.downsample_ratio),
        image_settings={"crop_to_patches": False},
    ),
]
