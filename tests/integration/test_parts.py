"""Parts from the command line, and the paper's presets on stand-ins of the same make."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from tiny_encoders import write_checkpoint
from tiny_models import (
    D_MODEL,
    PADDING_ROWS,
    ToyEncoder,
    tiny_model,
    tiny_photos,
    tiny_tokenizer,
)

from molyneux.cli import main
from molyneux.errors import MolyneuxError, UsageError, WeightsError
from molyneux.explain.measure_reference import measure_reference
from molyneux.models import presets
from molyneux.models.captioner import Captioner
from molyneux.models.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.models.fitting import require_shown
from molyneux.models.language_models import load_language_model
from molyneux.models.limber import CHECKPOINTS, Checkpoint, fetch_projection, projection_path
from molyneux.models.presets import PRESETS
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.receptive_fields import receptive_fields
from molyneux.neurons.unit import Unit
from molyneux.vision.encoder import PatchGrid, Preprocessing
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, random_projection, save_projection

D_FEATURES = 32  # of the tiny BEiT
N_PATCHES = 16


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


def save_gptj(folder: Path, *, rows: str = "padded") -> Path:
    """Save a tiny GPT-J: `padded` as published (a placeholder token for every padding row),
    `limber` as LiMBeR cut it (one token of its own behind the vocabulary)."""
    model, tokenizer = tiny_model("gptj"), tiny_tokenizer()
    if rows == "padded":
        tokenizer.add_tokens([f"<|extratoken_{i + 1}|>" for i in range(PADDING_ROWS)])
        assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    else:
        tokenizer.add_special_tokens({"cls_token": "<|image|>"})
        model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gptj(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gptj(tmp_path_factory.mktemp("lm") / "tiny-gptj")


@pytest.fixture(scope="module")
def beit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("encoder") / "tiny-beit", "beit")


def made(name: str, encoder: str, **provenance: Any) -> Projection:
    return random_projection(
        D_FEATURES,
        D_MODEL,
        6.0,
        {"language_model": name, "encoder": encoder, "layout": Layout(None).record(), **provenance},
    )


@pytest.fixture
def projection(tmp_path: Path) -> Path:
    path = tmp_path / "projection.safetensors"
    save_projection(path, made("tiny-gptj", "tiny-beit"))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    tiny_photos(1)[0].save(path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


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
    status, out, _ = run(
        capsys, "decode", "--word", "dog", "--language-model", gptj, "--decoding", "plain"
    )
    assert status == 0
    assert "rank" in out

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
    assert status == 1
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


def stand_in(
    name: str, gptj: Path, encoder: Path | str, monkeypatch: pytest.MonkeyPatch, n_patches: int
) -> Checkpoint:
    """Put tiny parts into one of the paper's presets, its projections in the cache."""
    own = PRESETS[name]
    called = encoder.name if isinstance(encoder, Path) else encoder
    checkpoint = Checkpoint("own", "0" * 40, called, D_FEATURES, n_patches, D_MODEL)
    control = replace(checkpoint, name="control", encoder=f"random:{called}")
    for seed, each in enumerate((checkpoint, control)):
        _keep(each, seed, monkeypatch)
    preset = replace(
        own,
        language_model="tiny-gptj",
        language_model_source=str(gptj),
        encoder=called,
        encoder_source=str(encoder) if isinstance(encoder, Path) else None,
        published=checkpoint,
        control=control if own.control else None,
        folders=(checkpoint.folder,),
    )
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, name: preset})
    return checkpoint


