"""Vision-language models of every family, tiny and random, against Hugging Face's own passes."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_vlms
import torch
from claims import CLAIMS, DIFFERENCES, DOG, Claim, differences, figure
from PIL import Image
from subjects import of_vlm
from tiny_models import count_hooks, tiny_photos, weights_hash
from tiny_vlms import (
    CENTRE,
    D_MLP,
    D_MODEL,
    GRID,
    N_LAYERS,
    VLM_KINDS,
    hugging_face_inputs,
    tiny_vlm,
    tiny_vlm_parts,
)
from torch import Tensor

from molyneux.adapters.proof.prove import prove
from molyneux.adapters.registry import find_vision_family
from molyneux.atlas import open_atlas
from molyneux.errors import AdapterError, UsageError, WeightsError
from molyneux.explain.photo import explain_photo
from molyneux.explain.run import explain_photos
from molyneux.explain.seen import seen_photo
from molyneux.explain.settings import Settings
from molyneux.hooks import capture
from molyneux.models.seeing_model import SeeingModel
from molyneux.models.vlm import VisionLanguageModel
from molyneux.models.vlm_loading import load_vlm
from molyneux.models.vlm_proof import prove_patches
from molyneux.neurons.ablation import silenced
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.sinks import patch_norms
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

CAT = 21
every_vlm = pytest.mark.parametrize("vlm_kind", VLM_KINDS)


@functools.cache
def made(vlm_kind: str) -> VisionLanguageModel:
    """One model of each kind for all tests: none may change its weights."""
    return tiny_vlm(vlm_kind)


@functools.cache
def photo() -> Image.Image:
    return tiny_photos(1)[0]


def longer(vlm_kind: str, inputs: dict[str, Tensor], written: list[int]) -> dict[str, Tensor]:
    """Hugging Face's inputs with a caption behind the prompt."""
    more = torch.tensor([written], dtype=torch.long)
    values = {
        "input_ids": more,
        "attention_mask": torch.ones_like(more),
        "mm_token_type_ids": torch.zeros_like(more),
        "token_type_ids": torch.full_like(more, int(vlm_kind.startswith("paligemma"))),
    }
    return {
        key: torch.cat([value, values[key].to(value.dtype)], dim=1) if key in values else value
        for key, value in inputs.items()
    }


def logits_of(seeing: VisionLanguageModel, prompt: ImagePrompt) -> Tensor:
    with torch.no_grad():
        model = seeing.language_model
        found: Tensor = model.run(inputs_embeds=prompt.embeddings, beside=prompt.given()).logits
    return found


@every_vlm
def test_logits_are_hugging_faces_for_the_prompt_and_for_every_step_of_a_caption(
    vlm_kind: str,
) -> None:
    seeing = made(vlm_kind)
    model, prompt = seeing.language_model, seeing.see([photo()])
    inputs = hugging_face_inputs(vlm_kind, seeing, photo())
    assert inputs["input_ids"].shape[1] == prompt.n_positions
    with torch.no_grad():
        theirs = model.model(**inputs).logits
    torch.testing.assert_close(logits_of(seeing, prompt), theirs)

    written = seeing.write(prompt, 6)[0]
    assert len(written) > 2
    continued = prompt.followed_by(model, written)
    with torch.no_grad():
        theirs = model.model(**longer(vlm_kind, inputs, written)).logits
    torch.testing.assert_close(logits_of(seeing, continued), theirs)

    with torch.no_grad():  # step by step, what is before in the cache
        output = model.run(inputs_embeds=prompt.embeddings, beside=prompt.given(), use_cache=True)
        for step, token in enumerate(written):
            output = model.run(
                input_ids=torch.tensor([[token]]),
                past_key_values=output.past_key_values,
                beside=prompt.given_at(step),
                use_cache=True,
            )
            expected = theirs[:, prompt.n_positions + step]
            torch.testing.assert_close(output.logits[:, -1], expected, rtol=1e-4, atol=1e-5)


@every_vlm
def test_the_image_and_its_text_matter(vlm_kind: str) -> None:
    """So that equal logits are known to be logits of a photo."""
    seeing = made(vlm_kind)
    prompt = seeing.see([photo()])
    blank = seeing.see([Image.new("RGB", photo().size, (128, 128, 128))])
    assert not torch.allclose(logits_of(seeing, prompt)[:, -1], logits_of(seeing, blank)[:, -1])
    if prompt.beside:
        without = ImagePrompt(prompt.embeddings, prompt.patches)
        body: Any = seeing.language_model.model.get_submodule("model")
        if seeing.family.positions is not None:
            body.rope_deltas = None  # left by Hugging Face's own passes
        assert not torch.allclose(logits_of(seeing, prompt), logits_of(seeing, without))
    else:
        assert seeing.family.token_types is None
        assert seeing.family.positions is None


