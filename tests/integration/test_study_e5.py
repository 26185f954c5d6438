"""E5's two passes on a tiny captioner: what is measured is what the model computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tiny_models import count_hooks, tiny_photos, weights_hash

from molyneux.data.dataset import Item
from molyneux.explain.measure_reference import measure_reference
from molyneux.hooks import edit
from molyneux.neurons.sinks import patch_norms, sink_patches
from molyneux.neurons.unit import Unit
from molyneux.studies.e5_selectivity import confirmation
from molyneux.studies.e5_selectivity.confirmation import CONFIRM_TABLES, READINGS, confirm
from molyneux.studies.e5_selectivity.discovery import (
    DISCOVERY_TABLES,
    FOUND_BY,
    discover,
    distinct_directions,
    select_units,
)
from molyneux.studies.e5_selectivity.experiment import Selectivity
from molyneux.studies.e5_selectivity.summary import UNITS, summarise
from molyneux.studies.finished import as_columns
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

SETTINGS = StudySettings(units=60)


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for number, photo in enumerate(tiny_photos(12)):
        files.append(folder / f"{number}.png")
        photo.save(files[-1])
    return files


@pytest.fixture(scope="module")
def facts(make_captioner: Any, photo_files: list[Path]) -> ModelFacts:
    captioner = make_captioner("llama")
    table, _ = measure_reference(captioner, photo_files[:6], data="drawings", n_listed=10)
    # The tiny vocabulary writes few words: which units count as interpretable is drawn instead.
    drawn = torch.rand(table.interpretable.shape, generator=torch.Generator().manual_seed(0))
    table.interpretable.copy_(drawn < 0.5)
    return ModelFacts.of(captioner.with_reference(table))


def subject_of(facts: ModelFacts, path: Path) -> Subject:
    item = Item(id=path.name, source=path)
    return Subject(facts, SETTINGS, item, item.read(), item.sha256())


def test_units_found_are_the_interpretable_ones_of_each_ranking(
    facts: ModelFacts, photo_files: list[Path]
) -> None:
    subject = subject_of(facts, photo_files[0])
    rows = discover(subject)["e5_discovery"]
    pa.Table.from_pylist(rows, schema=DISCOVERY_TABLES["e5_discovery"])
    every = {(view, ranking) for view in ("patches", "last") for ranking in FOUND_BY}
    found = {(row["view"], row["ranking"]) for row in rows}
    # At the patches of so small a model nearly every specific unit is a sink.
    assert every - {("patches", "specific_no_sinks")} <= found <= every
    for view in ("patches", "last"):
        scores = subject.scores(view)
        top = subject.ranking(view, "top", SETTINGS.units)
        words = facts.reference.interpretable_as(scores.sign[0])
        expected = [u for u in top if words[u.layer, u.unit]]
        mine = [row for row in rows if (row["view"], row["ranking"]) == (view, "top")]
        assert [Unit(row["layer"], row["unit"]) for row in mine] == expected
        assert 0 < len(mine) < len(top)
        for row in mine:
            assert top[row["rank"] - 1] == Unit(row["layer"], row["unit"])
            assert row["score"] == float(scores.score[0, row["layer"], row["unit"]])
            written = subject.attribution.activation[row["layer"], :, row["unit"]]
            if view == "patches":
                peak = scores.peak_patch[0, row["layer"], row["unit"]]
                assert float(written[peak]) * row["sign"] > 0


def test_sinks_are_left_out_where_it_says_so(facts: ModelFacts, photo_files: list[Path]) -> None:
    rows = discover(subject_of(facts, photo_files[1]))["e5_discovery"]
    for view in ("patches", "last"):
        sinks = facts.reference.sinks(view)
        assert bool(sinks.any())

        def found(ranking: str, view: str = view) -> set[tuple[int, int]]:
            return {
                (row["layer"], row["unit"])
                for row in rows
                if (row["view"], row["ranking"]) == (view, ranking)
            }

        assert any(sinks[place] for place in found("top"))
        assert not any(sinks[place] for place in found("top_no_sinks"))


def test_a_photo_without_a_noun_finds_nothing(
    facts: ModelFacts, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subject, "word", None)
    assert discover(subject_of(facts, photo_files[0])) == {"e5_discovery": []}


def test_confirmed_is_the_models_own_activation_in_one_forward_pass(
    facts: ModelFacts, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, photo = facts.captioner, Image.open(photo_files[0])
    model = facts.captioner.language_model
    before, hooks, passes = weights_hash(model.model), count_hooks(model.model), []
    hook = model.model.register_forward_hook(lambda *_: passes.append(1))
    directions = [(0, 3, 1), (0, 40, -1), (2, 3, -1), (2, 3, 1)]
    row = confirm(captioner, photo, directions)["e5_confirmation"][0]
    hook.remove()
    assert len(passes) == 1
    assert count_hooks(model.model) == hooks
    assert weights_hash(model.model) == before

    # The slow way: read what an edit of the down projection is given.
    prompt, given = captioner.see([photo]), {}
    modules = {layer: model.down_projection(layer) for layer in range(model.n_layers)}
    with edit(modules, lambda layer, a: given.setdefault(layer, a)):
        model.model(inputs_embeds=prompt.embeddings)
    for place, (layer, unit, sign) in enumerate(directions):
        signed = sign * given[layer][0, :, unit]
        at_patches = signed[prompt.patches]
        assert row["mean"][place] == pytest.approx(float(at_patches.mean()), abs=1e-6)
        assert row["max"][place] == pytest.approx(float(at_patches.max()), abs=1e-6)
        assert row["last"][place] == pytest.approx(float(signed[-1]), abs=1e-6)
    assert row["mean"][2] == -row["mean"][3]
    assert confirm(captioner, photo, directions)["e5_confirmation"] == [row]

    # A photo with sink patches: they are what the other two readings leave out.
    norms = patch_norms(model, prompt)
    chosen = torch.zeros(1, norms.shape[2], dtype=torch.bool)
    chosen[0, [0, 5]] = True
    monkeypatch.setattr(confirmation, "sink_patches", lambda seen: chosen)
    without = confirm(captioner, photo, directions)["e5_confirmation"][0]
    kept = given[0][0, prompt.patches, 3][~chosen[0]]
    assert without["mean_no_sinks"][0] == pytest.approx(float(kept.mean()), abs=1e-6)
    assert without["max_no_sinks"][0] == pytest.approx(float(kept.max()), abs=1e-6)
    assert without["mean"] == row["mean"]
    assert bool(sink_patches(norms).any()) or row["mean_no_sinks"] == row["mean"]


def test_no_direction_is_an_empty_row(facts: ModelFacts, photo_files: list[Path]) -> None:
    rows = confirm(facts.captioner, Image.open(photo_files[0]), [])["e5_confirmation"]
    assert rows == [{name: [] for name in READINGS}]


def test_both_passes_end_to_end(facts: ModelFacts, photo_files: list[Path]) -> None:
    halves = {"left": photo_files[:6], "right": photo_files[6:]}
    found, seen, found_on, labels = [], [], [], []
    for label, files in halves.items():
        for path in files[:3]:
            rows = discover(subject_of(facts, path))["e5_discovery"]
            found += [{"photo": len(found_on), **row} for row in rows]
            found_on.append(label)
    schema = pa.schema([("photo", pa.int32()), *DISCOVERY_TABLES["e5_discovery"]])
    discovery = as_columns(pa.Table.from_pylist(found, schema=schema))
    words = facts.reference.interpretable.numpy()
    selected = select_units(discovery, found_on, words, seed=0, per_class=5)
    assert {unit.role for unit in selected} == {"found", "control"}
    for unit in selected:
        assert words[1 if unit.sign > 0 else 0, unit.layer, unit.unit] or unit.role == "found"
    directions = distinct_directions(selected)
    for label, files in halves.items():
        for path in files[3:]:
            rows = confirm(facts.captioner, Image.open(path), directions)["e5_confirmation"]
            seen += [{"photo": len(labels), **row} for row in rows]
            labels.append(label)
    schema = pa.schema([("photo", pa.int32()), *CONFIRM_TABLES["e5_confirmation"]])
    confirmation = as_columns(pa.Table.from_pylist(seen, schema=schema))
    result, units = summarise(Selectivity(), discovery, selected, confirmation, labels, found_on)
    assert units.schema == UNITS
    assert {table.name for table in result.tables} == {
        "E5.diagonal",
        "E5.diagonal_variants",
        "E5.units",
        "E5.classes",
    }
    again, same = summarise(Selectivity(), discovery, selected, confirmation, labels, found_on)
    assert again == result
    assert same.equals(units)
    # A set's cell of the matrix, from the rows themselves.
    figure = next(f for f in result.figures if f.name == "E5.matrix.patches.top")
    mine = [
        u.direction
        for u in selected
        if (u.view, u.ranking) == ("patches", "top") and (u.label, u.role) == ("left", "found")
    ]
    places = [directions.index(direction) for direction in mine]
    means = [
        np.mean(
            [
                np.array(row["mean"])[places]
                for row, own in zip(seen, labels, strict=True)
                if own == label
            ]
        )
        for label in halves
    ]
    scale = max(means) if max(means) > 0 else max(map(abs, means))
    assert figure.series[0].y == pytest.approx([m / scale for m in means], rel=1e-5)
