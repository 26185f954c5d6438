"""The benchmark of what units spell: its noise, its arithmetic, and a run of a tiny model."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from benchmark_programs import load_program
from test_gguf import made, write_gguf
from tiny_models import tiny_photos
from torch import nn

from molyneux.data.dataset import Item
from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.targets import read_sentence

spelling = load_program("spelling")


def test_noise_is_within_half_of_each_weights_step() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 96, generator=generator)
    step = torch.rand(64, 3, generator=generator).repeat_interleave(32, dim=1)
    step[0] = 0
    change = spelling.noisy(weight, step, torch.Generator().manual_seed(1)) - weight
    assert bool((change.abs() <= step / 2 + 1e-6).all())
    assert torch.equal(change[0], torch.zeros(96))
    # Uniform: its deviation is a step's over the root of 12, and it leans to neither side.
    relative = (change[1:] / step[1:]).double()
    assert float(relative.std()) == pytest.approx(12**-0.5, rel=0.02)
    assert abs(float(relative.mean())) < 0.02


class Tied(nn.Module):
    """Two layers, the last weight tied to the first, as heads to embeddings are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(32, 32, bias=False), nn.LayerNorm(32)
        self.last = nn.Linear(32, 32, bias=False)
        self.last.weight = self.first.weight


def test_noise_is_added_once_and_by_the_seed_alone() -> None:
    steps = {"first.weight": torch.full((32, 32), 0.5), "last.weight": torch.full((32, 32), 0.5)}

    def changed(seed: int) -> torch.Tensor:
        network = Tied()
        before = network.first.weight.detach().clone()
        spelling.add_noise(network, steps, seed)
        assert network.last.weight is network.first.weight
        assert torch.equal(network.norm.weight, torch.ones(32))
        return network.first.weight.detach() - before

    one = changed(0)
    assert 0.2 < float(one.abs().max()) <= 0.25 + 1e-6
    torch.testing.assert_close(one, changed(0))
    assert not torch.allclose(one, changed(1))


def test_steps_come_from_the_file_that_the_weights_come_from(tmp_path: Path) -> None:
    network, q4 = copy.deepcopy(made("llama")), gguf.GGMLQuantizationType.Q4_1
    path = write_gguf(
        tmp_path / "x.gguf", network, "llama", quantise=lambda n: q4 if "ffn_up" in n else None
    )
    with pytest.raises(SystemExit, match="not the file that the language model comes from"):
        spelling.steps_of(network, path)
    for name, weight in network.named_parameters():
        if "up_proj" in name:
            weight.data = torch.tensor(
                gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), q4), q4)
            )
    steps = spelling.steps_of(network, path)
    assert {*steps} == {name for name, _ in network.named_parameters() if "up_proj" in name}


def test_conditions_of_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.st", "b.st"):
        Path(name).write_bytes(b"")
    found = spelling.conditions_of(["end=a.st", "100 steps=b.st"], "end", 2)
    assert [(one.name, str(one.projection), one.noise) for one in found] == [
        ("end", "a.st", None),
        ("100 steps", "b.st", None),
        ("end, noise 0", "a.st", 0),
        ("end, noise 1", "a.st", 1),
    ]
    with pytest.raises(SystemExit, match="NAME=FILE"):
        spelling.conditions_of(["a.st"], None, 0)
    with pytest.raises(SystemExit, match="name of a --projection"):
        spelling.conditions_of(["end=a.st"], "start", 1)
    with pytest.raises(SystemExit, match=r"no file c\.st"):
        spelling.conditions_of(["end=c.st"], None, 0)
    with pytest.raises(SystemExit, match="twice"):
        spelling.conditions_of(["end=a.st", "end=b.st"], None, 0)


def items(folder: Path) -> list[Item]:
    captions = [
        ("a dog on a beach", "a dog"),
        ("a boat", "a boat on the water"),
        ("a cake on a plate", "a cake"),
        ("two dogs", "a puppy and a dog"),
    ]
    found = []
    for number, (photo, said) in enumerate(zip(tiny_photos(4), captions, strict=True)):
        photo.save(folder / f"{number}.png")
        found.append(Item(str(number), folder / f"{number}.png", said))
    return found