@every_vlm
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
def test_what_is_claimed_of_every_family(vlm_kind: str, claim: Claim) -> None:
    found = figure(claim, of_vlm, vlm_kind)
    assert claim.holds(found), found


@every_vlm
def test_totals_behind_a_caption_agree_with_central_differences(vlm_kind: str) -> None:
    found = differences(of_vlm(vlm_kind, torch.float64).followed_by([DOG, CAT]))
    assert DIFFERENCES.holds(found), found


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
def test_of_a_wrong_row_nothing_claimed_holds(
    monkeypatch: pytest.MonkeyPatch, claim: Claim
) -> None:
    """The row names a projection of attention, in a model where all have the MLP's shape."""
    monkeypatch.setattr(tiny_vlms, "D_MLP", D_MODEL)
    subject = of_vlm.__wrapped__("llava", claim.dtype)  # not kept for others
    assert claim.holds(claim.measure(subject))
    row = dataclasses.replace(subject.model.family, down="self_attn.o_proj")
    found = claim.measure(subject.with_row(row))
    assert not claim.holds(found)
    assert found > 100 * claim.bound


@every_vlm
def test_a_caption_is_what_is_written_as_text(vlm_kind: str) -> None:
    seeing = made(vlm_kind)
    written = seeing.write(seeing.see([photo()]))[0]
    assert written
    assert seeing.caption(photo()) == seeing.language_model.decode(written).strip()


@every_vlm
def test_every_patch_lies_where_the_grid_says(vlm_kind: str) -> None:
    """By changing the photo under it: all cells, in raster order, on a photo that is not square."""
    seeing = made(vlm_kind)
    grid = seeing.encoder.grid
    assert (grid.rows, grid.columns) == (GRID, GRID)
    wide = Image.new("RGB", (160, 96))
    places = [(x, y) for y in range(96) for x in range(160)]
    wide.putdata([((x * 2) % 256, (y * 3) % 256, (x + y) % 256) for x, y in places])
    checks = prove_patches(seeing, wide, range(grid.n_patches))
    assert [check for check in checks if not check.holds] == []
    high = wide.transpose(Image.Transpose.ROTATE_90)
    assert all(check.holds for check in prove_patches(seeing, high))


def test_a_wrong_grid_is_noticed() -> None:
    seeing = made("llava")
    grid = seeing.encoder.grid
    prompt = seeing.see([photo()])
    assert prompt.patches.stop - prompt.patches.start == grid.n_patches
    squeezed = made("llava_next")  # shows the whole photo: its cells are not those of a crop
    crop = copy.copy(squeezed)
    elsewhere = seeing.encoder.preprocessing
    eye = dataclasses.replace(squeezed.encoder, preprocessing=elsewhere)
    object.__setattr__(crop, "encoder", eye)
    wide = tiny_photos(1)[0].resize((192, 64))
    assert not all(check.holds for check in prove_patches(crop, wide, range(grid.n_patches)))


@every_vlm
def test_patches_hold_the_models_own_image_features(vlm_kind: str) -> None:
    seeing = made(vlm_kind)
    prompt = seeing.see([photo()])
    features = seeing.features(seeing.pixels(photo()))
    at_patches = prompt.embeddings[0, prompt.patches]
    torch.testing.assert_close(seeing.image_prompts([photo()])[0], at_patches)
    ahead = 0 if seeing.family.tiles else len(features) - GRID * GRID
    torch.testing.assert_close(at_patches, features[ahead : ahead + GRID * GRID])
    assert (len(features) > GRID * GRID) == seeing.family.tiles


@every_vlm
def test_the_row_of_the_language_model_is_proved(vlm_kind: str) -> None:
    """Conservation, silencing against zeroed weights, scales, and a write's direction."""
    checks = prove(made(vlm_kind).language_model)
    assert len(checks) > 6
    assert [check for check in checks if not check.holds] == []


@every_vlm
def test_silencing_patches_leaves_other_positions_alone(vlm_kind: str) -> None:
    seeing = made(vlm_kind)
    model, prompt = seeing.language_model, seeing.see([photo()])
    first = {0: model.down_projection(0)}
    with capture(first) as intact:
        logits_of(seeing, prompt)
    masks = unit_mask([Unit(0, 7)], N_LAYERS, D_MLP)[None]
    with silenced(model, masks, prompt.patches, "patches"), capture(first) as seen:
        logits_of(seeing, prompt)
    expected = intact[0].clone()
    expected[:, prompt.patches, 7] = 0
    assert torch.equal(seen[0], expected)
    assert intact[0][:, prompt.patches, 7].any()


