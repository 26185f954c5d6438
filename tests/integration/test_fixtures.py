"""The supplement's fixtures, on tiny GPT-Js whose units were planted to pass one way alone."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from tiny_encoders import write_checkpoint
from tiny_models import D_MODEL, tiny_captioner, tiny_model, tiny_photos, tiny_tokenizer

from molyneux.adapters import adapt
from molyneux.cli import main
from molyneux.data.dataset import Item
from molyneux.data.masks import Shapes
from molyneux.errors import UsageError
from molyneux.fixtures import units as printed_units
from molyneux.fixtures.photos import check_photos
from molyneux.fixtures.units import (
    OPTIONS,
    Fixtures,
    Option,
    check_units,
    load_fixtures,
    verdict,
)
from molyneux.models.presets import PRESETS
from molyneux.neurons.decoding_rule import DEFAULT_DECODING
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import Layout
from molyneux.vision.projection import random_projection, save_projection

DEFAULT = Option(final_norm=False, bias=False, sign=1)
UNITS = [Unit(0, 3), Unit(1, 17), Unit(2, 40)]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLYNEUX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@torch.no_grad()
def distinct_gptj() -> Any:
    """A tiny GPT-J whose ways of decoding differ: the norm flips signs, the bias is large."""
    model = tiny_model("gptj")
    generator = torch.Generator().manual_seed(5)
    scale = model.transformer.ln_f.weight
    scale.copy_(torch.randn(scale.shape, generator=generator).sign() * 2)
    bias = model.lm_head.bias
    bias.copy_(1.5 * torch.randn(bias.shape, generator=generator))
    return model


def printed(model: Any, option: Option, top: int = 3) -> list[dict[str, Any]]:
    """Return what a way of decoding prints, straight from the weights."""
    tokenizer = tiny_tokenizer()
    rows = []
    for unit in UNITS:
        row = model.transformer.h[unit.layer].mlp.fc_out.weight[:, unit.unit] * option.sign
        if option.final_norm:
            row = row * model.transformer.ln_f.weight
        logits = model.lm_head.weight @ row + (model.lm_head.bias if option.bias else 0)
        best = logits[: len(tokenizer)].topk(top).indices.tolist()
        rows.append({"unit": str(unit), "tokens": [tokenizer.decode([t]).strip() for t in best]})
    return rows


def write(path: Path, units: list[dict[str, Any]], **others: Any) -> Path:
    document = {
        "language_model": "tiny-gptj",
        "source": "planted",
        "units": units,
        "undecodable": ["L0.u5", "L2.u6"],
        "captions": [],
        "mean_fields": [],
        "fields": [],
        "scores": [],
        **others,
    }
    path.write_text(json.dumps(document))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_shipped_fixtures() -> None:
    fixtures = load_fixtures()
    assert (len(fixtures.units), len(fixtures.undecodable)) == (21, 5)
    assert fixtures.units[0] == (
        Unit(12, 9058),
        ("swimming", "Swim", "swim", "fishes", "water"),
    )
    every = [unit for unit, *_ in (*fixtures.units, *fixtures.fields, *fixtures.scores)]
    assert all(unit.layer < 28 and unit.unit < 16384 for unit in every)
    assert fixtures.captions[219578] == "a dog with a cat"
    assert 131431 not in fixtures.captions  # printed twice, with different captions
    assert (len(fixtures.captions), len(fixtures.mean_fields), len(fixtures.fields)) == (6, 8, 5)
    assert max(score for _, score in fixtures.scores) == 0.0214
    # Read off the supplement once more, entry by entry, when this was written.
    digest = "7b66af9a3062e6f33f223429a3d72eefb7bea585f6deef8747dbdc0799619d8b"
    assert sha256(printed_units.GPTJ.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_planted_units_pass_one_way_alone(option: Option, tmp_path: Path) -> None:
    model = distinct_gptj()
    fixtures = load_fixtures(write(tmp_path / "f.json", printed(model, option)))
    adapted = adapt(model, tiny_tokenizer())
    outcomes = check_units(adapted, fixtures)
    assert len(outcomes) == 8
    in_order = [o.option for o in outcomes if o.n_in_order == len(UNITS)]
    assert in_order == [option]
    assert [o.option for o in outcomes if o.passes] == [option]
    passed, said = verdict(outcomes, DEFAULT)
    assert passed == (option == DEFAULT)
    assert said.startswith("pass: " if passed else f"another option passes: {option};")


def test_what_no_option_gives_fails_and_names_the_nearest(tmp_path: Path) -> None:
    model = distinct_gptj()
    units = printed(model, DEFAULT)
    units[0]["tokens"] = ["swimming", "Swim"]
    fixtures = load_fixtures(write(tmp_path / "f.json", units))
    outcomes = check_units(adapt(model, tiny_tokenizer()), fixtures)
    passed, said = verdict(outcomes, DEFAULT)
    assert not passed
    assert said == (
        "fail: no option gives what is printed; nearest is +row, plain, with 2 of 3 units"
    )
    own = outcomes[0].units[0]
    assert (own.found, own.in_order, own.holds) == (0, False, False)


def test_a_model_without_a_head_s_bias_has_half_the_options(tmp_path: Path) -> None:
    model = adapt(tiny_model("gpt2"), tiny_tokenizer())
    fixtures = load_fixtures(write(tmp_path / "f.json", [{"unit": "L0.u3", "tokens": ["x"]}]))
    assert [o.option.bias for o in check_units(model, fixtures)] == [False] * 4


def test_another_model_than_the_fixtures_is_refused() -> None:
    model = adapt(tiny_model("gptj"), tiny_tokenizer())
    with pytest.raises(UsageError, match="it is not EleutherAI/gpt-j-6b") as error:
        check_units(model, load_fixtures())
    assert len(str(error.value).splitlines()) == 1


def test_doctor_decides_by_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    model = distinct_gptj()
    model.save_pretrained(tmp_path / "gptj")
    tiny_tokenizer().save_pretrained(tmp_path / "gptj")
    arguments = ["doctor", "--fixtures", "--language-model", tmp_path / "gptj"]
    monkeypatch.setattr(printed_units, "GPTJ", write(tmp_path / "f.json", printed(model, DEFAULT)))
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert out.splitlines()[-1].startswith("pass: +row, plain gives what is printed")
    assert "(default of the presets): 3 of 3" in out
    norm = Option(final_norm=True, bias=False, sign=1)
    write(tmp_path / "f.json", printed(model, norm))
    status, out, _ = run(capsys, *arguments, "--json")
    document = json.loads(out)
    assert status == 1
    assert document["verdict"].startswith(f"another option passes: {norm}")
    assert document["verdict"].endswith("--decoding final_norm")
    assert [row["final_norm"] for row in document["options"] if row["passes"]] == [True]


def test_doctor_without_the_weights_says_what_is_missing(capsys: Any) -> None:
    status, out, err = run(capsys, "doctor", "--preset", "gptj-beit", "--fixtures")
    assert (status, err) == (1, "")
    lines = out.strip().splitlines()
    assert lines[0] == "gptj-beit: 3 parts are missing, 25,467 MB in all"
    assert "EleutherAI/gpt-j-6b, 24,200 MB; `hf download EleutherAI/gpt-j-6b --excl" in lines[1]
    assert "microsoft/beit-large-patch16-224-pt22k, 1,250 MB" in lines[2]
    assert "17 MB; `molyneux models fetch gptj-beit`" in lines[3]
    assert "nothing was fetched" in lines[4]
    status, out, _ = run(capsys, "doctor", "--preset", "gptj-clip", "--json")
    assert status == 1
    assert [row["part"] for row in json.loads(out)["missing"]] == ["language model", "projection"]


def test_fixtures_are_gptj_s(capsys: Any) -> None:
    status, _, err = run(capsys, "doctor", "--fixtures")
    assert status == 2
    assert "choose --preset gptj-beit" in err
    status, _, err = run(capsys, "doctor", "--coco", "nowhere")
    assert "--coco goes with --fixtures" in err


def _items(folder: Path) -> list[Item]:
    items = []
    for number, photo in enumerate(tiny_photos(3), start=1):
        path = folder / f"{number}.png"
        photo.save(path)
        outline = Shapes(((10.0, 10.0, 60.0, 10.0, 60.0, 60.0, 10.0, 60.0),), (), photo.size)
        items.append(
            Item(
                id=str(number),
                source=path,
                categories=("everything",),
                instances={"everything": 1},
                outlines={"everything": outline},
            )
        )
    return items


def test_photos_are_set_beside_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molyneux.fixtures import photos as fixture_photos

    monkeypatch.setattr(fixture_photos, "category_of", lambda noun, categories: "everything")
    captioner = tiny_captioner("gptj", begin=None)
    items = _items(tmp_path)
    captions = {number: captioner.caption(items[number - 1].read()) for number in (1, 2, 3)}
    unit = Unit(1, 7)

    def check(fields: tuple[tuple[Unit, int, float], ...], said: dict[int, str]) -> dict[str, Any]:
        fixtures = Fixtures(
            "tiny", "planted", (), (), said, {1: 0.5, 9: 0.5}, fields, ((unit, 0.1),)
        )
        return {o.what: o for o in check_photos(captioner, items, fixtures)}

    first = check(((unit, 1, 0.0), (unit, 2, 0.0)), {1: captions[1].upper(), 2: "a whale", 9: "a"})
    assert first["caption of 1"].holds is True
    assert first["caption of 2"].holds is False
    assert first["caption of 2"].found == captions[2]
    assert first["caption of 9"].found == "the photo is not in this folder"
    assert first["caption of 9"].holds is False
    assert first["IoU of the mean field of 100 units on 1"].holds is None
    assert 0 <= float(first["IoU of the mean field of 100 units on 1"].found) <= 1
    measured = float(first[f"IoU of {unit} on 1"].found)
    again = check(((unit, 1, measured), (unit, 2, measured + 0.3)), {1: captions[1]})
    assert again[f"IoU of {unit} on 1"].holds is True
    assert again[f"IoU of {unit} on 2"].holds is False
    assert float(again[f"largest score of {unit} in these photos"].found) != 0


def test_a_field_s_iou_is_counted_by_hand(tmp_path: Path) -> None:
    from molyneux.fixtures.photos import _iou

    field = torch.zeros(4, 4)
    field[0, 0] = 1.0
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[:16, :16] = True
    heat = np.zeros((64, 64))
    place = (np.arange(64) + 0.5) / 16 - 0.5
    weight = np.clip(1 - np.abs(np.clip(place, 0, 3)), 0, None)
    heat = np.outer(weight, weight)
    seen = heat > np.quantile(heat, 0.95)
    inside = mask.numpy()
    expected = (seen & inside).sum() / (seen | inside).sum()
    assert expected > 0.5
    assert _iou(field, mask) == pytest.approx(expected, abs=1e-6)


def test_doctor_looks_at_coco_through_the_parts_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    model = distinct_gptj()
    model.save_pretrained(tmp_path / "gptj")
    tiny_tokenizer().save_pretrained(tmp_path / "gptj")
    beit = write_checkpoint(tmp_path / "tiny-beit", "beit")
    provenance = {"language_model": "gptj", "encoder": "tiny-beit"}
    save_projection(
        tmp_path / "p.safetensors",
        random_projection(32, D_MODEL, 6.0, {**provenance, "layout": Layout(None).record()}),
    )
    coco = tmp_path / "coco"
    (coco / "val2017").mkdir(parents=True)
    tiny_photos(1)[0].save(coco / "val2017" / "000000000042.jpg")
    photo = {"id": 42, "file_name": "000000000042.jpg", "width": 100, "height": 80}
    (coco / "captions_val2017.json").write_text(
        json.dumps({"images": [photo], "annotations": [{"image_id": 42, "caption": "A dog."}]})
    )
    parts = ["--language-model", tmp_path / "gptj", "--encoder", beit]
    parts += ["--projection", tmp_path / "p.safetensors"]
    path = coco / "val2017" / "000000000042.jpg"
    _, caption, _ = run(capsys, "caption", path, *parts)
    fixtures = write(
        tmp_path / "f.json",
        printed(model, DEFAULT),
        captions=[{"photo": 42, "caption": caption.strip()}],
    )
    monkeypatch.setattr(printed_units, "GPTJ", fixtures)
    status, out, _ = run(capsys, "doctor", "--fixtures", "--coco", coco, *parts)
    assert status == 0, out
    assert f"ok    caption of 42: printed {caption.strip()}" in out
    write(fixtures, printed(model, DEFAULT), captions=[{"photo": 42, "caption": "a whale"}])
    status, out, _ = run(capsys, "doctor", "--fixtures", "--coco", coco, *parts, "--json")
    assert status == 1
    assert json.loads(out)["photos"][0]["holds"] is False


def test_the_default_is_the_preset_s() -> None:
    assert all(
        Option.of(preset.decoding) == DEFAULT
        for preset in PRESETS.values()
        if preset.published is not None
    )
    assert DEFAULT_DECODING.final_norm
