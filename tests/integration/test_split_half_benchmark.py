"""The split-half benchmark: its halves, counterparts and arithmetic, and a run of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_programs import load_program
from tiny_partners import square_photos, with_partners

from molyneux.data.dataset import Item
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.sight.reading import Asked, Text, patch_activations, read_behind
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.unit import parse_unit
from molyneux.words.kinds import are_related

split = load_program("split_half")
PHOTOS = [f"{number:02}" for number in range(13)]


@pytest.mark.parametrize("n", [2, 6, 13])
def test_halves_share_no_photo_and_leave_none(n: int) -> None:
    one, two = split.halves_of("dog", PHOTOS[:n], 0)
    assert not {*one} & {*two}
    assert {*one} | {*two} == {*PHOTOS[:n]}
    assert abs(len(one) - len(two)) <= 1


def test_halves_hang_on_the_seed_alone() -> None:
    halves = split.halves_of("dog", PHOTOS, 0)
    assert split.halves_of("dog", PHOTOS[::-1], 0) == halves
    others = [split.halves_of("dog", PHOTOS, seed) for seed in range(1, 5)]
    assert any({*other[0]} != {*halves[0]} for other in others)


def test_a_counterpart_is_never_the_noun_or_what_it_may_be() -> None:
    nouns = ["dog", "puppy", "man", "woman", "boat", "pizza", "umbrella", "orange", "street"]
    for seed in range(5):
        found = split.counterparts(nouns, seed)
        assert {"dog", "puppy", "man", "woman", "boat", "pizza", "street"} <= {*found}
        for noun, other in found.items():
            assert other in nouns
            assert not are_related(noun, other)
            assert split.article_of(noun) == split.article_of(other)
    assert split.counterparts(["man", "woman"], 0) == {}


def test_nouns_of_enough_photos_with_tokens_of_their_own() -> None:
    agreed = {photo: ["dog"] for photo in "abcdef"} | {photo: ["boat"] for photo in "ghijkl"}
    agreed |= {photo: ["dinghy"] for photo in "mnopqrs"} | {"t": ["train"]}
    token: dict[str, int | None] = {"dog": 1, "boat": 2, "dinghy": 2, "train": 3}
    found = {noun.noun: noun for noun in split.nouns_of(agreed, token, 6, 0)}
    assert {*found} == {"dog", "dinghy"}  # which is the more frequent with its token
    assert found["dog"].other == "dinghy"
    assert sorted(found["dog"].halves[0] + found["dog"].halves[1]) == [*"abcdef"]
    token["dinghy"] = None
    assert {noun.noun for noun in split.nouns_of(agreed, token, 6, 0)} == {"dog", "boat"}


def run_of(folder: Path, own: float, other: float, absent_own: float) -> Path:
    """A run of rows in which every noun loses as much."""
    nouns = ("boat", "cake", "dog")
    rng = np.random.default_rng(0)
    with (folder / "nouns.jsonl").open("w") as file:
        for place, noun in enumerate(nouns):
            for half in range(2):
                row = {"noun": noun, "other": nouns[place - 1], "half": half, "behind": -5}
                units = [f"L0.u{10 * place + k}" for k in range(half, half + 4)]
                row |= {"units": {"own": units, "own change": units[:2]}}
                file.write(json.dumps(row) + "\n")
    with (folder / "photos.jsonl").open("w") as file:
        for number in range(30):
            place = number % 3
            noise = rng.normal(0, 0.1, size=4)
            after = {
                "own": [-2 - own + noise[0], -9 - 0.25],
                "other": [-2 - other + noise[1], -9],
                "random": [-2 + noise[2], -9],
                "absent_own": [-2, -9 - absent_own + noise[3]],
                "own change": [-2 - own / 2 + noise[0], -9 - absent_own + noise[3]],
                "other change": [-2 - other + noise[1], -9],
                "random change": [-2 + noise[2], -9],
            }
            tested = {"noun": nouns[place], "other": nouns[place - 1], "said": number % 2 == 0}
            tested |= {"clean": [-2, -9], "other_absent": number > 2, "after": {"100": after}}
            row = {"sha256": f"{number:02}", "tested": [tested]}
            file.write(json.dumps(row) + "\n")
    return folder


def test_figures_are_nats_lost_and_differences_of_them(tmp_path: Path) -> None:
    summary = split.summarise(run_of(tmp_path, own=1.5, other=0.5, absent_own=0.25))
    found = summary["rankings"]["total"]["100"]
    assert found["claim"] == "holds"
    change = summary["rankings"]["change"]["100"]
    assert change["claim"] == "holds"
    assert change["all"]["own minus other"]["value"] == pytest.approx(0.25, abs=0.1)
    assert "own minus absent word, its own units" not in change["all"]
    figures = {name: one["value"] for name, one in found["all"].items()}
    assert figures["own"] == pytest.approx(1.5, abs=0.1)
    assert figures["own minus other"] == pytest.approx(1.0, abs=0.1)
    assert figures["absent word, own units"] == pytest.approx(0.25)
    assert figures["own minus absent word, its own units"] == pytest.approx(1.25, abs=0.1)
    assert figures["gain"] == pytest.approx(3)
    assert figures["own / gain"] == pytest.approx(0.5, abs=0.05)
    assert found["all"]["own"]["n"] == 3
    assert summary["nouns"] == {"boat": 10, "cake": 10, "dog": 10}
    # Three of four listed units are in both halves; a counterpart's are others.
    shared = summary["shared units"]["total"]
    assert shared["both halves of a noun"]["value"] == pytest.approx(0.75)
    assert shared["a half and its counterpart's"]["value"] == 0
    assert summary["shared units"]["change"]["both halves of a noun"]["value"] == 0.5
    assert "own minus other" in split.show(summary)


@pytest.mark.parametrize(
    ("own", "other", "absent_own"), [(1.5, 1.5, 0), (1.5, 0, 1.5), (0, 0, 0), (1.5, 0, 3)]
)
def test_a_control_that_loses_as_much_fails_the_claim(
    own: float, other: float, absent_own: float, tmp_path: Path
) -> None:
    summary = split.summarise(run_of(tmp_path, own, other, absent_own))
    for sizes in summary["rankings"].values():
        assert sizes["100"]["claim"] == "does not hold"


@pytest.fixture(scope="module")
def run(make_captioner: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("photos")
    files = square_photos(folder, 30)
    seeing = with_partners(make_captioner("llama"), files[:24], lambda k: "tree" if k else "dog")
    photos = {}
    for number, file in enumerate(files[24:]):
        noun = "dog" if number % 2 else "boat"
        # One photo has both, so that a counterpart is not absent there.
        sentence = "a dog in a boat" if number == 5 else f"a {noun}"
        item = Item(str(number), file, (sentence,) * 3)
        agreed = split.agreed_nouns(item.captions)
        photo = split.Photo(item.sha256(), "drawings", item, agreed, frozenset(agreed))
        photos[photo.sha256] = photo
    first = {noun: split.word_tokens(seeing.language_model, noun)[0] for noun in ("dog", "boat")}
    nouns = split.nouns_of({p.sha256: p.agreed for p in photos.values()}, first, 3, 0)
    made = split.Run(seeing, photos, {noun.noun: noun for noun in nouns}, folder, 0)
    made.read_partners()
    made.find()
    for row in made.noun_rows():
        split.append_row(folder / "nouns.jsonl", row)
    for photo in photos.values():
        split.append_row(folder / "photos.jsonl", made.measure(photo))
    return made


def test_no_photo_is_tested_by_units_that_were_found_on_it(run: Any) -> None:
    halves = {(r["noun"], r["half"]): r for r in split.load_rows(run.folder / "nouns.jsonl")}
    assert {noun for noun, _ in halves} == {"dog", "boat"}
    rows = split.load_rows(run.folder / "photos.jsonl")
    assert sum(len(row["tested"]) for row in rows) == 7
    for row in rows:
        for one in row["tested"]:
            found_on = halves[one["noun"], one["found_on_half"]]["photos"]
            assert row["sha256"] not in found_on
            assert row["sha256"] in halves[one["noun"], 1 - one["found_on_half"]]["photos"]


def test_both_nouns_of_one_photo_are_not_absent_there(run: Any) -> None:
    rows = split.load_rows(run.folder / "photos.jsonl")
    both = [row for row in rows if len(row["tested"]) == 2]
    assert [one["other_absent"] for row in both for one in row["tested"]] == [False, False]
    assert all("absent_own" not in one["after"]["100"] for row in both for one in row["tested"])


def test_what_is_lost_is_by_the_mean_of_scores_and_of_partners(run: Any) -> None:
    """By another route: scores of a prompt with its text, the partners' mean of what they read."""
    model = run.captioner.language_model
    row = next(r for r in split.load_rows(run.folder / "photos.jsonl") if len(r["tested"]) == 1)
    [one] = row["tested"]
    noun = run.nouns[one["noun"]]
    article, token = model.encode(" a"), run.token(noun.noun)
    totals = []
    for photo in noun.halves[one["found_on_half"]]:
        until = run.captioner.see([run.photos[photo].item.read()]).followed_by(model, article)
        target = Target(token, until.n_positions - 1)
        totals.append(attribute_units(model, until, [target]).patches.total[0])
    mean = torch.stack(totals).mean(dim=0)
    rows = split.load_rows(run.folder / "nouns.jsonl")
    [found] = [r for r in rows if (r["noun"], r["half"]) == (noun.noun, one["found_on_half"])]
    units = [parse_unit(name, model.n_layers, model.d_mlp)[0] for name in found["units"]["own"]]
    assert all(unit.layer < model.n_layers - 1 for unit in units)
    values = [float(mean[unit]) for unit in units]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(float(mean[:-1].max()))
    # The first partner shows a dog, and so is not in the mean of what shows none.
    partners = [p for p in run.captioner.reference.partners if p.noun != noun.noun]
    assert len(partners) == (19 if noun.noun == "dog" else 20)
    text = Text(tuple(article), (Asked(token, 1),))
    prompts = [p.prompt(model, run.captioner.layout) for p in partners]
    active = torch.stack([patch_activations(model, prompt) for prompt in prompts])
    torch.testing.assert_close(run.means[noun.noun], active.mean(dim=0))
    behind = read_behind(model, prompts, text).mean()
    assert run.behind[noun.noun] == pytest.approx(float(behind), abs=1e-5)
    prompt = run.captioner.see([run.photos[row["sha256"]].item.read()])
    edit = split.Intervention(units[:100], "patches", run.means[noun.noun])
    clean, after = read_behind(
        model, [prompt] * 2, text, [split.Intervention([], "patches"), edit]
    )[:, 0].tolist()
    assert one["clean"][0] == pytest.approx(clean, abs=1e-4)
    assert one["after"]["100"]["own"][0] == pytest.approx(after, abs=1e-4)