@every_vlm
def test_attribution_reports_the_targets_logit(vlm_kind: str) -> None:
    seeing = made(vlm_kind)
    model = seeing.language_model
    prompt = seeing.see([photo()]).followed_by(model, [DOG])
    found = attribute_units(model, prompt, [Target(CAT, prompt.n_positions - 1)])
    torch.testing.assert_close(found.logit, logits_of(seeing, prompt)[0, -1, [CAT]])
    assert found.activation.shape == (N_LAYERS, GRID * GRID, D_MLP)
    assert patch_norms(model, prompt).shape == (1, N_LAYERS, GRID * GRID)
    decoded = decode_units(model, [Unit(0, 0), Unit(1, 3), Unit(2, 6)], [1, -1, 1])
    assert all(len(one.tokens) == 10 for one in decoded)


@every_vlm
def test_a_batch_of_photos_equals_each_alone(vlm_kind: str) -> None:
    seeing = made(vlm_kind)
    photos = tiny_photos(2)
    together = seeing.see(photos)
    assert isinstance(seeing, SeeingModel)
    for row, one in enumerate(photos):
        alone = seeing.see([one])
        torch.testing.assert_close(together.embeddings[row : row + 1], alone.embeddings)
        torch.testing.assert_close(
            logits_of(seeing, together)[row], logits_of(seeing, alone)[0], rtol=1e-4, atol=1e-5
        )
        assert together.photo(row).given().keys() == alone.given().keys()
        for name, values in together.photo(row).given().items():
            assert torch.equal(values, alone.given()[name])
    assert seeing.caption_all(photos) == [
        seeing.language_model.decode(ids).strip() for ids in seeing.write(together)
    ]


@pytest.mark.parametrize("vlm_kind", ["llava_next", "qwen2_vl", "paligemma", "gemma3"])
def test_explaining_a_photo_from_end_to_end(vlm_kind: str, tmp_path: Path) -> None:
    seeing = made(vlm_kind)
    before = weights_hash(seeing.language_model.model)
    hooks = count_hooks(seeing.language_model.model)
    path = tmp_path / "photo.png"
    photo().save(path)
    settings = Settings(grid=[0, 20], top=4, words=("dog",), seeds=1)
    explained = explain_photo(seeing, path, settings)
    image = explained.image
    assert image.grid == (GRID, GRID)
    assert image.caption == seeing.caption(path)
    word = image.words[-1]
    assert word.word == "dog"
    assert len(word.rankings["raw"].patches) == 4
    assert word.ablation is not None
    assert word.ablation.grid == (0, 20)
    assert word.ablation.top[0] == pytest.approx(1.0)
    assert explained.fields["0.raw.patches"].shape == (4, GRID, GRID)
    assert weights_hash(seeing.language_model.model) == before
    assert count_hooks(seeing.language_model.model) == hooks
    shown = Image.open(io.BytesIO(seen_photo(seeing, path)))
    assert shown.size[0] == shown.size[1]


def test_a_run_of_photos_with_its_page(tmp_path: Path) -> None:
    from molyneux.pages.one_file import write_report

    seeing = made("gemma3")
    path = tmp_path / "photo.png"
    photo().save(path)
    settings = Settings(grid=[0, 5], top=3, words=("dog",), ablate="none")
    run = explain_photos(seeing, [path], settings, tmp_path / "run")
    model = run.document().model
    assert model.language_model == "tiny-gemma3"
    assert model.projection["projector"] == "the model's own"
    assert model.layout["text"] == "A picture of"
    write_report(run.folder)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "tiny-gemma3" in page


