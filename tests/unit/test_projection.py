"""The projection's file: it comes back to the bit with its record, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import ToyEncoder, tiny_model, tiny_projection, tiny_tokenizer

from molyneux.errors import RunError, WeightsError
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.vision.layout import Layout
from molyneux.vision.projection import (
    Projection,
    load_projection,
    random_projection,
    require_match,
    save_projection,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_projection(tmp_path / "projection.safetensors", tiny_projection())
    return tmp_path / "projection.safetensors"


def test_it_comes_back_with_its_record(file: Path) -> None:
    made, loaded = tiny_projection(), load_projection(file)
    assert torch.equal(loaded.linear.weight, made.linear.weight)
    assert torch.equal(loaded.linear.bias, made.linear.bias)
    assert loaded.linear.bias.abs().max() > 0
    assert loaded.provenance == made.provenance
    assert loaded.provenance["kind"] == "random"
    assert loaded.layout == Layout("<|begin|>", "A picture of")
    assert loaded.hash() == made.hash()
    assert not any(p.requires_grad for p in loaded.linear.parameters())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_layout_without_begin_comes_back(tmp_path: Path) -> None:
    save_projection(tmp_path / "p", tiny_projection(begin=None))
    assert load_projection(tmp_path / "p").layout == Layout(None)


@pytest.mark.parametrize(
    "entry",
    [
        {"layout": {"begin": 5, "text": "A picture of"}},
        {"layout": {"begin": None, "text": None}},
        {"layout": ["<|begin|>"]},
        {"encoder": 7},
        {"hashes": "of the weights"},
    ],
)
def test_a_record_of_another_form_is_refused(entry: dict[str, Any], tmp_path: Path) -> None:
    made = tiny_projection()
    save_projection(tmp_path / "p", replace(made, provenance={**made.provenance, **entry}))
    with pytest.raises(WeightsError, match="is not a projection molyneux wrote") as refused:
        load_projection(tmp_path / "p")
    assert "\n" not in str(refused.value)


def test_a_run_folder_is_told_from_the_projection_in_it(file: Path) -> None:
    with pytest.raises(WeightsError, match=r"is a folder; give the projection\.safetensors"):
        load_projection(file.parent)


def test_it_projects_as_its_linear_layer(file: Path) -> None:
    projection = load_projection(file)
    features = torch.randn(2, 5, 24, dtype=torch.float64)
    found = projection.project(features)
    expected = features.float() @ projection.linear.weight.T + projection.linear.bias
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_hashes_are_of_weight_and_bias() -> None:
    one = tiny_projection()
    assert one.hash() == tiny_projection().hash() != tiny_projection(seed=1).hash()
    half = Projection(tiny_projection().linear.bfloat16().float(), one.provenance)
    assert half.hash() != one.hash()
    moved = tiny_projection()
    with torch.no_grad():
        moved.linear.bias[3] += 1e-3
    assert moved.hash() != one.hash()


def test_random_projections_have_the_norm_asked_for() -> None:
    projection = random_projection(400, 300, 7.0, {}, seed=4)
    prompts = projection.project(torch.randn(1, 200, 400))
    norm = prompts.norm(dim=-1).mean() / torch.randn(200, 400).norm(dim=-1).mean() * 20
    assert float(norm) == pytest.approx(7, rel=0.1)
    assert projection.provenance == {"kind": "random", "seed": 4}


def test_a_flipped_byte_in_the_weights_is_refused(file: Path) -> None:
    good = file.read_bytes()
    n_header = int.from_bytes(good[:8], "little") + 8
    for place in range(n_header, len(good), 97):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(WeightsError, match="not the ones its header names"):
            load_projection(file)


def test_a_flipped_byte_in_the_header_is_refused_or_harmless(file: Path) -> None:
    """A record may be altered without notice, but nothing else than WeightsError comes out."""
    good = file.read_bytes()
    refused = []
    n_header = int.from_bytes(good[:8], "little") + 8
    for place in range(0, n_header):
        file.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        try:
            assert load_projection(file).hash() == tiny_projection().hash()
        except WeightsError as error:
            refused.append(str(error))
    assert len(refused) > n_header / 2
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="not a projection molyneux wrote"):
        load_projection(file)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(WeightsError, match=r"no projection at .*other; train one"):
        load_projection(path)
    path.write_text("not weights at all")
    with pytest.raises(WeightsError, match="not a projection"):
        load_projection(path)
    save_file({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not a projection"):
        load_projection(path)
    record = '{"kind": "random", "encoder": "e", "language_model": "m"}'
    save_file({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, path, {"provenance": record})
    with pytest.raises(WeightsError, match="layout"):
        load_projection(path)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "projection.safetensors"
    save_projection(path, tiny_projection())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molyneux.store.os.fsync", full)
    with pytest.raises(RunError, match="No space"):
        save_projection(path, tiny_projection(seed=1))
    assert list(tmp_path.iterdir()) == [path]
    assert load_projection(path).hash() == tiny_projection().hash()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("language_model", "another model"),
        ("encoder", "another encoder"),
        ("layout", Layout(None).record()),
        ("layout", Layout("<|begin|>", "A photo of").record()),
    ],
)
def test_a_projection_made_for_other_parts_is_refused(part: str, value: object) -> None:
    projection = tiny_projection()
    right = {name: projection.provenance[name] for name in ("language_model", "encoder", "layout")}
    require_match(projection, right, (32, 24))
    with pytest.raises(WeightsError, match=f"made for {part} ") as caught:
        require_match(projection, {**right, part: value}, (32, 24))
    assert "\n" not in str(caught.value)


def test_another_shape_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"maps 24 features to 32, but .* need 20 to 32"):
        require_match(tiny_projection(), {}, (32, 20))
    with pytest.raises(WeightsError, match="need 24 to 16"):
        require_match(tiny_projection(), {}, (16, 24))


def test_a_captioner_refuses_what_does_not_belong_together(
    make_captioner: Callable[..., Captioner],
) -> None:
    good = make_captioner("llama")
    parts = Parts(good.language_model, good.encoder, good.names, good.hashes)
    assert Captioner.join(parts, tiny_projection()).hashes == good.hashes
    with pytest.raises(WeightsError, match="language_model 'tiny-gpt2'"):
        Captioner.join(parts, tiny_projection("tiny-gpt2"))
    with pytest.raises(WeightsError, match="maps 20 features to 32"):
        Captioner.join(parts, tiny_projection(d_features=20))
    encoder = ToyEncoder()
    encoder.name = "another-encoder"
    with pytest.raises(WeightsError, match="encoder 'toy-encoder', not 'another-encoder'"):
        Captioner.from_parts(tiny_model("llama"), tiny_tokenizer(), encoder, tiny_projection())


def test_a_very_long_photo_is_cut_before_it_is_resized() -> None:
    from PIL import Image

    from molyneux.vision.encoder import Preprocessing

    prepare = Preprocessing(224, 224, (0.5,) * 3, (0.5,) * 3)
    assert prepare.crop(Image.new("RGB", (1, 100_000))).size == (224, 224)
    assert prepare.crop(Image.new("RGB", (100_000, 2))).size == (224, 224)
