"""CLIPScore through a tiny random CLIP with a tokenizer and an image processor of its own."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from tiny_models import tiny_photos
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from molyneux.checkpoints import hub
from molyneux.errors import WeightsError
from molyneux.metrics import clipscore
from molyneux.metrics.clipscore import ClipScorer, clip_scores, hessel_scaling, load_clip_scorer

TEXTS = ["a dog", "a cat on a bench", "the sky", "", "the sky", "dog dog dog"]


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    torch.manual_seed(1)
    part = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.5,
    }
    config = CLIPConfig(
        text_config={
            **part,
            "vocab_size": 12,
            "max_position_embeddings": 77,
            "bos_token_id": 10,
            "eos_token_id": 11,
            "pad_token_id": 11,
        },
        vision_config={**part, "image_size": 28, "patch_size": 14},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    words = ["<unk>", "a", "dog", "cat", "on", "bench", "the", "sky", "man", "sea"]
    vocabulary = {word: number for number, word in enumerate([*words, "<start>", "<end>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 10), ("<end>", 11)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<end>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(tiny_clip: Path) -> ClipScorer:
    return load_clip_scorer(tiny_clip)


def slow_cosine(folder: Path, photo: Image.Image, text: str) -> float:
    """One photo, one text, through the model's own forward pass: its logits over their scale."""
    network: Any = CLIPModel.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    processor: Any = CLIPImageProcessorPil.from_pretrained(folder)
    with torch.no_grad():
        found = network.eval()(
            input_ids=tokenizer(text, return_tensors="pt").input_ids,
            pixel_values=processor(images=photo, return_tensors="pt")["pixel_values"],
        )
        return float(found.logits_per_image[0, 0] / network.logit_scale.exp())


def test_it_is_a_hundred_cosines(tiny_clip: Path, scorer: ClipScorer) -> None:
    for photo in tiny_photos(2):
        found = scorer.score(photo, TEXTS)
        slow = [100 * slow_cosine(tiny_clip, photo, text) for text in TEXTS]
        assert found == pytest.approx(slow, abs=1e-3)
        assert found[2] == pytest.approx(found[4], abs=1e-3)  # in another row of the batch
        assert len({round(float(value), 2) for value in found}) == 5


def test_negative_cosines_stay_and_hessels_scaling_clips_them(scorer: ClipScorer) -> None:
    photos = tiny_photos(3)
    scores = clip_scores(scorer.image_features(photos), scorer.text_features(TEXTS))
    assert scores.shape == (3, 6)
    assert scores.min() < 0 < scores.max()
    hessel = hessel_scaling(scores)
    assert hessel[scores < 0].tolist() == [0] * int((scores < 0).sum())
    np.testing.assert_allclose(hessel[scores > 0], 2.5 * scores[scores > 0] / 100)


def test_features_have_length_one_and_keep_their_order(
    scorer: ClipScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tiny_photos(3)
    images, texts = scorer.image_features(photos), scorer.text_features(TEXTS)
    for features in (images, texts):
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    monkeypatch.setattr(clipscore, "_TEXTS_PER_BATCH", 2)
    monkeypatch.setattr(clipscore, "_IMAGES_PER_BATCH", 1)
    np.testing.assert_allclose(scorer.text_features(TEXTS), texts, atol=1e-6)
    np.testing.assert_allclose(scorer.image_features(photos), images, atol=1e-6)
    turned = scorer.text_features(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(turned, scorer.text_features(TEXTS), atol=1e-6)


def test_a_grey_photo_and_nothing_at_all(scorer: ClipScorer) -> None:
    grey = Image.new("L", (40, 30), 90)
    assert np.array_equal(
        scorer.image_features([grey]), scorer.image_features([grey.convert("RGB")])
    )
    assert scorer.image_features([]).shape == (0, 8)
    assert scorer.text_features([]).shape == (0, 8)
    assert scorer.score(grey, []).shape == (0,)


def test_texts_are_cut_at_77_tokens(scorer: ClipScorer) -> None:
    found = scorer.text_features(["dog " * 75, "dog " * 75 + "sky " * 100, "dog " * 74])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.abs(found[0] - found[2]).max() > 1e-4


def test_any_script(scorer: ClipScorer) -> None:
    assert np.isfinite(scorer.text_features(["犬", "cut \ud83d off", "🐶"])).all()


def test_older_transformers_return_a_tensor(
    scorer: ClipScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scorer.image_features(tiny_photos(1))
    wrapped = scorer._network.get_image_features
    bare = SimpleNamespace(
        get_image_features=lambda pixels: wrapped(pixels).pooler_output,
        config=scorer._network.config,
    )
    monkeypatch.setattr(scorer, "_network", bare)
    assert np.array_equal(scorer.image_features(tiny_photos(1)), expected)


def test_weights_that_cannot_be_had_are_one_line(tmp_path: Path, tiny_clip: Path) -> None:
    with pytest.raises(WeightsError, match=r"^no CLIPScore: .*hub cannot be reached\); give a"):
        load_clip_scorer()
    with pytest.raises(WeightsError, match="no CLIPScore: cannot load"):
        load_clip_scorer(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_clip.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError) as caught:
        load_clip_scorer(broken)
    assert "\n" not in str(caught.value)


def test_a_hub_without_an_address_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client would retry for half a minute before it gave up."""
    asked: list[Any] = []

    def no_address(host: str, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    with pytest.raises(WeightsError, match="the hub cannot be reached"):
        load_clip_scorer()
    assert asked == [urlsplit(constants.ENDPOINT).hostname]


def test_it_says_what_it_loads_and_is_named(tiny_clip: Path) -> None:
    said: list[str] = []
    assert load_clip_scorer(tiny_clip, said.append).name == "tiny-clip"
    assert said == ["loading tiny-clip for CLIPScore"]
