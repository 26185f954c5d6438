"""What a preprocessor configuration does to a photo: pixel for pixel what transformers does."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import noisy_photos, reference_pixels, write_processor
from tiny_models import ToyEncoder, tiny_captioner

from molyneux.errors import AdapterError, WeightsError
from molyneux.explain.seen import seen_photo
from molyneux.vision import preprocessor_config
from molyneux.vision.encoder import Preprocessing
from molyneux.vision.preprocessor_config import (
    preprocessing_of,
    read_preprocessing,
    register_processor,
)

SIZES = ((100, 80), (37, 91), (64, 64), (333, 501), (501, 334), (50, 40), (641, 479), (13, 5))
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

CONFIGS: dict[str, dict[str, Any]] = {
    # As published, some of them in their first form.
    "beit-large": {
        "feature_extractor_type": "BeitFeatureExtractor",
        "size": 224,
        "crop_size": 224,
        "do_center_crop": False,
        "resample": 2,
        **HALF,
    },
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "rescale_factor": 0.00392156862745098,
        "resample": 3,
        **IMAGENET,
    },
    "clip": {
        "feature_extractor_type": "CLIPFeatureExtractor",
        "size": 224,
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
    },
    "clip-336": {
        "image_processor_type": "CLIPImageProcessorFast",
        "size": {"shortest_edge": 336},
        "crop_size": {"height": 336, "width": 336},
    },
    "vit": {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2, **HALF},
    "siglip": {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": 224, "width": 224},
        "resample": 3,
        **HALF,
    },
    "convnext-224": {
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "size": 224,
        "crop_pct": 0.875,
        "resample": 3,
        **IMAGENET,
    },
    # What each does where its file is silent.
    **{
        f"bare {name}": {"image_processor_type": f"{name}ImageProcessor"}
        for name in ("Beit", "ViT", "Bit", "CLIP", "ConvNext", "Siglip", "DeiT")
    },
    # Odd ones.
    "odd sides": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 73},
        "crop_size": {"height": 65, "width": 65},
    },
    "lanczos": {"image_processor_type": "ViTImageProcessor", "size": 65, "resample": 1},
    "nearest": {"image_processor_type": "CLIPImageProcessor", "resample": 0},
    "box": {"image_processor_type": "CLIPImageProcessor", "resample": 4},
    "hamming": {"image_processor_type": "CLIPImageProcessor", "resample": 5},
    "squeezed and cropped": {
        "image_processor_type": "BeitImageProcessor",
        "size": {"height": 75, "width": 75},
        "do_center_crop": True,
        "crop_size": {"height": 64, "width": 64},
    },
    "crop larger than resize": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 40},
        "crop_size": 65,
    },
    "another crop_pct": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 99},
        "crop_pct": 0.9,
    },
    "ConvNext from 384 on": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 384},
    },
    "unscaled": {"image_processor_type": "ViTImageProcessor", "size": 40, "do_rescale": False},
    "unnormalised": {
        "image_processor_type": "ViTImageProcessor",
        "size": 40,
        "do_normalize": False,
    },
    "another scale": {
        "image_processor_type": "BeitImageProcessor",
        "size": 40,
        "rescale_factor": 1 / 127.5,
    },
    "not resized": {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": False,
        "crop_size": {"height": 48, "width": 48},
    },
    "nulls": {
        "image_processor_type": "ViTImageProcessor",
        "size": 40,
        "do_center_crop": None,
        "crop_size": None,
    },
    "a list of sides": {"image_processor_type": "ViTImageProcessor", "size": [40, 40]},
}


def pixels_of(prepare: Preprocessing, photos: list[Image.Image]) -> torch.Tensor:
    return torch.stack([prepare.normalise(prepare.crop(photo)) for photo in photos])


@pytest.mark.parametrize("name", CONFIGS)
def test_pixels_are_the_reference_s_to_the_bit(name: str, tmp_path: Path) -> None:
    photos = noisy_photos(*SIZES)
    write_processor(tmp_path, CONFIGS[name])
    expected = reference_pixels(tmp_path, photos)
    prepare = read_preprocessing(tmp_path, "none")
    found = pixels_of(prepare, photos)
    assert expected.shape[-2:] == (prepare.size, prepare.size)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("change", [{}, {"rescale_offset": True}, {"include_top": False}])
def test_efficientnet_s_offset_and_second_division(change: dict[str, Any], tmp_path: Path) -> None:
    config = {"image_processor_type": "EfficientNetImageProcessor", "size": 50, **change}
    photos = noisy_photos(*SIZES)
    write_processor(tmp_path, config)
    found = pixels_of(read_preprocessing(tmp_path, "none"), photos)
    # The reference divides twice in float32, here once by the product.
    torch.testing.assert_close(found, reference_pixels(tmp_path, photos), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["dinov2", "clip", "odd sides", "beit-large", "not resized"])
def test_long_photos_too(name: str, tmp_path: Path) -> None:
    photos = noisy_photos((2000, 150), (150, 2000), (901, 100), (41, 1777))
    write_processor(tmp_path, CONFIGS[name])
    found = pixels_of(read_preprocessing(tmp_path, "none"), photos)
    assert torch.equal(found, reference_pixels(tmp_path, photos))


def test_a_line_of_pixels_does_not_fill_the_memory() -> None:
    """And what is kept is the middle, as of any photo."""
    prepare = preprocessing_of(CONFIGS["dinov2"], "none")
    for turned in (False, True):
        photo = Image.new("RGB", (200_000, 1), "red")
        photo.paste("blue", (100_000, 0, 200_000, 1))
        photo = photo.transpose(Image.Transpose.ROTATE_270) if turned else photo
        seen = np.asarray(prepare.crop(photo))
        seen = seen.transpose(1, 0, 2) if turned else seen
        assert seen.shape == (224, 224, 3)
        assert (seen[:, 0, 0] > 200).all()
        assert (seen[:, -1, 2] > 200).all()


def test_a_nested_processor_comes_first(tmp_path: Path) -> None:
    write_processor(tmp_path, CONFIGS["vit"])
    nested = {"image_processor": CONFIGS["lanczos"], "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    photos = noisy_photos(*SIZES[:3])
    found = pixels_of(read_preprocessing(tmp_path, "none"), photos)
    assert torch.equal(found, reference_pixels(tmp_path, photos))
    (tmp_path / "processor_config.json").write_text("{}")
    assert read_preprocessing(tmp_path, "none").size == 224


def test_a_file_that_names_no_processor_takes_the_family_s() -> None:
    assert not preprocessing_of({"size": 96}, "ViT").keep_aspect
    assert preprocessing_of({"size": 96, "crop_size": 90}, "CLIP").size == 90


# What is refused


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"image_processor_type": "BeitImageProcesor"}, "near matches: BeitImageProcessor"),
        ({"image_processor_type": "Qwen2VLImageProcessor"}, "register_processor"),
        ({"size": {"height": 64, "width": 96}}, "64 high and 96 wide"),
        ({"size": {"shortest_edge": 64}}, "own shape"),
        ({"size": {"shortest_edge": 64, "longest_edge": 90}}, "asks for the size"),
        ({"size": {"longest_edge": 90}}, "asks for the size"),
        ({"do_resize": False}, "neither resizes nor crops"),
        ({"do_pad": True}, "pads"),
    ],
)
def test_what_gives_no_fixed_square_is_refused(config: dict[str, Any], why: str) -> None:
    with pytest.raises(AdapterError, match=why) as error:
        preprocessing_of(config, "ViT")
    assert "\n" not in str(error.value)


def test_two_crops_are_refused() -> None:
    config = {"size": 224, "do_center_crop": True, "crop_size": 200}
    with pytest.raises(AdapterError, match="crops to 224 and then to 200"):
        preprocessing_of(config, "ConvNext")
    assert preprocessing_of({**config, "crop_size": 224}, "ConvNext").size == 224


@pytest.mark.parametrize(
    "config",
    [
        {"size": 0},
        {"size": -1},
        {"size": 2.5},
        {"size": True},
        {"resample": 17},
        {"resample": "bicubic"},
        {"image_mean": [0.5, 0.5]},
        {"image_std": "0.5"},
        {"rescale_factor": "x"},
    ],
)
def test_values_that_make_no_sense_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises((WeightsError, AdapterError)) as error:
        preprocessing_of(config, "ViT", "here/preprocessor_config.json")
    assert "here/preprocessor_config.json" in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_broken_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(WeightsError, match="cannot read"):
        read_preprocessing(tmp_path, "ViT")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no preprocessor_config\.json"):
        read_preprocessing(tmp_path, "ViT")


def test_a_processor_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessor_config, "PROCESSORS", dict(preprocessor_config.PROCESSORS))
    register_processor("Mine", {**HALF, "resample": 3, "size": 48})
    assert preprocessing_of({"image_processor_type": "MineImageProcessor"}, "ViT").size == 48


# Regions and masks

SHORT_SIDE = Preprocessing(64, 64, (0.5,) * 3, (0.5,) * 3)
CROPPED = dataclasses.replace(SHORT_SIDE, resize=80, rounding="down")
SQUEEZED = dataclasses.replace(SHORT_SIDE, keep_aspect=False)
SQUEEZED_AND_CROPPED = dataclasses.replace(SHORT_SIDE, resize=80, keep_aspect=False)
UNRESIZED = dataclasses.replace(SHORT_SIDE, resize=None)
ALL = [SHORT_SIDE, CROPPED, SQUEEZED, SQUEEZED_AND_CROPPED, UNRESIZED]


def test_regions() -> None:
    photo = Image.new("RGB", (200, 100))
    assert SHORT_SIDE.region(photo) == (50, 0, 150, 100)
    assert CROPPED.region(photo) == (60, 10, 140, 90)
    assert SQUEEZED.region(photo) == (0, 0, 200, 100)
    assert SQUEEZED_AND_CROPPED.region(photo) == (20, 10, 180, 90)
    assert UNRESIZED.region(photo) == (68, 18, 132, 82)
    assert UNRESIZED.region(Image.new("RGB", (32, 100))) == (-16, 18, 48, 82)


@pytest.mark.parametrize("prepare", ALL)
@pytest.mark.parametrize("size", [(200, 100), (90, 170), (64, 64), (640, 480), (1500, 90)])
def test_a_mask_goes_where_the_photo_goes(prepare: Preprocessing, size: tuple[int, int]) -> None:
    """White where the mask is: the crop is white there, but for pixels on the mask's edge."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    disc = (x / width - 0.45) ** 2 + (y / height - 0.55) ** 2 < 0.12
    photo = Image.fromarray(np.repeat(disc[:, :, None], 3, axis=2).astype(np.uint8) * 255)
    found = prepare.crop_mask(torch.from_numpy(disc))
    assert found.shape == (64, 64)
    assert found.dtype == torch.bool
    grey = np.asarray(prepare.crop(photo))[:, :, 0]
    certain = (grey == 0) | (grey == 255)
    assert certain.mean() > 0.8
    assert (found.numpy() == (grey > 127))[certain].all()


