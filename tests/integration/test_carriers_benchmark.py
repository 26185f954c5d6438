"""The benchmark of what units carry: its arithmetic, its nouns, and a run of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_programs import load_program
from tiny_partners import square_photos

from molyneux.data.dataset import Item
from molyneux.neurons.ablation import Intervention
from molyneux.neurons.sight.reading import Asked, Text, patch_activations, read_behind
from molyneux.neurons.targets import word_tokens

carriers = load_program("carriers")
PARTNERS = 6


def run_of(folder: Path, gain: float, carried: float, direct: float) -> Path:
    """A run of one condition, in which the photo's noun is the only one that gains."""
    rng = np.random.default_rng(0)
    record = {"conditions": {"end": ""}, "partners": {"photos": PARTNERS}}
    (folder / "record.json").write_text(json.dumps(record))

    def noun(gain: float, carried: float, lost: float) -> Any:
        sets = {
            "change": {"mediated": carried, "transplanted": {"0": carried, "3": carried}},
            "random": {"mediated": 0.0, "transplanted": {"0": 0.0, "3": 0.0}},
            "all": {"mediated": lost, "transplanted": {"0": 0.0, "3": 0.0}},
        }
        return {"clean": -2.0, "behind": [-2 - gain, -2 - gain], "sets": sets}

    for number in range(30):
        off = rng.normal(0, 0.05)
        own = noun(gain + off, carried, gain + off - direct)
        row = {"condition": "end", "sha256": f"{number:02}", "partners": [0, 3]}
        row["nouns"] = {"own": own, "other": noun(0.0, 0.0, 0.0)}
        carriers.append_row(folder / "photos.jsonl", row)
    return folder


def test_figures_are_differences_and_shares_of_the_gain(tmp_path: Path) -> None:
    summary = carriers.summarise(run_of(tmp_path, gain=4.0, carried=1.0, direct=3.0))
    found = summary["conditions"]["end"]["figures"]
    assert found["gain"]["value"] == pytest.approx(4, abs=0.05)
    assert found["gain, own minus other"]["n"] == 30
    assert found["change, transplant, of the gain"]["value"] == pytest.approx(0.25, abs=0.01)
    assert found["all, mediated, of the gain"]["value"] == pytest.approx(0.25, abs=0.01)
    assert found["random, transplant, own minus other"]["value"] == 0
    assert "end" in carriers.show(summary)


def test_a_model_that_sees_nothing_gains_nothing_to_take_a_share_of(tmp_path: Path) -> None:
    summary = carriers.summarise(run_of(tmp_path, gain=0.0, carried=0.0, direct=0.0))
    found = summary["conditions"]["end"]["figures"]
    assert found["gain, own minus other"]["low"] < 0 < found["gain, own minus other"]["high"]
    assert not [name for name in found if name.endswith("of the gain")]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Item]]:
    files = square_photos(tmp_path_factory.mktemp("photos"), 32)
    said = ["a boat", "a tree", "a dog"]
    items = [Item(str(k), file, (said[k % 3],) * 3) for k, file in enumerate(files)]
    return {"photos": items[:3], "reference": items[3:7], "partners": items[7:]}


def test_nouns_beside_are_of_others_and_partners_show_neither(shown: Any) -> None:
    partners = carriers.people_of(shown["partners"])
    assert carriers.asked_photos(shown["photos"], partners, len, 0) == []  # 8 of 25 show neither
    many = [*partners, *partners, *partners]
    found = carriers.asked_photos(shown["photos"], many, lambda noun: sum(noun.encode()), 0)
    assert len(found) == 3
    for one in found:
        assert one.noun in one.item.captions[0]
        assert one.other not in one.item.captions[0]
        assert len(one.partners) == 24
        names = {name for k in one.partners for name in many[k].agreed}
        assert not names & {one.noun, one.other}


@pytest.fixture(scope="module")
def measured(shown: Any, make_captioner: Any) -> Any:
    condition = carriers.Condition(make_captioner("llama"), shown["reference"], shown["partners"])
    item = shown["photos"][0]
    photo = carriers.Photo(item, item.sha256(), "boat", "dog", tuple(range(4, 24)))
    return condition, photo, condition.row(photo, 5)


def test_gain_and_what_goes_past_all_units_by_another_route(measured: Any) -> None:
    condition, photo, row = measured
    model = condition.model
    article = word_tokens(model, "a")
    asked = [Asked(word_tokens(model, noun)[0], len(article)) for noun in ("boat", "dog")]
    text = Text(tuple(article), tuple(asked))
    prompt = condition.captioner.see([photo.item.source])
    behind = [condition.partners[k].prompt for k in photo.partners]
    log_p = read_behind(model, [prompt, *behind], text)
    mean = torch.stack([patch_activations(model, one) for one in behind]).mean(dim=0)
    mask = torch.ones(model.n_layers, model.d_mlp, dtype=torch.bool)
    mask[-1] = False
    without = read_behind(model, [prompt], text, [Intervention(mask, "patches", mean)])
    for place, kind in enumerate(("own", "other")):
        noun = row["nouns"][kind]
        assert noun["clean"] == pytest.approx(float(log_p[0, place]), abs=1e-4)
        assert noun["behind"] == pytest.approx(log_p[1:, place].tolist(), abs=1e-4)
        lost = float(log_p[0, place] - without[0, place])
        assert noun["sets"]["all"]["mediated"] == pytest.approx(lost, abs=1e-4)
        assert len(noun["sets"]["change"]["transplanted"]) == 8


def test_a_photo_written_into_itself_changes_nothing(shown: Any, make_captioner: Any) -> None:
    same = [shown["photos"][0]] * 16
    condition = carriers.Condition(make_captioner("llama"), shown["reference"], same)
    photo = carriers.Photo(same[0], "0", "boat", "dog", tuple(range(16)))
    for noun in condition.row(photo, 0)["nouns"].values():
        assert noun["behind"] == pytest.approx([noun["clean"]] * 16, abs=1e-4)
        for one in noun["sets"].values():
            assert one["mediated"] == pytest.approx(0, abs=1e-4)
            assert [*one["transplanted"].values()] == pytest.approx([0] * 8, abs=1e-4)