@pytest.mark.parametrize("vlm_kind", ["llava", "qwen2_vl", "paligemma", "idefics3", "internvl"])
def test_a_folder_as_save_pretrained_writes_it(
    vlm_kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer, processor = tiny_vlm_parts(vlm_kind)
    folder = tmp_path / f"my-{vlm_kind}"
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    centre = CENTRE if vlm_kind.startswith("qwen2") else None
    told: list[str] = []
    loaded = load_vlm(folder, centre=centre, note=told.append)
    assert loaded.names["language_model"] == f"my-{vlm_kind}"
    assert len(loaded.hashes["language_model"]) == 64
    assert loaded.projection.hash() == loaded.hashes["language_model"]
    assert any("hashing" in line for line in told)
    ours, theirs = loaded.see([photo()]), made(vlm_kind).see([photo()])
    # Weights that are read from a file lie otherwise in memory: kernels may sum in another order.
    torch.testing.assert_close(ours.embeddings, theirs.embeddings)
    assert loaded.caption(photo()) == made(vlm_kind).caption(photo())
    if vlm_kind == "llava":
        half = load_vlm(str(folder), dtype="bfloat16")
        assert half.see([photo()]).embeddings.dtype == torch.bfloat16
        assert half.language_model.dtype == torch.bfloat16


def test_the_command_line_captions_and_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from molyneux.cli import main

    folder, path = tmp_path / "tiny", tmp_path / "photo.png"
    for part in tiny_vlm_parts("llava"):
        part.save_pretrained(folder)
    photo().save(path)
    assert main(["caption", str(path), "--vlm", str(folder)]) == 0
    caption = made("llava").caption(photo())
    assert capsys.readouterr().out.strip() == caption
    asked = ["explain", str(path), "--vlm", str(folder), "--out", str(tmp_path / "run")]
    assert main([*asked, "--word", "dog", "--top", "3", "--json", "--ablate", "none"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"][0]["caption"] == caption
    atlas = str(tmp_path / "atlas")
    assert main(["atlas", "build", "--vlm", str(folder), "--out", atlas, "--json"]) == 0
    capsys.readouterr()
    language, built = made("llava").language_model, open_atlas(atlas)
    (decoded,) = decode_units(language, ["L1.u3"])
    norm = next(each for each in built.unit("L1.u3").writes if each.lens == "norm")
    assert [*norm.tokens] == decoded.tokens
    assert main(["atlas", "join", atlas, str(tmp_path / "run"), "--json"]) == 0
    capsys.readouterr()
    assert main(["caption", str(path), "--vlm", str(folder), "--preset", "smollm2-effnet"]) != 0
    assert "without --preset" in capsys.readouterr().err


def test_another_prompt_is_recorded_and_continued() -> None:
    model, tokenizer, processor = tiny_vlm_parts("llava")
    asked = VisionLanguageModel.from_parts(
        model, tokenizer, processor, prompt="a dog {image} and a cat"
    )
    assert asked.layout.record()["text"] == "and a cat"
    prompt = asked.see([photo()])
    assert prompt.patches.start > 1
    assert asked.projection.provenance["layout"]["prompt"] == "a dog {image} and a cat"
    for wrong in ("no image", "{image}{image}"):
        with pytest.raises(UsageError, match="must hold"):
            VisionLanguageModel.from_parts(model, tokenizer, processor, prompt=wrong)
    with pytest.raises(UsageError, match="leave the size out"):
        VisionLanguageModel.from_parts(model, tokenizer, processor, centre=64)


def test_photos_of_other_shapes_make_prompts_of_other_lengths_where_there_are_tiles() -> None:
    seeing = made("llava_next")
    wide, high = photo().resize((90, 40)), photo().resize((60, 60))
    lengths = {seeing.see([one]).n_positions for one in (wide, high)}
    assert len(lengths) == 2
    with pytest.raises(UsageError, match="see them one at a time"):
        seeing.see([wide, high])
    assert len(seeing.caption_all([wide, high])) == 2


def test_an_image_processor_that_shows_another_part_is_refused() -> None:
    from transformers import CLIPImageProcessorPil

    model, tokenizer, _ = tiny_vlm_parts("paligemma")
    cropping = CLIPImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"height": 32, "width": 32}
    )
    with pytest.raises(AdapterError, match="does not show PaliGemma the part"):
        VisionLanguageModel.from_parts(model, tokenizer, cropping)
    model, tokenizer, _ = tiny_vlm_parts("llava")
    larger = CLIPImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 40, "width": 40}
    )
    with pytest.raises((AdapterError, ValueError)):
        VisionLanguageModel.from_parts(model, tokenizer, larger)


def test_a_size_that_is_no_multiple_of_a_cell_is_refused() -> None:
    model, tokenizer, processor = tiny_vlm_parts("qwen2_vl")
    for centre in (30, 8, 256):  # no multiple; made larger, made smaller by the image processor
        with pytest.raises(UsageError, match="multiple of 8"):
            VisionLanguageModel.from_parts(model, tokenizer, processor, centre=centre)


def test_another_models_tokenizer_is_refused() -> None:
    from tiny_models import tiny_tokenizer

    model, _, processor = tiny_vlm_parts("llava")
    with pytest.raises(AdapterError, match="not this model's tokenizer"):
        VisionLanguageModel.from_parts(model, tiny_tokenizer(), processor)