@pytest.mark.parametrize("prepare", ALL)
def test_a_mask_s_share_is_that_of_the_region(prepare: Preprocessing) -> None:
    photo = Image.new("RGB", (301, 203))
    left, top, right, bottom = prepare.region(photo)
    mask = torch.zeros(203, 301, dtype=torch.bool)
    mask[:, : round((left + right) / 2)] = True  # the left half of what is seen
    found = prepare.crop_mask(mask)
    assert found[:, :31].all()
    assert not found[:, 33:].any()
    mask = torch.zeros(203, 301, dtype=torch.bool)
    mask[: round((top + bottom) / 2)] = True
    found = prepare.crop_mask(mask)
    assert found[:31].all()
    assert not found[33:].any()


def test_around_a_small_photo_a_mask_is_false() -> None:
    found = UNRESIZED.crop_mask(torch.ones(40, 30, dtype=torch.bool))
    assert found.sum() == 40 * 30
    assert found[12:52, 17:47].all()


# What was there before stays as it was


@pytest.mark.parametrize("size", [*SIZES, (1000, 90), (90, 1000)])
def test_the_default_encoder_s_pixels_have_not_changed(size: tuple[int, int]) -> None:
    """Against the rule it was trained with: nearest rounding, long photos cut to 8 : 1 first."""
    from molyneux.vision.efficientnet import PREPROCESSING

    photo = noisy_photos(size)[0]
    cut = photo
    if max(size) > 8 * min(size):
        w, h = (min(side, 8 * min(size)) for side in size)
        left, top = (size[0] - w) // 2, (size[1] - h) // 2
        cut = photo.crop((left, top, left + w, top + h))
    scale = 224 / min(cut.size)
    resized = cut.resize(
        tuple(max(224, round(side * scale)) for side in cut.size), Image.Resampling.BILINEAR
    )
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    square = resized.crop((left, top, left + 224, top + 224))
    assert PREPROCESSING.crop(photo).tobytes() == square.tobytes()
    bytes_ = torch.from_numpy(np.array(square)).permute(2, 0, 1).float()
    expected = (bytes_ / 255 - torch.tensor(127 / 255)) / torch.tensor(128 / 255)
    assert torch.equal(PREPROCESSING.normalise(square), expected)
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    assert PREPROCESSING.region(photo) == (left, top, left + side, top + side)