def _keep(checkpoint: Checkpoint, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a projection into the cache, by the same way as a published one."""
    import io

    from molyneux.models import limber

    generator = torch.Generator().manual_seed(seed)
    state = {
        "proj.weight": torch.randn(D_MODEL, D_FEATURES, generator=generator).bfloat16(),
        "proj.bias": torch.randn(D_MODEL, generator=generator).bfloat16(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    monkeypatch.setattr(limber, "LANGUAGE_MODEL", "tiny-gptj")
    monkeypatch.setattr(limber, "_require_blob", lambda *args: None)  # tested in test_limber
    fetch_projection(checkpoint, opener=lambda url: io.BytesIO(buffer.getvalue()))


def test_a_preset_of_the_paper_sees_as_it_should(
    gptj: Path, beit: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    captioner = Captioner.load("gptj-beit")
    assert captioner.preset == "gptj-beit"
    assert not captioner.decoding.final_norm
    assert captioner.layout == Layout(None, "A picture of")
    assert not captioner.language_model.model.training
    assert not captioner.encoder.network.training  # type: ignore[attr-defined]
    assert captioner.projection.linear.weight.dtype == torch.float32
    prompt = captioner.see([photo])
    n_text = len(captioner.language_model.encode("A picture of"))
    assert prompt.n_positions == N_PATCHES + n_text
    assert prompt.patches == slice(0, N_PATCHES)
    assert torch.equal(captioner.see([photo]).embeddings, prompt.embeddings)
    # Greedy decoding is the argmax of every step, without a cache, over true tokens alone.
    written = captioner.write(prompt)[0]
    n_true = len(tiny_tokenizer())
    for position, token in enumerate(written):
        so_far = prompt.followed_by(captioner.language_model, written[:position])
        logits = captioner.language_model.run(inputs_embeds=so_far.embeddings).logits[0, -1]
        assert int(logits[:n_true].argmax()) == token
    status, out, _ = run(capsys, "caption", photo, "--preset", "gptj-beit")
    assert (status, out.strip()) == (0, captioner.caption(photo))


@pytest.mark.parametrize("rows", ["padded", "limber"])
def test_ids_beyond_the_vocabulary_are_never_decoded_or_written(rows: str, tmp_path: Path) -> None:
    folder = save_gptj(tmp_path / "gptj", rows=rows)
    model = load_language_model(folder).language_model
    n_true = len(tiny_tokenizer())
    assert len(model.tokenizer) == n_true + (PADDING_ROWS if rows == "padded" else 1)
    assert model.d_vocab == n_true
    assert model.unembedding().shape[0] == model.input_embeddings().shape[0] == n_true
    assert model.unembedding_bias().shape[0] == n_true  # type: ignore[union-attr]
    units = [Unit(layer, k) for layer in range(3) for k in range(20)]
    decoded = {token for item in decode_units(model, units, top=20) for token in item.tokens}
    assert decoded <= {model.token_text(token) for token in range(n_true)}


class Pooled:
    """An encoder that pools a photo to one vector, as NF-ResNet50 does in LiMBeR."""

    def __init__(self, name: str, n_patches: int = 1) -> None:
        toy = ToyEncoder(D_FEATURES)
        self.name, self.d_features = name, D_FEATURES
        self.grid = PatchGrid(1, n_patches)
        self.preprocessing = toy.preprocessing
        self._toy, self._n = toy, n_patches

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._toy.encode(pixels).mean(dim=1, keepdim=True).expand(-1, self._n, -1)


def test_an_encoder_object_serves_presets_that_transformers_cannot(
    gptj: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("gptj-nfrn50", gptj, "nf_resnet50", monkeypatch, 1)
    with pytest.raises(UsageError, match="named 'nf_resnet50'"):
        Captioner.load("gptj-nfrn50")
    captioner = Captioner.load("gptj-nfrn50", encoder=Pooled("nf_resnet50"))
    assert captioner.see([photo]).patches == slice(0, 1)
    assert captioner.caption(photo) == captioner.caption(photo)
    with pytest.raises(WeightsError, match="made for encoder 'nf_resnet50', not 'mine'"):
        Captioner.load("gptj-nfrn50", encoder=Pooled("mine"))
    with pytest.raises(WeightsError, match="trained on 1 patches a photo"):
        Captioner.load("gptj-nfrn50", encoder=Pooled("nf_resnet50", 2))


def test_an_encoder_with_random_weights_gets_the_random_projection(
    gptj: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiMBeR's own code gives it the projection of the trained encoder."""
    stand_in("gptj-nfrn50", gptj, "nf_resnet50", monkeypatch, 1)
    trained = Captioner.load("gptj-nfrn50", encoder=Pooled("nf_resnet50"))
    random = Captioner.load("gptj-nfrn50", encoder=Pooled("random:nf_resnet50"))
    assert random.projection.provenance["encoder"] == "random:nf_resnet50"
    assert trained.projection.provenance["encoder"] == "nf_resnet50"
    assert random.hashes["projection"] != trained.hashes["projection"]


def test_a_published_projection_decodes_alike_as_preset_and_as_parts(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    file = projection_path(checkpoint)
    preset = Captioner.load("gptj-beit")
    parts = Captioner.from_sources(gptj, beit, file)
    assert parts.decoding == preset.decoding == Decoding(False, False, False)
    save_projection(tmp_path / "own.safetensors", made("tiny-gptj", "tiny-beit"))
    own = Captioner.from_sources(gptj, beit, tmp_path / "own.safetensors")
    assert own.decoding == DEFAULT_DECODING
    asked = Captioner.from_sources(gptj, beit, file, decoding=Decoding(bias=True))
    assert asked.decoding == Decoding(True, True, True)


def test_a_reference_table_goes_with_the_decoding_it_was_measured_with(
    gptj: Path, beit: Path, projection: Path, tmp_path: Path, capsys: Any
) -> None:
    parts = ["--language-model", gptj, "--encoder", beit, "--projection", projection]
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
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


def test_doctor_leaves_out_what_was_replaced(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    checkpoint = stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    monkeypatch.setattr("molyneux.models.pieces.pieces_of", lambda preset: [])
    mine = tmp_path / "mine.safetensors"
    save_projection(mine, made("tiny-gptj", "tiny-beit"))
    shutil.rmtree(projection_path(checkpoint).parent)
    status, out, _ = run(capsys, "doctor", "--preset", "gptj-beit", "--projection", mine)
    assert (status, "FAIL" in out) == (0, False), out
    status, out, _ = run(capsys, "doctor", "--preset", "gptj-beit")
    assert status == 1


@pytest.mark.parametrize("wrong", [["--dtype", "int8"], ["--encoder", "somewhere"]])
def test_a_wrong_call_of_doctor_is_not_about_weights(wrong: list[str], capsys: Any) -> None:
    status, out, err = run(capsys, "doctor", *wrong)
    assert (status, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


def test_an_encoder_object_shows_photos_as_the_projection_was_trained(
    gptj: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = stand_in("gptj-nfrn50", gptj, "nf_resnet50", monkeypatch, 1)
    shown = CHECKPOINTS["nfrn50_4096_linear"].shown
    assert shown is not None
    own = presets.PRESETS["gptj-nfrn50"]
    preset = replace(own, published=replace(checkpoint, shown=shown))
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, "gptj-nfrn50": preset})
    encoder = Pooled("nf_resnet50")
    right = Preprocessing(384, 384, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    imagenet = replace(right, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    for wrong, said in (
        (imagenet, r"black pixel is \(0.00, 0.00, 0.00\).* makes it \(-2.12, -2.04, -1.80\)"),
        (replace(right, rescale=1.0), r"white pixel is \(1.00.* makes it \(255.00"),
        (replace(right, size=224), "384 x 384 pixels, and nf_resnet50 takes 224 x 224"),
    ):
        encoder.preprocessing = wrong
        with pytest.raises(WeightsError, match=said) as error:
            Captioner.load("gptj-nfrn50", encoder=encoder)
        assert "\n" not in str(error.value)
    # The same pixels by another way of writing them.
    encoder.preprocessing = replace(right, rescale=1.0, std=(255.0, 255.0, 255.0))
    captioner = Captioner.load("gptj-nfrn50", encoder=encoder)
    with pytest.raises(MolyneuxError, match="no patch"):
        receptive_fields(torch.ones(1, 1, 1), [Unit(0, 0)], [1], captioner.encoder.grid)
    clip = CHECKPOINTS["clip_linear"]
    assert clip.shown is not None
    given = Pooled("RN50x16", clip.n_patches)
    given.grid = PatchGrid(9, 16)
    with pytest.raises(WeightsError, match="a grid of 12 x 12, and RN50x16 has 9 x 16"):
        require_shown(clip.shown, given)


def test_a_model_with_too_few_positions_is_refused(
    gptj: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("gptj-clip", gptj, "RN50x16", monkeypatch, 144)
    with pytest.raises(WeightsError, match=r"has 96 positions, and 144 patches .* take 1[67]") as e:
        Captioner.load("gptj-clip", encoder=Pooled("RN50x16", 144))
    assert "\n" not in str(e.value)


def test_another_decoding_than_the_preset_s_goes_without_its_table(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As with the default preset, which ships a table: `reference` can measure another."""
    stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
    preset = ["--preset", "gptj-beit"]
    assert run(capsys, "reference", folder, "--out", tmp_path / "own", *preset)[0] == 0
    table = tmp_path / "own" / "reference.safetensors"
    with_table = replace(presets.PRESETS["gptj-beit"], reference=table)
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, "gptj-beit": with_table})
    assert Captioner.load("gptj-beit").reference is not None
    asked = [*preset, "--decoding", "final_norm,written"]
    status, _, err = run(capsys, "caption", folder / "0.png", *asked)
    assert status == 0, err
    assert Captioner.load("gptj-beit", decoding=DEFAULT_DECODING).reference is None
    study = ["study", folder, "--out", tmp_path / "study", "--experiments", "E3"]
    status, _, err = run(capsys, *study, *asked)
    assert status == 1
    assert "--decoding final_norm,written` measures one" in err
    status, _, err = run(capsys, "reference", folder, "--out", tmp_path / "other", *asked)
    assert status == 0, err


def test_a_table_that_does_not_record_its_decoding_was_measured_with_the_preset_s(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, photo in enumerate(tiny_photos(4)):
        photo.save(folder / f"{number}.png")
    captioner = Captioner.load("gptj-beit")
    table, _ = measure_reference(captioner, sorted(folder.iterdir()), data="x", n_listed=5)
    silent = {k: v for k, v in table.provenance.items() if k != "decoding"}
    older = replace(table, provenance=silent)
    assert captioner.with_reference(older).reference is older
    with pytest.raises(WeightsError, match="another final_norm"):
        replace(captioner, decoding=DEFAULT_DECODING).with_reference(older)


def test_a_projection_of_one_s_own_has_its_own_pixels(
    gptj: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = stand_in("gptj-nfrn50", gptj, "nf_resnet50", monkeypatch, 1)
    shown = CHECKPOINTS["nfrn50_4096_linear"].shown
    own = replace(presets.PRESETS["gptj-nfrn50"], published=replace(checkpoint, shown=shown))
    monkeypatch.setattr(presets, "PRESETS", {**PRESETS, "gptj-nfrn50": own})
    mine = tmp_path / "mine.safetensors"
    save_projection(mine, made("tiny-gptj", "nf_resnet50"))
    encoder = Pooled("nf_resnet50")
    with pytest.raises(WeightsError, match="384 x 384"):
        Captioner.load("gptj-nfrn50", encoder=encoder)
    assert Captioner.load("gptj-nfrn50", projection=mine, encoder=encoder).preset == "gptj-nfrn50"