def test_what_is_not_known_is_an_error_that_names_neighbours(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"'llava_nxt'.*near matches: llava"):
        find_vision_family("llava_nxt")
    config: Any = copy.deepcopy(tiny_vlm_parts("llava")[0].config)
    config.vision_config.model_type = "pixtral"
    with pytest.raises(AdapterError, match="'pixtral'"):
        find_vision_family("llava", config)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mllama"}))
    with pytest.raises(AdapterError, match="'mllama'"):
        load_vlm(tmp_path)
    with pytest.raises(WeightsError, match="there is no"):
        load_vlm(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not a dtype"):
        load_vlm(tmp_path, dtype="int8")
    full: Any = copy.deepcopy(tiny_vlm_parts("llava_next")[0].config)
    full.vision_feature_select_strategy = "full"
    side = find_vision_family("llava_next").side
    assert side is not None
    with pytest.raises(AdapterError, match="class token"):
        side(full)


def test_a_reference_table_of_another_model_or_prompt_is_refused() -> None:
    from molyneux.neurons.reference import Reference

    def table(**provenance: Any) -> Reference:
        return Reference(provenance, {}, {}, {}, torch.zeros(2, 1, 1).bool(), [])

    seeing = made("llava")
    digest, layout = seeing.projection.hash(), seeing.layout.record()
    with pytest.raises(WeightsError, match=r"another projection \(ffff"):
        seeing.with_reference(table(projection="f" * 64, layout=layout))
    with pytest.raises(WeightsError, match=r"another prompt \(USER: \{image\} ASSISTANT:, not"):
        seeing.with_reference(
            table(projection=digest, layout={**layout, "prompt": "USER: {image} ASSISTANT:"})
        )
    with pytest.raises(WeightsError, match="another layout"):
        seeing.with_reference(table(projection=digest))
    # The folder may have another name: the weights' hash decides.
    right = table(projection=digest, layout=layout, language_model="another name")
    assert seeing.with_reference(right).reference is right


@pytest.mark.parametrize("vlm_kind", ["llava", "gemma3", "qwen2_vl"])
def test_layers_that_fit_nowhere_are_read_when_needed(vlm_kind: str, tmp_path: Path) -> None:
    """As `--device split` has it where one device is too small."""
    folder = tmp_path / "model"
    for part in tiny_vlm_parts(vlm_kind):
        part.save_pretrained(folder)
    centre = CENTRE if vlm_kind.startswith("qwen2") else None
    seeing = load_vlm(folder, centre=centre, device_map="auto", max_memory={"cpu": 60_000})
    model = seeing.language_model
    assert any(parameter.is_meta for parameter in model.model.parameters())
    whole = made(vlm_kind)
    torch.testing.assert_close(seeing.see([photo()]).embeddings, whole.see([photo()]).embeddings)
    assert seeing.caption(photo()) == whole.caption(photo())
    prompt = seeing.see([photo()])
    target = [Target(DOG, prompt.n_positions - 1)]
    ours, theirs = (
        attribute_units(one, prompt, target).patches.score for one in (model, whole.language_model)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_turn_ends_where_the_model_s_own_generation_ends_it() -> None:
    """Chat models name tokens there that their tokenizers do not call special."""
    seeing = tiny_vlm("llava")
    prompt = seeing.see([photo()])
    model = seeing.language_model.model
    written = seeing.write(prompt)[0]
    assert len(written) > 4
    stop = written[3]
    assert stop not in written[:3]
    model.generation_config.eos_token_id = [1, stop]
    assert seeing.write(prompt)[0] == written[:3]
    model.generation_config.eos_token_id = stop
    assert seeing.write(prompt)[0] == written[:3]
    inputs = hugging_face_inputs("llava", seeing, photo())
    with torch.no_grad():
        rows = model.get_input_embeddings().weight.shape[0]
        padding = list(range(seeing.language_model.d_vocab, rows))
        theirs = model.generate(
            **inputs, max_new_tokens=20, do_sample=False, suppress_tokens=padding
        )[0]
    assert theirs[inputs["input_ids"].shape[1] :].tolist() == [*written[:3], stop]


@pytest.mark.parametrize("vlm_kind", ["gemma3", "idefics3", "internvl", "llava", "qwen2_vl"])
def test_another_family_s_image_processor_is_called_so(vlm_kind: str) -> None:
    other = "qwen2_vl" if vlm_kind == "llava" else "llava"
    model, tokenizer, _ = tiny_vlm_parts(vlm_kind)
    centre = CENTRE if vlm_kind.startswith("qwen2") else None
    with pytest.raises(AdapterError, match="image processor") as error:
        VisionLanguageModel.from_parts(
            model, tokenizer, tiny_vlms.tiny_image_processor(other), centre=centre, name="mine"
        )
    assert "\n" not in str(error.value)
