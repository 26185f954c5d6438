"""Training: what is read, what is learned, and that an interruption changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_photos, weights_hash

from molyneux.cli import main
from molyneux.errors import RunError, UsageError
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.training.caption_files import load_examples, read_examples
from molyneux.training.examples import Example
from molyneux.training.features import cache_features
from molyneux.training.loss import IGNORED, caption_ids, caption_loss
from molyneux.training.recipe import Recipe
from molyneux.training.run import Conduct, train_projection, views_needed
from molyneux.training.run_folder import open_training_run
from molyneux.vision.layout import Layout
from molyneux.vision.projection import load_projection

RECIPE = Recipe(steps=6, batch=4, every=2, whole=0.34)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, photo in enumerate(tiny_photos(6)):
        photo.save(tmp_path / f"{number}.png")
    lines = [
        {"file": f"{n}.png", "captions": [f"a {word}.", f"a picture of a {word}."]}
        for n, word in enumerate(["dog", "cat", "dog", "cat", "dog", "cat"])
    ]
    (tmp_path / "captions.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return tmp_path


@pytest.fixture
def parts(captioner: Captioner) -> Parts:
    return Parts(captioner.language_model, captioner.encoder, captioner.names, {})


@pytest.fixture
def begin(captioner: Captioner) -> Layout:
    return captioner.layout


def trained(parts: Parts, folder: Path, out: Path, layout: Layout, **options: Any) -> Any:
    training, held_out = load_examples(folder)
    recipe = replace(RECIPE, **options.pop("recipe", {}))
    return train_projection(
        parts,
        training,
        held_out,
        layout,
        recipe,
        open_training_run(out),
        data_name="drawings",
        conduct=Conduct(**options),
    )


def test_an_interrupted_run_equals_an_uninterrupted_one(
    parts: Parts, folder: Path, begin: Layout
) -> None:
    whole, log = trained(parts, folder, folder / "whole", begin)

    def stop(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(parts, folder, folder / "parts", begin, on_step=stop)
    resumed, log_resumed = trained(parts, folder, folder / "parts", begin)
    assert torch.equal(whole.linear.weight, resumed.linear.weight)
    assert torch.equal(whole.linear.bias, resumed.linear.bias)
    assert log == log_resumed


def test_other_settings_do_not_resume(parts: Parts, folder: Path, begin: Layout) -> None:
    trained(parts, folder, folder / "run", begin)
    with pytest.raises(RunError, match="learning_rate"):
        trained(parts, folder, folder / "run", begin, recipe={"learning_rate": 1e-5})


def test_a_begin_token_of_another_model_is_refused_before_anything_is_done(
    parts: Parts, folder: Path
) -> None:
    with pytest.raises(UsageError, match=r"has no token '<\|nowhere\|>'.*choose .* --begin"):
        trained(parts, folder, folder / "run", Layout("<|nowhere|>"))
    assert not (folder / "run").exists()


def test_training_lowers_the_loss_and_touches_nothing_frozen(
    parts: Parts, folder: Path, begin: Layout
) -> None:
    before = weights_hash(parts.language_model.model)
    _, log = trained(
        parts,
        folder,
        folder / "run",
        begin,
        recipe={"steps": 60, "every": 30, "learning_rate": 1e-2, "dropout": 0.0},
    )
    early = sum(entry["loss"] for entry in log[:10])
    assert sum(entry["loss"] for entry in log[-10:]) < 0.9 * early
    assert weights_hash(parts.language_model.model) == before


def test_the_record_says_where_the_weights_come_from(
    parts: Parts, folder: Path, begin: Layout
) -> None:
    trained(parts, folder, folder / "run", begin)
    record = load_projection(folder / "run" / "projection.safetensors").provenance
    assert record["kind"] == "trained"
    assert record["data"] == "drawings"
    assert record["layout"] == begin.record()
    assert record["photos"] + record["held_out_photos"] == 6
    assert set(record["held_out"]) == {"loss", "hit", "cider", "woman", "man"}
    assert (folder / "run" / "loss.png").stat().st_size > 1000
    assert (folder / "run" / "log.jsonl").read_text().count("\n") == RECIPE.steps


def test_all_patches_kept_is_no_patch_dropped(captioner: Captioner) -> None:
    model = captioner.language_model
    n = captioner.encoder.grid.n_patches
    prompts = torch.randn(2, n, model.d_model, generator=torch.Generator().manual_seed(0))
    captions = caption_ids(model, ["a dog.", "a cat."])
    kept = torch.arange(n).expand(2, -1)
    whole = caption_loss(model, captioner.layout, prompts, captions)
    assert torch.allclose(whole, caption_loss(model, captioner.layout, prompts, captions, kept, n))


def test_a_dropped_patch_leaves_the_others_where_they_were(captioner: Captioner) -> None:
    """A rotary model sees positions only: masking a patch must equal leaving it out."""
    model = captioner.language_model
    n = captioner.encoder.grid.n_patches
    prompts = torch.randn(1, n, model.d_model, generator=torch.Generator().manual_seed(0))
    captions = caption_ids(model, ["a dog."])
    kept = torch.tensor([[i for i in range(n) if i != 3]])
    loss = caption_loss(model, captioner.layout, prompts[:, kept[0]], captions, kept, n)
    from molyneux.vision.layout import lay_out

    prompt = lay_out(model, captioner.layout, prompts).followed_by(model, captions[0, :-1].tolist())
    mask = torch.ones(1, prompt.n_positions, dtype=torch.long)
    mask[0, prompt.patches.start + 3] = 0
    positions = torch.arange(prompt.n_positions)[None]
    logits = model.model(
        inputs_embeds=prompt.embeddings, attention_mask=mask, position_ids=positions
    ).logits[0, -captions.shape[1] :]
    expected = torch.nn.functional.cross_entropy(logits, captions[0])
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_padding_does_not_change_the_loss(captioner: Captioner) -> None:
    model = captioner.language_model
    prompts = torch.randn(1, captioner.encoder.grid.n_patches, model.d_model)
    captions = caption_ids(model, ["a dog."])
    padded = torch.nn.functional.pad(captions, (0, 4), value=IGNORED)
    plain = caption_loss(model, captioner.layout, prompts, captions)
    assert torch.allclose(plain, caption_loss(model, captioner.layout, prompts, padded))


def test_features_are_read_back_and_bad_photos_named(captioner: Captioner, folder: Path) -> None:
    (folder / "bad.png").write_text("no photo")
    examples = [Example(folder / name, ("a dog.",)) for name in ("0.png", "bad.png", "1.png")]
    features, first, refused = cache_features(
        captioner.encoder, examples, [2, 1, 1], folder / "features", seed=0
    )
    assert first.tolist() == [0, -1, 2]
    assert "bad.png" in refused[0]
    expected = captioner.encode([folder / "1.png"])[0].half()
    # Encoded alone there, and in a whole batch here: one rounding to float16 apart.
    torch.testing.assert_close(torch.from_numpy(features[2].copy()), expected, rtol=0, atol=1e-3)
    again, _, _ = cache_features(
        captioner.encoder, examples, [2, 1, 1], folder / "features", seed=0
    )
    assert (again.take([0, 1, 2]) == features.take([0, 1, 2])).all()


def test_csv_and_coco_are_read(folder: Path) -> None:
    (folder / "captions.jsonl").unlink()
    (folder / "captions.csv").write_text("file,caption\n0.png,a dog.\n0.png,a pet.\n1.png,a cat.\n")
    training, held_out = load_examples(folder)
    assert {e.file.name: e.captions for e in training + held_out} == {
        "0.png": ("a dog.", "a pet."),
        "1.png": ("a cat.",),
    }
    (folder / "captions.csv").unlink()
    (folder / "annotations").mkdir()
    document = {
        "images": [{"id": 1, "file_name": "0.png"}, {"id": 2, "file_name": "1.png"}],
        "annotations": [
            {"image_id": 1, "caption": "a dog."},
            {"image_id": 2, "caption": "a cat."},
        ],
    }
    (folder / "annotations" / "captions_train2017.json").write_text(json.dumps(document))
    training, held_out = load_examples(folder)
    assert {e.file.name: e.captions for e in training + held_out} == {
        "0.png": ("a dog.",),
        "1.png": ("a cat.",),
    }


@pytest.mark.parametrize(("line", "said"), [("{", "no JSON"), ('{"file": "0.png"}', "no caption")])
def test_a_bad_line_is_named(folder: Path, line: str, said: str) -> None:
    (folder / "captions.jsonl").write_text(line)
    with pytest.raises(UsageError, match=said):
        load_examples(folder)


@pytest.mark.parametrize(
    "crop",
    [
        [0, 0, 3],
        "abcd",
        [1.5, 0, 3, "x"],
        [0, 0, 3, 2.5],
        [0, 0, True, True],
        [3, 0, 3, 4],
        [0, 5, 3, 4],
        [-1, 0, 3, 4],
        [0, -1, 3, 4],
        [],
        0,
        3,
        {"left": 0},
    ],
)
def test_a_bad_crop_is_named(folder: Path, crop: Any) -> None:
    lines = (folder / "captions.jsonl").read_text().splitlines()
    lines.insert(1, json.dumps({"file": "0.png", "caption": "a dog.", "crop": crop}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    with pytest.raises(
        UsageError, match=r"captions\.jsonl, line 2: the crop .* four whole"
    ) as said:
        load_examples(folder)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("weight", [0, -1, True, "much", None, math.nan, math.inf])
def test_a_bad_weight_is_named(folder: Path, weight: Any) -> None:
    line = json.dumps({"file": "0.png", "caption": "a dog.", "weight": weight})
    (folder / "captions.jsonl").write_text(line)
    with pytest.raises(UsageError, match=r"captions\.jsonl, line 1: the weight .* above 0"):
        load_examples(folder)


@pytest.mark.parametrize("crop", [None, [0, 1, 2, 3]])
def test_a_crop_is_taken(folder: Path, crop: Any) -> None:
    line = json.dumps({"file": "0.png", "caption": "a dog.", "crop": crop})
    (folder / "captions.jsonl").write_text(line)
    ((example,), _) = read_examples(folder)
    assert example.crop == (tuple(crop) if crop else None)


@pytest.mark.parametrize("option", ["workers", "accumulate", "checkpoint"])
def test_a_conduct_of_nothing_is_refused(option: str) -> None:
    for number in (0, -1):
        with pytest.raises(UsageError, match=f"give --{option} 1"):
            Conduct(**{option: number})


def test_no_captions_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"captions\.jsonl"):
        load_examples(tmp_path)


def test_views_follow_how_often_an_example_is_drawn() -> None:
    examples = [Example(Path("a"), ("x",), weight=9.0), Example(Path("b"), ("x",), weight=1.0)]
    assert views_needed(examples, Recipe(steps=10, batch=5), most=8) == [8, 2]


def test_the_command_trains_and_its_projection_captions(
    parts: Parts, captioner: Captioner, folder: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Parts, "load", lambda *args, **options: parts)
    tokenizer = captioner.language_model.tokenizer
    monkeypatch.setattr("molyneux.models.parts.load_tokenizer", lambda *args: (tokenizer, "tiny"))
    arguments = [
        "train",
        str(folder),
        "--out",
        str(folder / "run"),
        "--steps",
        "4",
        "--batch",
        "2",
        "--every",
        "2",
        "--begin",
        captioner.layout.begin or "",
        "--bertscore",
        "none",
        "--json",
    ]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    seeing = Captioner.join(parts, load_projection(Path(summary["projection"])))
    assert isinstance(seeing.caption(folder / "0.png"), str)


def test_a_run_interrupted_while_features_are_made_is_resumed(
    parts: Parts, folder: Path, begin: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("molyneux.training.features._encode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(parts, folder, folder / "run", begin)
    assert not list((folder / "run").rglob("*.part"))
    projection, _ = trained(parts, folder, folder / "run", begin)
    assert projection.provenance["kind"] == "trained"


def test_features_that_do_not_fit_the_disk_are_refused(
    captioner: Captioner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(RunError, match="--features live"):
        cache_features(
            captioner.encoder, [Example(folder / "0.png", ("a dog.",))], [1], folder / "f", seed=0
        )
    assert not list((folder / "f").iterdir())


@pytest.mark.parametrize("text", ["[1, 2]", '{"file": "0.png", "captions": ["a"], "crop": 3}'])
def test_malformed_captions_are_one_line(folder: Path, text: str) -> None:
    (folder / "captions.jsonl").write_text(text)
    with pytest.raises(UsageError):
        load_examples(folder)