def test_other_photos_nouns_are_not_of_this_one(tmp_path: Path) -> None:
    found = spelling.shown_photos(items(tmp_path), 0)
    assert [set(one.elsewhere) for one in found] == [
        {"boat", "cake"},
        {"dog", "cake"},
        {"dog", "boat"},
        {"boat", "cake"},
    ]
    for one in found:
        assert one.captions_elsewhere != one.item.captions
    assert spelling.main_noun(["a dog", "a cat and a dog"]) == "dog"
    assert spelling.main_noun(["the", "of"]) is None


@pytest.fixture
def run(captioner: Any, tmp_path: Path) -> Path:
    photos = spelling.shown_photos(items(tmp_path), 0)
    record = {"conditions": {name: {} for name in ("end", "start", "end, noise 0")}}
    (tmp_path / "record.json").write_text(json.dumps(record))
    for condition in record["conditions"]:
        for photo in photos:
            row = {"condition": condition, "sha256": photo.sha256, "words_by_chance": 0.5}
            row |= spelling.measure(captioner, None, photo, 0)
            spelling.append_row(tmp_path / "photos.jsonl", row)
    return tmp_path


def test_what_units_spell_by_another_route(run: Path, captioner: Any) -> None:
    rows = [r for r in spelling.load_rows(run / "photos.jsonl") if r["condition"] == "end"]
    model, measured = captioner.language_model, 0
    for row, item in zip(rows, items(run), strict=True):
        if row["noun"] is None:
            continue
        prompt = captioner.see([item.source])
        sentence = read_sentence(model, prompt, captioner.write(prompt)[0])
        word = sentence.words[0]
        until = sentence.up_to(model, prompt, word.target.position)
        scores = attribute_units(model, until, [word.target])
        lists = spelling.lists_of(scores, 0)
        for name, (units, signs) in lists.items():
            decoded = decode_units(model, units, signs)
            spells = [model.token_text(word.target.token_id) in one.tokens for one in decoded]
            assert row["lists"][name]["spells"] == pytest.approx(np.mean(spells))
        assert not {*lists["random"][0]} & {*lists["patches, total"][0]}
        measured += 1
    assert measured


def test_every_figure_can_be_had_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spelling.conclude(run, spelling.summarise, spelling.show, again=False)
    told = capsys.readouterr().out
    lines = (run / "photos.jsonl").read_text().splitlines()
    random.Random(1).shuffle(lines)  # as runs that were gone on with may leave them
    (run / "photos.jsonl").write_text("\n".join(lines) + "\n")
    spelling.conclude(run, spelling.summarise, spelling.show, again=True)
    assert capsys.readouterr().out == f"{told}{run / 'summary.json'} is what the rows give\n"
    summary = json.loads((run / "summary.json").read_text())
    assert list(summary["conditions"]) == ["end", "end, noise", "end, noise 0", "start"]
    # The three are one model: nothing lies between them.
    for name in ("start", "end, noise"):
        assert all(one["value"] == 0 for one in summary["conditions"][name]["minus end"].values())


def test_seeds_of_noise_are_averaged_for_each_photo() -> None:
    rows = []
    for seed, spells in enumerate((0.1, 0.4)):
        one = {"spells": spells, "spells, other nouns": 0.1}
        rows.append(
            {"condition": f"end, noise {seed}", "sha256": "a", "cosine": 0.3, "random_cosine": 0.1}
            | {"noun": "dog", "hit": True, "probability": 0.5}
            | {"lists": {"patches, total": one, "random": {"spells": 0.0}}}
        )
    found = spelling.pooled(rows)
    assert {*found} == {"end, noise 0", "end, noise 1", "end, noise"}
    both = found["end, noise"]["a"]
    assert both["patches, total: spells"] == pytest.approx(0.25)
    assert both["patches, total: spells, own minus others"] == pytest.approx(0.15)
    assert both["patches, total: spells, minus random units"] == pytest.approx(0.25)
