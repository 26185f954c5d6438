"""Checkpoints that are not what they are given as: one line, soon, and never a wrong model."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoders import write_checkpoint
from tiny_models import tiny_model, tiny_tokenizer
from tiny_vlms import tiny_vlm_parts

from molyneux.errors import AdapterError, MolyneuxError, WeightsError
from molyneux.models.encoders import load_encoder
from molyneux.models.language_models import load_language_model
from molyneux.models.vlm_loading import load_vlm

LOAD: dict[str, Callable[[Path], Any]] = {
    "language model": load_language_model,
    "encoder": load_encoder,
    "vision-language model": load_vlm,
}
KINDS = tuple(LOAD)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind that loads."""
    root = tmp_path_factory.mktemp("whole")
    model, tokenizer, processor = tiny_vlm_parts("smolvlm")
    for part in (model, tokenizer, processor):
        part.save_pretrained(root / "vlm")
    for part in (tiny_model("gpt2"), tiny_tokenizer()):
        part.save_pretrained(root / "lm")
    return {
        "language model": root / "lm",
        "encoder": write_checkpoint(root / "encoder", "vit"),
        "vision-language model": root / "vlm",
    }


@pytest.fixture
def folder(whole: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copy a kind's folder, with other entries in its configuration."""

    def copy(kind: str, **entries: Any) -> Path:
        made = Path(shutil.copytree(whole[kind], tmp_path / "copy"))
        config = json.loads((made / "config.json").read_text())
        (made / "config.json").write_text(json.dumps({**config, **entries}))
        return made

    return copy


def refusal(
    kind: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    error: type[MolyneuxError] = WeightsError,
) -> str:
    """Return what loading is refused with: one line, and nothing said beside it."""
    capfd.readouterr()
    with pytest.raises(error) as refused:
        LOAD[kind](folder)
    message = str(refused.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert "; " in message  # what next
    assert capfd.readouterr() == ("", "")
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_whole_folders_load(kind: str, whole: dict[str, Path]) -> None:
    assert LOAD[kind](whole[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", KINDS)
def test_a_folder_given_as_another_kind_is_called_what_it_is(
    kind: str, given: str, whole: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    if kind == given:
        return
    message = refusal(given, whole[kind], capfd, AdapterError)
    assert f"is an {kind}," in message or f"is a {kind}," in message
    assert "register" not in message
    option = {"encoder": "--encoder", "language model": "--language-model"}.get(kind, "--vlm")
    assert option in message


SEVEN_BILLION = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008}
LARGER: dict[str, dict[str, Any]] = {
    "language model": {"model_type": "llama", **SEVEN_BILLION, "architectures": None},
    "encoder": {**SEVEN_BILLION, "num_attention_heads": 32},
    "vision-language model": {"text_config": {"model_type": "llama", **SEVEN_BILLION}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_model_s_configuration_takes_no_memory(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    message = refusal(kind, folder(kind, **LARGER[kind]), capfd)
    assert "does not hold this model's weights: config.json describes a network of" in message


def test_a_configuration_of_no_network_is_refused(
    folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder("language model", n_embd=33)  # not divisible by the heads
    assert "config.json describes no network (" in refusal("language model", made, capfd)


FEWER: dict[str, dict[str, Any]] = {
    "language model": {"n_layer": 2},
    "encoder": {"num_hidden_layers": 1},
}


@pytest.mark.parametrize("kind", FEWER)
def test_fewer_layers_than_there_are_weights_for(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    message = refusal(kind, folder(kind, **FEWER[kind]), capfd)
    assert "holds weights of more layers than its config.json says (" in message


@pytest.mark.parametrize("kind", ["language model", "vision-language model"])
def test_a_missing_tokenizer_is_not_made_up(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder(kind)
    for file in made.glob("tokenizer*"):
        file.unlink()
    message = refusal(kind, made, capfd)
    assert "tokenizer" in message
    assert "beside its config.json" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_of_wrong_types(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    entry = {"language model": "n_embd", "encoder": "hidden_size"}.get(kind, "vision_config")
    message = refusal(kind, folder(kind, **{entry: "many"}), capfd)
    assert "config.json" in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["gptq", "bitsandbytes"])
def test_quantised_weights_are_refused_without_their_package(
    kind: str, how: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"quant_method": how, "bits": 4, "load_in_8bit": True}
    made = folder(kind, quantization_config=settings)
    assert f"is quantised ({how})" in refusal(kind, made, capfd, AdapterError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_that_is_no_state_dict_is_not_opened(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder(kind)
    (made / "model.safetensors").unlink()
    torch.save({"where": Path("/"), "much": torch.zeros(300_000)}, made / "pytorch_model.bin")
    assert re.search("cannot load|pickled weights", refusal(kind, made, capfd))


@pytest.mark.parametrize(
    "entries", [{"image_mean": [0.5, 0.5]}, {"max_image_size": {"longest_edge": 96}}]
)
def test_another_model_s_image_processor(
    entries: dict[str, Any], folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder("vision-language model")
    file = made / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    message = refusal("vision-language model", made, capfd, AdapterError)
    assert "give the checkpoint's own preprocessor_config.json" in message