# What a page shows


def shown(prepare: Preprocessing, photo: Image.Image, folder: Path) -> np.ndarray:
    photo.save(folder / "photo.png")
    encoder = ToyEncoder()
    encoder.preprocessing = prepare
    captioner = dataclasses.replace(tiny_captioner(), encoder=encoder)
    content = seen_photo(captioner, folder / "photo.png")
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def test_a_squeezed_photo_is_shown_squeezed(tmp_path: Path) -> None:
    photo = Image.new("RGB", (300, 100), "red")
    photo.paste("blue", (150, 0, 300, 50))
    seen = shown(SQUEEZED, photo, tmp_path)
    assert seen.shape == (300, 300, 3)
    assert seen[10, 140, 0] > 200  # left of the middle: red
    assert seen[10, 160, 2] > 200
    assert seen[160, 290, 0] > 200  # below the middle: red again
    cropped = shown(SHORT_SIDE, photo, tmp_path)
    assert cropped.shape == (100, 100, 3)
    assert cropped[10, 60, 2] > 200


def test_a_small_photo_is_shown_with_the_black_around_it(tmp_path: Path) -> None:
    seen = shown(UNRESIZED, Image.new("RGB", (30, 40), "white"), tmp_path)
    assert seen.shape == (64, 64, 3)
    assert seen[0, 0].max() < 40
    assert seen[32, 32].min() > 200
