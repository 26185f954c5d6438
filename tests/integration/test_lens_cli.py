"""`molyneux lens build` on a tiny captioner: what it writes, and that it goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_photos

from molyneux.atlas import open_atlas
from molyneux.cli import main
from molyneux.errors import WeightsError
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings
from molyneux.models.captioner import Captioner
from molyneux.models.choice import ModelChoice
from molyneux.models.presets import find_preset
from molyneux.models.seeing_model import describe_model
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.jacobian import patch_jacobians
from molyneux.neurons.lens import HeadLens, JacobianLens, load_lens, save_lens
from molyneux.neurons.streams import patch_streams, through_lens
from molyneux.neurons.targets import read_sentence
from molyneux.neurons.unit import Unit
from molyneux.vision.projection import save_projection
from molyneux.words.sentences import PLAIN_SENTENCES


@pytest.fixture
def tiny(make_captioner: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    captioner = make_captioner("llama")
    monkeypatch.setattr(Captioner, "load", lambda *args, **options: captioner)
    return captioner


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def own_jacobians(captioner: Any, photo: Path) -> torch.Tensor | None:
    """Return a photo's Jacobians where its caption's first noun is predicted."""
    model, prompt = captioner.language_model, captioner.see([photo])
    sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
    if not sentence.words:
        return None
    until = sentence.up_to(model, prompt, sentence.words[0].target.position)
    return patch_jacobians(model, until)


def test_the_lens_is_the_mean_over_photos_that_have_a_noun(
    tiny: Any, photos: list[Path], tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "made" / "lens.safetensors"
    status, said, err = run(capsys, "lens", "build", photos[0].parent, "--out", out, "--json")
    assert status == 0, err
    every = {photo: own_jacobians(tiny, photo) for photo in photos}
    usable = {photo: found for photo, found in every.items() if found is not None}
    assert usable
    document = json.loads(said)
    assert document["measured"] == len(usable)
    assert len(document["left_out"]) == len(photos) - len(usable)
    lens = load_lens(out)
    expected = torch.stack([*usable.values()]).mean(dim=0)
    torch.testing.assert_close(lens.jacobians, expected, rtol=1e-3, atol=1e-3)
    hashes = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in usable]
    listed = "".join(f"{one}\n" for one in sorted(hashes))
    assert lens.provenance["photos_sha256"] == hashlib.sha256(listed.encode()).hexdigest()
    assert lens.provenance["projection"] == tiny.projection.hash()
    assert lens.provenance["of"] == "patches"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_what_was_ended_goes_on_to_the_same_lens(
    tiny: Any, photos: list[Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    build = ["lens", "build", photos[0].parent, "--out"]
    assert run(capsys, *build, whole)[0] == 0
    see, seen = Captioner.see, []

    def ends_at_the_third(self: Captioner, given: Any) -> Any:
        seen.append(given)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return see(self, given)

    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "see", ends_at_the_third)
        assert run(capsys, *build, begun)[0] == 130
    assert not begun.exists()
    assert (tmp_path / "begun.unfinished").is_file()
    status, _, err = run(capsys, *build, begun)
    assert status == 0
    assert "goes on after 2 of 4 photos" in err
    assert not (tmp_path / "begun.unfinished").exists()
    one, other = load_lens(whole), load_lens(begun)
    assert one.provenance == other.provenance
    assert torch.equal(one.jacobians, other.jacobians)


def test_other_photos_are_not_added_to_what_was_begun(
    tiny: Any, photos: list[Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, out = ["lens", "build", photos[0].parent, "--out"], tmp_path / "lens"
    with monkeypatch.context() as patch:
        patch.setattr("molyneux.neurons.lens.save_lens", _interrupted)
        assert run(capsys, *build, out)[0] == 130
    monkeypatch.setattr(Captioner, "load", _interrupted)
    status, _, err = run(capsys, *build, out, "--images", 2)
    assert status == 2
    line = err.strip().splitlines()[-1]
    assert "measured with another chosen_sha256" in line
    assert "to begin anew" in line
    assert not out.exists()
    (tmp_path / "lens.unfinished").write_bytes(b"not this")
    status, _, err = run(capsys, *build, out)
    assert status == 1
    assert "is no lens begun" in err.strip().splitlines()[-1]


def test_a_file_that_is_no_lens_is_refused_before_the_model(
    photos: list[Path], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "load", _interrupted)
    monkeypatch.setattr("molyneux.models.parts.load_language", _interrupted)
    for call in (["explain", photos[0]], ["decode", "L0.u1"]):
        status, _, err = run(capsys, *call, "--lens", photos[1])
        assert status == 1, call
        assert photos[1].name in err.strip().splitlines()[-1]


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_sentences_stand_where_patches_would(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "lens"
    status, said, err = run(capsys, "lens", "build", "--sentences", "--out", out, "--json")
    assert status == 0, err
    document = json.loads(said)
    assert document["of"] == "tokens"
    assert document["measured"] + len(document["left_out"]) == len({*PLAIN_SENTENCES})
    lens = load_lens(out)
    assert lens.provenance["data"] == "plain sentences"
    assert lens.jacobians.abs().sum() > 0


def test_bad_calls_are_one_line_before_anything_slow(
    photos: list[Path], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "load", _interrupted)
    folder, there = photos[0].parent, tmp_path / "there"
    there.write_bytes(b"something")
    for arguments, expected in (
        (["build"], "takes photos (DATA) or --sentences"),
        (["build", folder, "--sentences"], "takes photos (DATA) or --sentences"),
        (["build", folder], "needs --out FILE"),
        (["build", folder, "--out", there], "already holds something"),
        (["build", tmp_path / "nowhere", "--out", tmp_path / "new"], "nowhere"),
    ):
        status, out, err = run(capsys, "lens", *arguments)
        assert (status, out) == (2, ""), arguments
        assert expected in err.strip().splitlines()[-1]
        assert "Traceback" not in err


@pytest.fixture
def measured(tiny: Any, photos: list[Path], tmp_path: Path, capsys: Any) -> Path:
    out = tmp_path / "lens.safetensors"
    assert run(capsys, "lens", "build", photos[0].parent, "--out", out)[0] == 0
    return out


@pytest.fixture
def presets(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The preset's language model is the tiny one, by its name too."""
    preset = dataclasses.replace(find_preset("smollm2-effnet"), language_model="tiny-llama")
    monkeypatch.setattr("molyneux.models.presets.find_preset", lambda name: preset)
    language = (tiny.language_model, "tiny-llama", "")
    monkeypatch.setattr("molyneux.models.parts.load_language", lambda *args, **options: language)
    return preset