def test_units_that_change_are_those_farthest_from_reference_photos(run: Any) -> None:
    model, usual = run.captioner.language_model, run.captioner.reference.activation
    noun, z = run.nouns["dog"], []
    for photo in noun.halves[0]:
        prompt = run.captioner.see([run.photos[photo].item.read()])
        sinks = sink_patches(patch_norms(model, prompt))[0]
        active = patch_activations(model, prompt)[:, ~sinks].mean(dim=1)
        usually = usual.deviation.median(dim=1, keepdim=True).values
        z.append((active - usual.mean) / (usual.deviation + usually))
    apart = torch.stack(z).mean(dim=0).abs()[:-1]
    rows = split.load_rows(run.folder / "nouns.jsonl")
    [found] = [row for row in rows if (row["noun"], row["half"]) == ("dog", 0)]
    names = found["units"]["own change"]
    units = [parse_unit(name, model.n_layers, model.d_mlp)[0] for name in names]
    expected = apart.flatten().sort(descending=True).values[: len(units)]
    torch.testing.assert_close(torch.stack([apart[unit] for unit in units]), expected)


def test_every_figure_can_be_had_again_from_the_rows(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    split.conclude(run.folder, split.summarise, split.show, again=False)
    told = capsys.readouterr().out
    split.conclude(run.folder, split.summarise, split.show, again=True)
    assert capsys.readouterr().out == f"{told}{run.folder / 'summary.json'} is what the rows give\n"
    file = run.folder / "photos.jsonl"
    kept = file.read_text()
    row = json.loads(kept.splitlines()[0])
    row["tested"][0]["clean"][0] += 1
    file.write_text("\n".join([json.dumps(row), *kept.splitlines()[1:]]) + "\n")
    with pytest.raises(SystemExit, match="not what the rows give"):
        split.conclude(run.folder, split.summarise, split.show, again=True)
    file.write_text(kept)


def test_a_run_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    rows = load_program("kept_rows")
    rows.begin(tmp_path, {"seed": 0, "conditions": {"end": 1}})
    rows.begin(tmp_path, {"seed": 0, "conditions": {"noise": 2}}, growing="conditions")
    record = json.loads((tmp_path / "record.json").read_text())
    assert list(record["conditions"]) == ["end", "noise"]
    with pytest.raises(SystemExit, match="another seed"):
        rows.begin(tmp_path, {"seed": 1, "conditions": {}}, growing="conditions")
    with pytest.raises(SystemExit, match="another conditions"):
        rows.begin(tmp_path, {"seed": 0, "conditions": {"end": 3}}, growing="conditions")
    file = tmp_path / "rows.jsonl"
    rows.append_row(file, {"n": 1})
    with file.open("a") as cut:
        cut.write('{"n": ')
    assert rows.load_rows(file) == [{"n": 1}]
    rows.append_row(file, {"n": 2})
    assert rows.load_rows(file) == [{"n": 1}, {"n": 2}]
