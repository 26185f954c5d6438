"""Units that carry a planted word keep it on other photos; with labels swapped they do not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny_models import tiny_captioner, tiny_photos

from molyneux.explain.measure_reference import measure_reference
from molyneux.models.captioner import Captioner
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import word_tokens
from molyneux.neurons.unit import Unit
from molyneux.studies.e8_concepts.chosen import read_found
from molyneux.studies.e9_transfer.claims import MEASURES
from molyneux.studies.e9_transfer.frozen import SETS
from molyneux.studies.folder import Study
from molyneux.studies.results import FALLS, HOLDS, OPEN
from molyneux.studies.settings import StudySettings
from molyneux.studies.study import run_study
from molyneux.studies.transfer import run_transfer

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


SETTINGS = StudySettings(threads=1, subsets=0, clip="none")


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
