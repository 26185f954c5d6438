"""A checkpoint's own preprocessor configuration, read as what it does to a photo.

The pixels are those of transformers' image processors on their Pillow backend, byte for byte
before normalisation. Published files differ in age: sizes are numbers or dictionaries, and what a
file leaves out is what the processor it names does by default.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from molyneux.errors import AdapterError, WeightsError
from molyneux.vision.encoder import Preprocessing

NESTED, PLAIN = "processor_config.json", "preprocessor_config.json"
_SUFFIX = re.compile(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$")
_BILINEAR, _BICUBIC = 2, 3  # as Pillow numbers its filters, and as the files do
_HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_CLIP = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
    "resample": _BICUBIC,
    "size": {"shortest_edge": 224},
    "default_to_square": False,
    "crop_size": 224,
    "do_center_crop": True,
}
_FIXED = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
CONVNEXT_CROPS_BELOW = 384

PROCESSORS: dict[str, Mapping[str, Any]] = {
    "ViT": {**_HALF, "resample": _BILINEAR, "size": 224},
    "Beit": {**_HALF, "resample": _BICUBIC, "size": 224, "crop_size": 224},
    "DeiT": {**_HALF, "resample": _BICUBIC, "size": 256, "crop_size": 224, "do_center_crop": True},
    "Siglip": {
        **_HALF,
        "resample": _BICUBIC,
        "size": {"height": 224, "width": 224},
        "default_to_square": False,
    },
    "Bit": _CLIP,
    "CLIP": _CLIP,
    "ConvNext": {
        **_HALF,
        "resample": _BICUBIC,
        "size": {"shortest_edge": 384},
        "default_to_square": False,
        "crop_pct": 224 / 256,
    },
    "EfficientNet": {
        **_HALF,
        "resample": _BICUBIC,
        "size": 346,
        "crop_size": 289,
        "rescale_offset": False,
        "include_top": True,
    },
}
"""Image processor -> what it does where its file says nothing (sizes that are numbers: square)."""


def register_processor(name: str, defaults: Mapping[str, Any]) -> None:
    """Make an image processor known by its name without `ImageProcessor`, with its defaults."""
    PROCESSORS[name] = MappingProxyType(dict(defaults))


def read_preprocessing(folder: Path, processor: str) -> Preprocessing:
    """Return what a checkpoint's folder says is done to a photo.

    `processor_config.json` comes first where it holds an image processor, as in transformers.

    Args:
        folder: holds the configuration.
        processor: the image processor where the file names none.

    Raises:
        WeightsError: there is no such file, or it cannot be read.
        AdapterError: it asks for what is not known here.
    """
    nested = folder / NESTED
    if nested.is_file() and isinstance(found := _read(nested).get("image_processor"), dict):
        return preprocessing_of(found, processor, nested)
    plain = folder / PLAIN
    if not plain.is_file():
        raise WeightsError(
            f"{folder} has no {PLAIN}, which says how photos are resized and normalised; copy it "
            "from where the weights come from, and run again"
        )
    return preprocessing_of(_read(plain), processor, plain)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path} ({error}); copy it anew, and run again") from error
    return found


def preprocessing_of(
    config: Mapping[str, Any], processor: str, path: Path | str = PLAIN
) -> Preprocessing:
    """Return what a preprocessor configuration, as plain data, does to a photo.

    Args:
        config: what the file holds.
        processor: the image processor where it names none.
        path: named in errors.

    Raises:
        WeightsError: a value is not of its kind.
        AdapterError: the processor is not known, or its output has no fixed square shape.
    """
    named = config.get("image_processor_type") or config.get("feature_extractor_type")
    name = _SUFFIX.sub("", str(named)) if named else processor
    if name not in PROCESSORS:
        full = [f"{known}ImageProcessor" for known in PROCESSORS]
        near = difflib.get_close_matches(str(named or name), full, n=3, cutoff=0.85)
        hint = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(full)}"
        raise AdapterError(
            f"no preprocessing known for the image processor {named or name!r} of {path} ({hint});"
            " describe its defaults with molyneux.vision.preprocessor_config.register_processor"
        )
    given = {key: value for key, value in config.items() if value is not None}
    try:
        return _preprocessing(name, {**_FIXED, **PROCESSORS[name], **given}, path)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise WeightsError(
            f"cannot read {path} ({type(error).__name__}: {error}); copy it anew from where the "
            "weights come from, and run again"
        ) from error


def _preprocessing(name: str, config: Mapping[str, Any], path: Path | str) -> Preprocessing:
    def refuse(what: str) -> AdapterError:
        return AdapterError(
            f"{path} {what}, and an encoder here needs one fixed square; write a file that resizes "
            "to a square or crops its centre, or give a Preprocessing of your own"
        )

    crop = _square(config["crop_size"], True, refuse)[0] if config.get("do_center_crop") else None
    resize, keep_aspect = None, True
    if config["do_resize"]:
        square = bool(config.get("default_to_square", True))
        resize, keep_aspect = _square(config["size"], square, refuse)
        if name == "ConvNext":
            if crop not in (None, resize):
                raise refuse(f"crops to {resize} and then to {crop} pixels")
            crop = resize
            keep_aspect = keep_aspect and resize < CONVNEXT_CROPS_BELOW
            if keep_aspect:
                resize = int(resize / config["crop_pct"])
    if config.get("do_pad"):
        raise refuse("pads photos")
    if crop is None and resize is None:
        raise refuse("neither resizes nor crops photos")
    if crop is None and keep_aspect:
        raise refuse("keeps every photo's own shape")
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config["do_normalize"]:
        mean, std = three(config["image_mean"]), three(config["image_std"])
    if config.get("include_top"):
        # EfficientNet's processor divides by the deviation once more.
        again = three(config["image_std"])
        std = (std[0] * again[0], std[1] * again[1], std[2] * again[2])
    size = crop if crop is not None else resize
    assert size is not None
    return Preprocessing(
        size=size,
        resize=resize,
        mean=mean,
        std=std,
        resampling=Image.Resampling(config["resample"]),
        keep_aspect=keep_aspect,
        rounding="down",
        rescale=float(config["rescale_factor"]) if config["do_rescale"] else 1.0,
        offset=-1.0 if config["do_rescale"] and config.get("rescale_offset") else 0.0,
    )


def _square(size: Any, square: bool, refuse: Any) -> tuple[int, bool]:
    """Return a side in pixels, and whether it is the short side's, the aspect being kept."""
    if isinstance(size, int):
        return _positive(size), not square
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        return _positive(size["shortest_edge"]), True
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        size = (size["height"], size["width"])
    if isinstance(size, list | tuple) and len(size) == 2:
        if size[0] == size[1]:
            return _positive(size[0]), False
        raise refuse(f"makes photos {size[0]} high and {size[1]} wide")
    raise refuse(f"asks for the size {size!r}")


def _positive(side: Any) -> int:
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ValueError(f"a side of {side!r} pixels")
    return side


def three(values: Any) -> tuple[float, float, float]:
    """Return a number for each of red, green and blue, of three or of one for all.

    Raises:
        ValueError: they are not three finite numbers.
    """
    if isinstance(values, int | float):
        values = (values,) * 3
    red, green, blue = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (red, green, blue)):
        raise ValueError(f"{values!r} are not three numbers")
    return red, green, blue