def test_decode_reads_through_the_lens_that_is_asked_for(
    tiny: Any, presets: Any, measured: Path, capsys: Any
) -> None:
    model = tiny.language_model
    units = [Unit(0, 3), Unit(1, 40), Unit(model.n_layers - 1, 5)]
    lenses = {
        "none": HeadLens(model, final_norm=False),
        "norm": HeadLens(model),
        str(measured): load_lens(measured),
    }
    found = []
    for asked, lens in lenses.items():
        status, out, err = run(capsys, "decode", *units, "--lens", asked, "--json")
        assert status == 0, err
        expected = decode_units(model, units, lens=lens)
        found.append([row["tokens"] for row in json.loads(out)])
        assert found[-1] == [one.tokens for one in expected]
    assert len({str(tokens) for tokens in found}) == 3
    assert found[-1][-1] == []
    status, out, _ = run(capsys, "decode", units[-1], "--lens", measured)
    assert "no reading" in out


def test_an_atlas_is_read_through_the_lens_too(
    tiny: Any, presets: Any, measured: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    model = tiny.language_model
    units = [Unit(0, 3), Unit(1, 40)]
    expected = [one.tokens for one in decode_units(model, units, lens=load_lens(measured))]
    given, own = tmp_path / "given", tmp_path / "own"
    status, _, err = run(capsys, "atlas", "build", "--out", given, "--lens", measured)
    assert status == 0, err
    comes_with = dataclasses.replace(presets, lens=measured)
    monkeypatch.setattr("molyneux.models.presets.find_preset", lambda name: comes_with)
    status, _, err = run(capsys, "atlas", "build", "--out", own)  # the preset's, without asking
    assert status == 0, err
    for folder in (given, own):
        atlas = open_atlas(folder)
        assert atlas.lenses == ("none", "norm", "jacobian")
        found = [atlas.unit(str(unit)).writes[-1].tokens for unit in units]
        assert [[*tokens] for tokens in found] == expected
    status, _, err = run(capsys, "atlas", "build", "--out", tmp_path / "head", "--lens", "norm")
    assert status == 0, err
    assert open_atlas(tmp_path / "head").lenses == ("none", "norm")


def test_explain_reads_patches_through_the_lens_and_the_last_position_through_the_head(
    tiny: Any, measured: Path, photos: list[Path]
) -> None:
    lens = load_lens(measured)
    captioner = tiny.with_lens(lens)
    settings = Settings(ablate="none", top=30, words=["dog"])
    word = explain_photo(captioner, photos[0], settings).words[0]
    for rows, through in ((word.rankings["raw"].patches, lens), (word.rankings["raw"].last, None)):
        units = [Unit(row.layer, row.unit) for row in rows]
        read = decode_units(tiny.language_model, units, [row.sign for row in rows], lens=through)
        assert [list(row.tokens) for row in rows] == [one.tokens for one in read]
        assert all(row.tokens for row in rows)  # no unit of the last layer is listed at patches
    record = describe_model(captioner)["lens"]
    assert record["name"] == "jacobian"
    assert record["projection"] == tiny.projection.hash()
    assert "lens" not in describe_model(tiny)


def test_a_lens_of_another_model_is_one_line(
    tiny: Any, presets: Any, measured: Path, photos: list[Path], capsys: Any, tmp_path: Path
) -> None:
    lens = load_lens(measured)
    for key, more in (
        ("projection", ["explain", photos[0]]),
        ("language_model", ["decode", "L0.u1"]),
    ):
        other = JacobianLens({**lens.provenance, key: "1" * 64}, lens.jacobians)
        save_lens(tmp_path / "other", other)
        with pytest.raises(WeightsError, match=f"the lens was measured with another {key}"):
            tiny.with_lens(other)
        status, out, err = run(capsys, *more, "--lens", tmp_path / "other")
        assert (status, out) == (1, "")
        line = err.strip().splitlines()[-1]
        assert f"the lens was measured with another {key}" in line
        assert "`molyneux lens build`" in line


def test_a_lens_of_another_projection_is_refused_before_weights_are_read(
    tiny: Any, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(Captioner, "load", load)
    lens = load_lens(measured)
    other = JacobianLens({**lens.provenance, "projection": "1" * 64}, lens.jacobians)
    save_lens(tmp_path / "other", other)
    save_projection(tmp_path / "own.safetensors", tiny.projection)
    choice = ModelChoice(projection=tmp_path / "own.safetensors", lens=str(tmp_path / "other"))
    with pytest.raises(WeightsError, match="the lens was measured with another projection"):
        choice.load()
    with pytest.raises(AssertionError, match="weights were read"):
        dataclasses.replace(choice, lens=str(measured)).load()


def test_a_lens_that_is_not_there_is_one_line_before_anything_slow(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Captioner, "load", _interrupted)
    monkeypatch.setattr("molyneux.models.parts.load_language", _interrupted)
    without = dataclasses.replace(find_preset("smollm2-effnet"), lens=None)
    monkeypatch.setattr("molyneux.models.presets.find_preset", lambda name: without)
    for asked, ends, expected in (
        ("jacobian", 1, "no Jacobian lens comes with smollm2-effnet; measure one"),
        (tmp_path / "nowhere", 2, "nowhere (--lens) is not there; give none, norm, jacobian or"),
    ):
        status, out, err = run(capsys, "decode", "L0.u1", "--lens", asked)
        assert (status, out) == (ends, "")
        assert expected in err.strip().splitlines()[-1]


def test_prompts_reads_the_patches_further_up(
    tiny: Any, measured: Path, photos: list[Path], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompt = tiny.language_model, tiny.see(photos[:1])
    stream = patch_streams(model, prompt)[2]  # after layer 1
    lens = load_lens(measured)
    logits = (stream @ lens.jacobians[1].T) @ model.unembedding().T
    expected = [[model.token_text(t) for t in row.topk(3).indices.tolist()] for row in logits]
    asked = ["prompts", photos[0], "--top", 3, "--layer", 1, "--json", "--lens"]
    status, out, err = run(capsys, *asked, measured)
    assert status == 0, err
    rows = json.loads(out)["images"][0]["patches"]
    assert [row["lens_tokens"] for row in rows] == expected
    status, out, err = run(capsys, *asked, "norm")
    assert status == 0, err
    said = [row["lens_tokens"] for row in json.loads(out)["images"][0]["patches"]]
    head = through_lens(model, stream) @ model.unembedding().T
    assert said == [[model.token_text(t) for t in row.topk(3).indices.tolist()] for row in head]
    last = model.n_layers - 1
    status, _, err = run(capsys, "prompts", photos[0], "--layer", last, "--lens", measured)
    assert (status, "reads layers 0 to 1" in err) == (2, True)
    status, _, err = run(capsys, "prompts", photos[0], "--layer", 1)
    assert (status, "--layer goes with --lens" in err) == (2, True)
