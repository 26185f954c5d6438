"""The paper's presets on stand-ins of the same make, and encoders given as objects."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stand_ins import N_PATCHES, Pooled, made, run, save_few, save_gptj, stand_in
from tiny_models import (
    PADDING_ROWS,
    tiny_tokenizer,
)

from molyneux.checkpoints.language_models import load_language_model
from molyneux.errors import MolyneuxError, UsageError, WeightsError
from molyneux.explain.measure_reference import measure_reference
from molyneux.models import presets
from molyneux.models.captioner import Captioner
from molyneux.models.compatibility import require_shown
from molyneux.models.presets import PRESETS
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.neurons.receptive_fields import receptive_fields
from molyneux.neurons.unit import Unit
from molyneux.vision.encoder import PatchGrid, Preprocessing
from molyneux.vision.layout import Layout
from molyneux.vision.projection import save_projection
from molyneux.weights.limber import CHECKPOINTS, projection_path

pytestmark = pytest.mark.usefixtures("no_caches")


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


def test_doctor_leaves_out_what_was_replaced(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    checkpoint = stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    monkeypatch.setattr("molyneux.models.presets.pieces_of", lambda preset: [])
    mine = tmp_path / "mine.safetensors"
    save_projection(mine, made("tiny-gptj", "tiny-beit"))
    shutil.rmtree(projection_path(checkpoint).parent)
    status, out, _ = run(capsys, "doctor", "--preset", "gptj-beit", "--projection", mine)
    assert (status, "FAIL" in out) == (0, False), out
    status, out, _ = run(capsys, "doctor", "--preset", "gptj-beit")
    assert status == 1


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
    folder = save_few(tmp_path / "photos")
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
    assert status == 2
    assert "--decoding final_norm,written` measures one" in err
    status, _, err = run(capsys, "reference", folder, "--out", tmp_path / "other", *asked)
    assert status == 0, err


def test_a_table_that_does_not_record_its_decoding_was_measured_with_the_preset_s(
    gptj: Path, beit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stand_in("gptj-beit", gptj, beit, monkeypatch, N_PATCHES)
    folder = save_few(tmp_path / "photos")
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
