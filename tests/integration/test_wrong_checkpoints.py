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
from safetensors.torch import load_file, save_file
from tiny_encoders import write_checkpoint
from tiny_models import tiny_model, tiny_tokenizer
from tiny_vlms import tiny_vlm_parts

from molyneux.checkpoints.encoders import load_encoder
from molyneux.checkpoints.language_models import load_language_model
from molyneux.errors import AdapterError, MolyneuxError, WeightsError
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


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_fewer_layers_than_a_checkpoint_of_the_base_class_has(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its names lack the prefix that the class with a head has."""
    for part in (tiny_model(kind).base_model, tiny_tokenizer()):
        part.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    entry = "n_layer" if kind == "gpt2" else "num_hidden_layers"
    fewer = {**config, entry: 2, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(fewer))
    message = refusal("language model", tmp_path, capfd)
    assert "holds weights of more layers than its config.json says (" in message


def renamed(folder: Path, rename: Callable[[str], str], **more: torch.Tensor) -> None:
    """Write a folder's weights under other names, with more of them."""
    weights = load_file(folder / "model.safetensors")
    weights = {rename(name): weight for name, weight in weights.items()}
    save_file({**weights, **more}, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("layers", [1, 2])
def test_fewer_layers_than_an_encoder_inside_a_head_model_has(
    layers: int, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder("encoder", num_hidden_layers=layers)
    renamed(made, lambda name: f"vit.{name}", **{"classifier.weight": torch.zeros(3, 32)})
    if layers == 2:
        assert load_encoder(made)
        return
    message = refusal("encoder", made, capfd)
    assert "holds weights of more layers than its config.json says (vit." in message


@pytest.mark.parametrize("beside", ["weight_scale", "lora_A.weight"])
def test_an_encoder_s_weights_that_are_not_whole(
    beside: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder("encoder")
    weights = load_file(made / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("query.weight"))
    more = {f"{name.removesuffix('weight')}{beside}": torch.ones(1)}
    if beside == "weight_scale":
        more[name] = (weights[name] * 100).to(torch.float8_e4m3fn)
    renamed(made, str, **more)
    message = refusal("encoder", made, capfd, AdapterError)
    assert f".{beside}, which transformers passes over: its weights are not read whole" in message


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_no_model(
    kind: str, folder: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    made = folder(kind)
    (made / "adapter_config.json").write_text("{}")
    assert "is an adapter (LoRA or its like), not a model" in refusal(kind, made, capfd)


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
