"""Units that carry a planted word keep it on other photos; with labels swapped they do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from documents import misfits
from PIL import Image
from tiny_models import tiny_captioner, tiny_photos

from molyneux.cli import main
from molyneux.cli.model_choice import ModelChoice
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.errors import RunError, UsageError
from molyneux.explain.measure_reference import measure_reference
from molyneux.models.captioner import Captioner
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.set_reading import percentiles, read_writes, set_writes
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import word_tokens
from molyneux.neurons.unit import Unit
from molyneux.studies.e8_concepts.chosen import read_found
from molyneux.studies.e8_concepts.photos import photos_of, told_of
from molyneux.studies.e9_transfer import summary
from molyneux.studies.e9_transfer.claims import MEASURES
from molyneux.studies.e9_transfer.frozen import SETS, freeze
from molyneux.studies.e9_transfer.measure import Measure
from molyneux.studies.e9_transfer.pairs import pair_photos, shared_concepts
from molyneux.studies.folder import Study
from molyneux.studies.results import FALLS, HOLDS, OPEN
from molyneux.studies.settings import StudySettings
from molyneux.studies.study import run_study
from molyneux.studies.subject import ModelFacts
from molyneux.studies.transfer import run_transfer, transfer_settings

CONCEPTS = ("bench", "boat", "cat", "table", "tree", "truck")
LABELS = {
    "there": dict(zip(CONCEPTS, CONCEPTS, strict=True)),
    # The other source has names of its own.
    "here": {
        "bench": "park bench", "boat": "canoe", "cat": "tabby", "table": "desk",
        "tree": "bonsai", "truck": "tow truck",
    },
}  # fmt: skip
PHOTOS = 6


def save_classes(folder: Path, labels: dict[str, str], seed: int) -> Path:
    """Write photos in a folder a class: each class is a colour, in noise."""
    colours = np.array(
        [
            [230, 30, 30],
            [30, 230, 30],
            [30, 30, 230],
            [220, 220, 20],
            [20, 220, 220],
            [220, 20, 220],
        ]
    )
    rng = np.random.default_rng(seed)
    for concept, colour in zip(CONCEPTS, colours, strict=True):
        place = folder / labels[concept]
        place.mkdir(parents=True)
        for number in range(PHOTOS):
            noisy = colour + rng.normal(0, 30, size=(4, 4, 3))
            small = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
            small.resize((64, 64), Image.Resampling.NEAREST).save(place / f"{seed}-{number}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Intervals of a test need no 2,000 draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "DRAWS", 300)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("sets")
    return {
        name: save_classes(place / name, labels, seed)
        for seed, (name, labels) in enumerate(LABELS.items(), start=1)
    }


def other_photos(folder: Path) -> list[Path]:
    files = [folder / f"{number}.png" for number in range(12)]
    for file, photo in zip(files, tiny_photos(12), strict=True):
        photo.save(file)
    return files


def files_of(folder: Path, concept: str) -> list[Path]:
    return sorted((folder / LABELS["there"][concept]).glob("*.png"))


def given_to(module: torch.nn.Module, model: Any, prompt: Any) -> torch.Tensor:
    """Return what a module is given in a pass, at all positions."""
    kept: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    model.read(prompt, keep=1)
    handle.remove()
    return kept[0][0]


@torch.no_grad()
def plant(captioner: Captioner, folder: Path) -> dict[str, Unit]:
    """Give each concept a unit of the first layer, and a word that it alone lends the photo.

    The unit responds to the concept's colour at the patches, attention only averages, and the
    word's row in the head reads just what the unit's activation changes where the word is
    predicted.
    """
    model = captioner.language_model
    for layer in model.model.model.layers:
        layer.self_attn.q_proj.weight.zero_()
        layer.mlp.down_proj.weight *= 0.05
    mlp = model.model.model.layers[0].mlp
    head = model.model.get_output_embeddings()
    prompts = {c: [captioner.see([file]) for file in files_of(folder, c)] for c in CONCEPTS}
    patches = prompts["cat"][0].patches
    seen = torch.stack(
        [
            torch.stack([given_to(mlp, model, one)[patches].mean(dim=0) for one in own]).mean(dim=0)
            for own in prompts.values()
        ]
    )
    units = {concept: Unit(0, k) for k, concept in enumerate(CONCEPTS)}
    responds = torch.linalg.pinv(seen)  # d_model x concepts: 1 for its own, 0 for the others
    generator = torch.Generator().manual_seed(0)
    for k, own in enumerate(units.values()):
        mlp.gate_proj.weight[own.unit] = 6 * responds[:, k] - 3 * responds.sum(dim=1)
        mlp.up_proj.weight[own.unit] = 3 * responds[:, k]
        column = torch.randn(len(seen[0]), generator=generator)
        mlp.down_proj.weight[:, own.unit] = 4 * column / column.norm()
    changes, whose = [], []
    for k, (concept, own) in enumerate(units.items()):
        other = prompts[CONCEPTS[k - 1]]
        for number, prompt in enumerate(prompts[concept]):
            values = patch_activations(model, prompt)
            for into, edit, sign in (
                (prompt, Intervention([own], "patches"), -1),
                (other[number], Intervention([own], "patches", values), 1),
            ):
                whole = into.followed_by(model, word_tokens(model, "a"))
                clean = given_to(head, model, whole)[-1]
                with intervened(model, [edit], patches):
                    changes.append(sign * (given_to(head, model, whole)[-1] - clean))
                whose.append(k)
    wanted = torch.nn.functional.one_hot(torch.tensor(whose)).float()
    # Ridge regression: large rows would read everything else of the photo as well.
    seen = torch.stack(changes)
    square = seen.T @ seen
    square += 0.02 * square.trace() / len(square) * torch.eye(len(square))
    reads = torch.linalg.solve(square, seen.T @ wanted)
    for k, concept in enumerate(CONCEPTS):
        head.weight[word_tokens(model, concept)[0]] = 4 * reads[:, k]
    return units


@pytest.fixture(scope="module")
def planted(sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("reference")
    captioner = tiny_captioner("llama")
    units = plant(captioner, sets["there"])
    # Photos of none of the concepts, as reference photos in general are.
    table, _ = measure_reference(captioner, other_photos(place), data="drawings", n_listed=10)
    return captioner.with_reference(table), units


@pytest.fixture(scope="module")
def seeing(planted: Any) -> Any:
    return planted[0]


SETTINGS = StudySettings(threads=1, subsets=0, clip="none", per_class=10)


@pytest.fixture(scope="module")
def there(seeing: Any, sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "there"
    run_study(seeing, sets["there"], "E8", out=out, settings=SETTINGS)
    return out


@pytest.fixture(scope="module")
def here(
    seeing: Any, sets: dict[str, Path], there: Path, tmp_path_factory: pytest.TempPathFactory
) -> Study:
    out = tmp_path_factory.mktemp("runs") / "here"
    return run_transfer(there, seeing, sets["here"], out=out, settings=SETTINGS)


def row_of(study: Study, measure: str, name: str) -> dict[str, Any]:
    rows = study.result("E9.transfer").rows
    (found,) = (row for row in rows if (row["measure"], row["set"]) == (measure, name))
    return found


def verdict_of(study: Study, measure: str, name: str) -> str:
    """Return the verdict of a measure of a set: they stand in the order of sets, then measures."""
    (result,) = (one for one in study.results if one.experiment == "E9")
    place = list(SETS).index(name) * len(MEASURES) + list(MEASURES).index(measure)
    return result.verdicts[place].verdict


def test_units_that_give_a_word_are_the_planted_ones(there: Path, planted: Any) -> None:
    found = read_found(there)
    assert set(found.photos.items()) == {(concept, PHOTOS) for concept in CONCEPTS}
    for concept, unit in planted[1].items():
        (own,) = found.units[concept, "total", "found"].values()
        assert Unit(*own[:2]) == unit
        # What stands in for a set is none of it, of the same layers.
        for name in ("total", "change", "shift"):
            own, matched = (
                {Unit(*one[:2]) for one in found.units[concept, name, role].values()}
                for role in ("found", "matched")
            )
            assert not own & matched
            layers = [sorted(unit.layer for unit in units) for units in (own, matched)]
            assert layers[0] == layers[1]
            assert max(layers[0]) < 2  # nothing reads the last layer's units at patches


def test_planted_units_keep_their_concept_on_photos_of_another_source(here: Study) -> None:
    assert verdict_of(here, "transplant", "total") == HOLDS
    assert verdict_of(here, "activation", "shift") == HOLDS
    taken = row_of(here, "transplant", "total")
    assert taken["own"].value > 2
    assert row_of(here, "ablation", "total")["own"].value > 2
    # Units that no word chose are other ones here, and carry nothing.
    assert verdict_of(here, "transplant", "change") == FALLS
    assert abs(row_of(here, "transplant", "change")["own"].value) < 0.5
    assert verdict_of(here, "field", "total") == OPEN  # no photo has a mask
    assert verdict_of(here, "reading", "total") == OPEN  # the model has no lens
    counts = here.result("E9.left_out").rows
    assert [row["concept"] for row in counts if row["measured"]] == list(CONCEPTS)


def swapped(run: Path, to: Path) -> Path:
    """Return a run in which each concept has the units of the next one."""
    shutil.copytree(run, to)
    path = to / "tables" / "e8_units.parquet"
    table = pq.read_table(path)
    after = dict(zip(CONCEPTS, (*CONCEPTS[1:], CONCEPTS[0]), strict=True))
    names = pa.array([after[name] for name in table["concept"].to_pylist()])
    pq.write_table(table.set_column(0, "concept", names), path)
    return to


def test_with_labels_swapped_nothing_holds(
    seeing: Any, sets: dict[str, Path], there: Path, tmp_path: Path
) -> None:
    run = swapped(there, tmp_path / "there")
    study = run_transfer(run, seeing, sets["here"], out=tmp_path / "here", settings=SETTINGS)
    verdicts = [one.verdict for result in study.results for one in result.verdicts]
    assert HOLDS not in verdicts
    assert verdict_of(study, "transplant", "total") == FALLS
    assert verdict_of(study, "activation", "shift") == FALLS
    assert abs(row_of(study, "transplant", "total")["own"].value) < 1


def test_effects_are_those_of_one_pass_over_the_whole_text(
    here: Study, there: Path, seeing: Any, sets: dict[str, Path]
) -> None:
    photos = here.table("e9_photos").to_pylist()
    effects = here.table("e9_effects").to_pylist()
    row = next(row for row in photos if row["concept"] == "boat")
    model, found = seeing.language_model, read_found(there)

    def log_p(photo: str, word: str, units: list[Unit]) -> float:
        prompt = seeing.see([sets["here"] / photo])
        whole = prompt.followed_by(model, word_tokens(model, "a"))
        with intervened(model, [Intervention(units, "patches")], prompt.patches):
            logits = model.read(whole, keep=1).logits[0, -1].float()
        return float(logits.log_softmax(dim=-1)[word_tokens(model, word)[0]])

    assert row["behind"] == pytest.approx(log_p(row["id"], "boat", []), abs=1e-4)
    receiver = log_p(row["receiver"], "boat", [])
    assert row["behind_receiver"] == pytest.approx(receiver, abs=1e-4)
    assert not row["receiver"].startswith("canoe")
    for role, concept, whose, word in (
        ("own", "boat", "found", "boat"),
        ("matched", "boat", "matched", "boat"),
        ("other", row["other"], "found", "boat"),
        ("absent", row["other"], "found", row["other"]),
    ):
        units = [Unit(*one[:2]) for one in found.units[concept, "change", whose].values()]
        lost = log_p(row["id"], word, []) - log_p(row["id"], word, units)
        wanted = {"photo": row["photo"], "set": "change", "role": role, "kind": "ablation"}
        (kept,) = (e["nats"] for e in effects if wanted.items() <= e.items())
        assert kept == pytest.approx(lost, abs=1e-4)


def test_a_transplant_writes_this_photos_values_into_the_receiver(
    here: Study, there: Path, seeing: Any, sets: dict[str, Path]
) -> None:
    row = here.table("e9_photos").to_pylist()[-1]
    model, found = seeing.language_model, read_found(there)
    values, receiving = (
        patch_activations(model, seeing.see([sets["here"] / row[name]]))
        for name in ("id", "receiver")
    )
    prompt = seeing.see([sets["here"] / row["receiver"]])
    whole = prompt.followed_by(model, word_tokens(model, "a"))
    token = word_tokens(model, row["concept"])[0]
    own = found.units[row["concept"], "shift", "found"]
    matched = found.units[row["concept"], "shift", "matched"]
    # The fake: each unit's change, at the unit that stands in for it.
    changed = receiving.clone()
    for rank, (layer, unit, _) in matched.items():
        first_layer, first, _ = own[rank]
        changed[layer, :, unit] += values[first_layer, :, first] - receiving[first_layer, :, first]
    for role, units, new in (("own", own, values), ("fake", matched, changed)):
        edit = Intervention([Unit(*one[:2]) for one in units.values()], "patches", new)
        with intervened(model, [edit], prompt.patches):
            logits = model.read(whole, keep=1).logits[0, -1].float()
        gained = float(logits.log_softmax(dim=-1)[token]) - row["behind_receiver"]
        wanted = {"photo": row["photo"], "set": "shift", "role": role, "kind": "transplant"}
        effects = here.table("e9_effects").to_pylist()
        (kept,) = (e["nats"] for e in effects if wanted.items() <= e.items())
        assert kept == pytest.approx(gained, abs=1e-4)


def test_sets_are_read_as_a_set_reading_is(seeing: Any, there: Path, sets: dict[str, Path]) -> None:
    model, found = seeing.language_model, read_found(there)
    size = (model.n_layers - 1, model.d_model, model.d_stream)
    lens = JacobianLens({}, torch.randn(size, generator=torch.Generator().manual_seed(0)))
    frozen = freeze(found, CONCEPTS, (model.n_layers, model.d_mlp), seed=0)
    measure = Measure(
        ModelFacts.of(replace(seeing, lens=lens)), CONCEPTS, frozen, {}, {}, Image.open, 7
    )
    activation = patch_activations(model, seeing.see([sets["here"] / "canoe" / "2-0.png"]))
    mean = seeing.reference.require_activation().mean
    scores = measure._scores(lens, activation.mean(dim=1) - mean)
    for number, (key, one) in enumerate(frozen.items()):
        for role, units in ((0, one.own), (1, one.matched)):
            writes = set_writes(model, activation, mean, units.mask)
            slow = read_writes(model, lens, writes, measure.words).whole()
            torch.testing.assert_close(
                scores[role, number] * activation.shape[1], slow, rtol=1e-3, atol=1e-3
            )
        # The fake: what the units do, written by the rows that stand in for them.
        moved = mean[:, None].expand_as(activation).clone()
        for place, layer, unit in zip(
            one.stands_in.tolist(), one.matched.layers, one.matched.units, strict=True
        ):
            own = (one.own.layers[place], slice(None), one.own.units[place])
            moved[layer, :, unit] += activation[own] - mean[own[0], own[2]]
        writes = set_writes(model, moved, mean, one.matched.mask)
        slow = read_writes(model, lens, writes, measure.words).whole()
        torch.testing.assert_close(
            scores[2, number] * activation.shape[1], slow, rtol=1e-3, atol=1e-3
        )
        assert not torch.allclose(scores[3, number], scores[0, number]), key
        assert torch.isfinite(percentiles(scores[3, number])).all()


def test_a_transfer_goes_on_where_it_was_ended(
    here: Study, there: Path, seeing: Any, sets: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(here.folder, out)
    parts = sorted((out / "parts" / "transfer").glob("*.parquet"))
    for part in parts[::7]:
        part.unlink()
    shutil.rmtree(out / "tables")
    seen: list[str] = []
    run_transfer(
        there,
        seeing,
        sets["here"],
        out=out,
        settings=SETTINGS,
        on_photo=lambda progress: seen.append(progress.id),
    )
    assert len(seen) == len(parts[::7])
    for path in (here.folder / "tables").glob("*.parquet"):
        assert (out / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(RunError, match=r"settings\.per_class: 10 in the folder, 6 now"):
        run_transfer(there, seeing, sets["here"], out=out, settings=replace(SETTINGS, per_class=6))


def test_what_a_transfer_cannot_do_is_one_line(
    here: Study, there: Path, seeing: Any, sets: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="found no units of concepts: run `molyneux study DATA"):
        run_transfer(here.folder, seeing, sets["here"], settings=SETTINGS)
    with pytest.raises(RunError, match="is not a run"):
        run_transfer(sets["here"], seeing, sets["here"], settings=SETTINGS)
    other = tmp_path / "other"
    shutil.copytree(there, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"hashes": {"projection": "0"}}))
    with pytest.raises(UsageError, match="those of another model: its projection"):
        run_transfer(other, seeing, sets["here"], out=tmp_path / "run", settings=SETTINGS)
    few = save_classes(tmp_path / "few", {one: f"a {one}" for one in CONCEPTS}, 3)
    with pytest.raises(UsageError, match="5 photos or more of 0 of the 6 concepts"):
        run_transfer(there, seeing, few, out=tmp_path / "run", settings=SETTINGS)
    with pytest.raises(UsageError, match="E9 measures units that another run found"):
        run_study(seeing, sets["here"], "E9", out=tmp_path / "run", settings=SETTINGS)
    with pytest.raises(UsageError, match="E8 takes 5 photos or more of each of two concepts"):
        run_study(seeing, few, "E8", out=tmp_path / "run", settings=SETTINGS)
    assert not (tmp_path / "run").exists()
    changed = transfer_settings(swapped(there, tmp_path / "changed"), SETTINGS)
    pq.write_table(
        pq.read_table(there / "tables" / "e8_units.parquet"),
        tmp_path / "changed" / "tables" / "e8_units.parquet",
    )
    with pytest.raises(UsageError, match="others than when this run was begun"):
        run_study(seeing, sets["here"], "E9", out=tmp_path / "run", settings=changed)


def test_the_command_prints_what_its_schema_says(
    here: Study,
    there: Path,
    seeing: Any,
    sets: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Captioner, "load", lambda *_, **__: seeing)
    monkeypatch.setattr(ModelChoice, "measured_lens", lambda *_: None)
    out = tmp_path / "run"
    shutil.copytree(here.folder, out)
    asked = ["transfer", there, sets["here"], "--threads", 1, "--out", out, "--json"]
    assert main([str(one) for one in asked]) == 0
    printed, said = capsys.readouterr()
    document = json.loads(printed)
    assert misfits("transfer", document) == []
    assert document["concepts"] == list(CONCEPTS)
    assert (document["photos"], document["bad"]) == (len(CONCEPTS) * PHOTOS, [])
    assert "no lens comes with the model" in said
    assert main(["table", str(out), "E9.transfer"]) == 0
    assert "above every control" in capsys.readouterr().out
    assert (out / "report.html").is_file()


def test_concepts_of_open_images_have_masks(
    seeing: Any, sets: dict[str, Path], there: Path, tmp_path: Path
) -> None:
    """Its boxes, masks and names; each mask is the left half of the photo."""
    place = tmp_path / "open-images"
    (place / "masks").mkdir(parents=True)
    (place / "validation").mkdir()
    classes = "".join(f"/m/{k},{c.capitalize()}\n" for k, c in enumerate(CONCEPTS))
    boxes, masks = "ImageID,LabelName,IsGroupOf\n", "MaskPath,ImageID,LabelName\n"
    for k, concept in enumerate(CONCEPTS):
        files = sorted((sets["here"] / LABELS["here"][concept]).glob("*.png"))
        for number, file in enumerate(files):
            name = f"{concept}{number}"
            with Image.open(file) as photo:
                photo.save(place / "validation" / f"{name}.jpg", quality=95)
                mask = Image.new("1", photo.size)
            mask.paste(1, (0, 0, 32, 64))
            mask.save(place / "masks" / f"{name}.png")
            boxes += f"{name},/m/{k},0\n"
            masks += f"{name}.png,{name},/m/{k}\n"
    (place / "class-descriptions-boxable.csv").write_text(classes)
    (place / "validation-annotations-bbox.csv").write_text(boxes)
    (place / "validation-annotations-object-segmentation.csv").write_text(masks)
    study = run_transfer(there, seeing, place, out=tmp_path / "run", settings=SETTINGS)
    fields = study.table("e9_fields").to_pylist()
    assert {row["role"] for row in fields} == {
        "own", "other", "matched", "fake", "centre", "chance",
    }  # fmt: skip
    assert {row["area"] for row in fields} == {0.5}
    row = row_of(study, "field", "total")
    assert row["own"].n == len(CONCEPTS) * PHOTOS
    # 5 % of the photo against its half, in random order: .025 of .525.
    assert row["chance"].value == pytest.approx(0.025 / 0.525, abs=0.003)
    assert verdict_of(study, "field", "total") == FALLS  # nothing was planted that looks left
    assert verdict_of(study, "transplant", "total") == HOLDS


def test_people_of_flickr30k_name_concepts(sets: dict[str, Path], tmp_path: Path) -> None:
    photos = tmp_path / "flickr30k-images"
    photos.mkdir()
    lines = ""
    for concept in CONCEPTS:
        for file in sorted((sets["here"] / LABELS["here"][concept]).glob("*.png")):
            name = f"{concept}-{file.stem}.jpg"
            with Image.open(file) as photo:
                photo.save(photos / name)
            said = (f"A {concept} .", f"The {concept} .", f"Some {concept} near a dog .")
            lines += "".join(f"{name}#{k}\t{text}\n" for k, text in enumerate(said))
    (tmp_path / "results_20130124.token").write_text(lines)
    told = told_of(select(open_dataset(tmp_path)))
    assert photos_of(told) == dict.fromkeys(CONCEPTS, PHOTOS)
    assert all(one.mentioned == one.named | {"dog"} for one in told.values())
    shared = shared_concepts(dict.fromkeys(CONCEPTS, 5), told, 3, 0, "it")
    assert (shared.concepts, len(shared.ids)) == (CONCEPTS, 3 * len(CONCEPTS))
    assert shared.left_out == ()
    pairs = pair_photos(shared, told, seed=0)
    assert set(pairs) == set(shared.ids)
    for name, pair in pairs.items():
        assert pair.concept in told[name].named
        for one in (name, pair.receiver):
            assert pair.other not in told[one].mentioned
        assert pair.concept not in told[pair.receiver].mentioned
    assert len({pair.other for pair in pairs.values()}) > 2
