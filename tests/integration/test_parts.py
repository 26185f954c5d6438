"""Parts from the command line, by their folders, and what goes together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stand_ins import D_FEATURES, N_PATCHES, made, run, save_few
from tiny_models import (
    ToyEncoder,
    tiny_model,
    tiny_photos,
    tiny_tokenizer,
)
from trust_rows import scale_of

from molyneux.atlas import open_atlas
from molyneux.checkpoints.language_models import load_language_model
from molyneux.errors import WeightsError
from molyneux.explain.measure_reference import measure_reference
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.models.presets import find_preset
from molyneux.models.trust import save_trust
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.reference import save_reference
from molyneux.neurons.unit import Unit
from molyneux.vision.projection import save_projection

pytestmark = pytest.mark.usefixtures("no_caches")


def test_commands_take_parts_from_local_paths(
    gptj: Path, beit: Path, projection: Path, photo: Path, tmp_path: Path, capsys: Any
) -> None:
    parts = ["--language-model", gptj, "--encoder", beit, "--projection", projection]
    expected = Captioner.from_sources(gptj, beit, projection)
    assert expected.preset is None

    status, out, _ = run(capsys, "caption", photo, "--json", *parts)
    document = json.loads(out)
    assert status == 0
    assert document["images"][0]["caption"] == expected.caption(photo) != ""
    assert document["model"]["preset"] is None
    assert document["model"]["language_model"] == "tiny-gptj"
    assert document["model"]["hashes"]["encoder"] == expected.hashes["encoder"]

    status, out, err = run(
        capsys, "explain", photo, "--ablate", "none", "--json", "--out", tmp_path / "run", *parts
    )
    document = json.loads(out)
    assert status == 0
    assert "no reference table" in err
    assert document["images"][0]["caption"] == expected.caption(photo)
    assert (tmp_path / "run" / "report.html").is_file()

    status, out, _ = run(capsys, "prompts", photo, "--json", *parts)
    assert status == 0
    assert len(json.loads(out)["images"][0]["patches"]) == N_PATCHES

    status, out, _ = run(capsys, "decode", "L1.u7", "--json", "--language-model", gptj)
    through = json.loads(out)[0]["tokens"]
    status, plain, _ = run(
        capsys, "decode", "L1.u7", "--json", "--decoding", "plain", "--language-model", gptj
    )
    assert status == 0
    for tokens, norm in ((through, True), (json.loads(plain)[0]["tokens"], False)):
        found = decode_units(expected.language_model, [Unit(1, 7)], final_norm=norm)
        assert tokens == found[0].tokens

    atlas = tmp_path / "atlas"
    status, out, _ = run(capsys, "atlas", "build", "--language-model", gptj, "--out", atlas)
    assert status == 0
    built = open_atlas(atlas)
    assert built.index.model["language_model"] == "tiny-gptj"
    assert built.index.model["preset"] is None
    assert len(built.index.model["sha256"]) == 64
    writes = {each.lens: each.tokens for each in built.unit("L1.u7").writes}
    assert list(writes["norm"]) == through
    assert list(writes["none"]) == json.loads(plain)[0]["tokens"]

    status, out, _ = run(capsys, "doctor", "--json", *parts)
    assert status == 0
    assert json.loads(out)["healthy"]
    status, out, _ = run(capsys, "doctor", "--language-model", gptj)
    assert status == 0
    assert "FAIL" not in out


def test_the_reference_command_takes_parts(
    gptj: Path, beit: Path, projection: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "photos").mkdir()
    for number, made_photo in enumerate(tiny_photos(3)):
        made_photo.save(tmp_path / "photos" / f"{number}.png")
    parts = ["--language-model", gptj, "--encoder", beit, "--projection", projection]
    status, out, _ = run(
        capsys, "reference", tmp_path / "photos", "--json", "--out", tmp_path / "table", *parts
    )
    assert status == 0
    table = Path(json.loads(out)["reference"])
    captioner = Captioner.from_sources(gptj, beit, projection, reference=table)
    assert captioner.reference is not None
    assert captioner.reference.n_photos == json.loads(out)["photos"]


def test_bfloat16_is_what_is_asked_for(
    gptj: Path, beit: Path, projection: Path, photo: Path, capsys: Any
) -> None:
    parts = ["--language-model", gptj, "--encoder", beit, "--projection", projection]
    status, out, _ = run(capsys, "caption", photo, "--json", "--dtype", "bf16", *parts)
    assert status == 0
    assert json.loads(out)["model"]["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("--projection", "give --projection too"),
        ("--encoder", "give --encoder too"),
        ("--language-model", "give --language-model too"),
        ("", "give --preset gptj-beit or parts"),
    ],
)
def test_parts_come_together_and_without_a_preset(
    left_out: str, said: str, photo: Path, capsys: Any
) -> None:
    given = {"--language-model": "a", "--encoder": "b", "--projection": "c"}
    arguments = [
        text for name, value in given.items() if name != left_out for text in (name, value)
    ]
    preset = [] if left_out else ["--preset", "gptj-beit"]
    status, _, err = run(capsys, "caption", photo, *arguments, *preset)
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_folder_stands_for_the_hub_s_model_of_its_name(
    gptj: Path, beit: Path, tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    save_projection(path, made("EleutherAI/Tiny-GPTJ", "microsoft/tiny-beit"))
    names = Captioner.from_sources(gptj, beit, path).names
    assert names == {"language_model": "EleutherAI/Tiny-GPTJ", "encoder": "microsoft/tiny-beit"}
    save_projection(path, made("EleutherAI/gpt-j-6b", "microsoft/tiny-beit"))
    with pytest.raises(WeightsError, match="made for language_model 'EleutherAI/gpt-j-6b'"):
        Captioner.from_sources(gptj, beit, path)


def test_recorded_hashes_decide_whatever_a_folder_is_called(
    gptj: Path, beit: Path, tmp_path: Path
) -> None:
    found = Captioner.from_parts(
        tiny_model("gptj"), tiny_tokenizer(), ToyEncoder(D_FEATURES), made("x", "toy-encoder")
    )
    assert found.hashes.keys() == {"projection"}
    path = tmp_path / "p.safetensors"
    digest = load_language_model(gptj).sha256
    save_projection(path, made("another name", "tiny-beit", hashes={"language_model": digest}))
    captioner = Captioner.from_sources(gptj, beit, path)
    assert captioner.names["language_model"] == "another name"
    save_projection(path, made("tiny-gptj", "tiny-beit", hashes={"language_model": "0" * 64}))
    with pytest.raises(WeightsError, match="a file of that name has changed"):
        Captioner.from_sources(gptj, beit, path)


def test_the_layer_is_the_recorded_one(gptj: Path, beit: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    save_projection(path, made("tiny-gptj", "tiny-beit layer 1"))
    assert Captioner.from_sources(gptj, beit, path).encoder.name == "tiny-beit layer 1"
    save_projection(path, made("tiny-gptj", "tiny-beit"))
    assert Captioner.from_sources(gptj, beit, path).encoder.name == "tiny-beit"


# The paper's presets, every part a tiny stand-in.


def test_a_reference_table_goes_with_the_decoding_it_was_measured_with(
    gptj: Path, beit: Path, projection: Path, tmp_path: Path, capsys: Any
) -> None:
    parts = ["--language-model", gptj, "--encoder", beit, "--projection", projection]
    folder = save_few(tmp_path / "photos")
    out = tmp_path / "table"
    made_with = ["--decoding", "plain"]
    status, _, err = run(capsys, "reference", folder, "--out", out, *parts, *made_with)
    assert status == 0, err
    table = ["--reference", out / "reference.safetensors", "--ablate", "none"]
    explain = ["explain", folder / "0.png", "--json", *parts, *table]
    status, said, err = run(capsys, *explain, *made_with, "--out", tmp_path / "same")
    assert status == 0, err
    rule = json.loads(said)["model"]["decoding"]
    assert rule == {"final_norm": False, "bias": False, "written": False}
    status, _, err = run(capsys, *explain, "--out", tmp_path / "other")
    assert status == 1
    assert "measured with another" in err


@pytest.mark.parametrize("wrong", [["--dtype", "int8"], ["--encoder", "somewhere"]])
def test_a_wrong_call_of_doctor_is_not_about_weights(wrong: list[str], capsys: Any) -> None:
    status, out, err = run(capsys, "doctor", *wrong)
    assert (status, out) == (2, "")
    assert len(err.strip().splitlines()) == 1


def test_what_was_measured_with_another_projection_is_refused_before_weights_are_read(
    make_captioner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: Any) -> None:
        raise AssertionError("weights are read")

    captioner = make_captioner("llama")
    photos = [tmp_path / f"{number}.png" for number in range(4)]
    for file, photo in zip(photos, tiny_photos(4), strict=True):
        photo.save(file)
    table, _ = measure_reference(captioner, photos, data="drawings", n_listed=10)
    save_reference(tmp_path / "reference.safetensors", table)
    save_trust(tmp_path / "trust.json", scale_of(captioner))
    monkeypatch.setattr(Parts, "load", never)
    own = find_preset("smollm2-effnet").projection_file()
    for what, file in (("reference", "reference.safetensors"), ("trust", "trust.json")):
        given: dict[str, Any] = {what: tmp_path / file}
        for load in (
            lambda given: Captioner.load(**given),
            lambda given: Captioner.from_sources("a/b", "c/d", own, **given),
        ):
            with pytest.raises(WeightsError, match=f"the {what}.* another projection"):
                load(given)
