"""E3 on a tiny captioner, and its summary on lists with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_photos

from molyneux.data.dataset import Item
from molyneux.explain.measure_reference import measure_reference
from molyneux.studies.e3_layers.experiment import Layers
from molyneux.studies.e3_layers.measure import LISTS
from molyneux.studies.e3_layers.summary import band
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number, read_result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject


@pytest.fixture(scope="module")
def subject(make_captioner: Any, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("photos")
    files = [folder / f"{number}.png" for number in range(6)]
    for file, photo in zip(files, tiny_photos(6), strict=True):
        photo.save(file)
    captioner = make_captioner("llama")
    table, _ = measure_reference(captioner, files, data="six drawings", n_listed=10)
    item = Item(id="a", source=files[0])
    facts = ModelFacts.of(captioner.with_reference(table))
    return Subject(facts, StudySettings(units=12), item, item.read(), item.sha256())


def test_each_list_holds_the_first_units_and_their_words(subject: Subject) -> None:
    rows = Layers().measure(subject)["e3_layers"]
    assert Layers().measure(subject)["e3_layers"] == rows
    pa.Table.from_pylist(rows, schema=Layers().tables()["e3_layers"])
    assert [(r["view"], r["ranking"]) for r in rows] == [
        (view, ranking) for view in ("patches", "last") for ranking in LISTS
    ]
    table = subject.facts.reference.interpretable
    for row in rows:
        units = subject.ranking(row["view"], row["ranking"], 12)
        assert row["units"] == [u.layer * subject.model.d_mlp + u.unit for u in units]
        assert len(set(row["units"])) == len(row["units"]) <= 12
        if not row["ranking"].endswith("_no_sinks"):
            signs = subject.signs(row["view"], units)
            words = [
                int(table[0 if sign < 0 else 1, u.layer, u.unit])
                for u, sign in zip(units, signs, strict=True)
            ]
            assert row["words"] == words
    assert any(sum(row["words"]) for row in rows)


def test_without_sink_patches_the_direction_is_that_of_the_patches_kept(subject: Subject) -> None:
    fresh = Subject(subject.facts, subject.settings, subject.item, subject.photo, subject.sha256)
    sinks = torch.zeros(16, dtype=torch.bool)
    first = fresh.ranking("patches", "top", 1)[0]
    sinks[fresh.attribution.patches.peak_patch[0, first.layer, first.unit]] = True
    fresh.sink_patches = sinks  # type: ignore[misc]
    del fresh.attribution
    rows = {(r["view"], r["ranking"]): r for r in Layers().measure(fresh)["e3_layers"]}
    found = rows["patches", "top_no_sinks"]
    assert found["units"] != rows["patches", "top"]["units"]
    scores = fresh.scores("patches", without_sinks=True)
    table = fresh.facts.reference.interpretable
    for number, word in zip(found["units"], found["words"], strict=True):
        layer, unit = divmod(number, fresh.model.d_mlp)
        assert word == int(table[0 if scores.sign[0, layer, unit] < 0 else 1, layer, unit])


@pytest.mark.parametrize(
    ("n_layers", "layers"),
    [(28, [5, 6, 7, 8, 9, 10]), (30, [6, 7, 8, 9, 10]), (3, [1]), (12, [3, 4]), (1, [])],
)
def test_the_papers_band_at_other_depths(n_layers: int, layers: list[int]) -> None:
    assert band(n_layers) == layers


def finished(lists: list[list[int] | None], words: list[list[int]]) -> Finished:
    """A study of a model of 10 layers x 4 units; every ranking gave the same list."""
    rows = [
        {"photo": photo, "view": view, "ranking": ranking, "units": units, "words": ok}
        for photo, (units, ok) in enumerate(zip(lists, words, strict=True))
        if units is not None
        for view in ("patches", "last")
        for ranking in LISTS
    ]
    schema = pa.schema([pa.field("photo", pa.int32()), *Layers().tables()["e3_layers"]])
    interpretable = np.zeros((2, 10, 4), dtype=bool)
    interpretable[:, 2, :2] = True  # half of layer 2 in either direction
    interpretable[1, 9, :] = True  # all of layer 9 in one direction
    return Finished(
        Path("nowhere"),
        StudySettings(),
        {},
        ModelTables(interpretable, {}, np.ones((10, 4)), 0.37),
        pa.table({"id": [str(i) for i in range(len(lists))]}),
        {"e3_layers": pa.Table.from_pylist(rows, schema=schema)},
    )


def test_the_summary_counts_layers_and_interpretable_units() -> None:
    # Units 8 to 11 are layer 2's, which lies in the paper's band of ten layers, as does layer 3.
    study = finished([[8, 9, 10, 36], [8, 36, 37, 38], None], [[1, 1, 0, 1], [1, 0, 0, 0], []])
    assert band(10) == [2, 3]
    result = Layers().summarise(study)
    assert read_result(result.document()) == result
    tables = {table.name: table.rows for table in result.tables}
    for row in tables["E3.where"]:
        assert row["share in the band"] == Number(0.5, 0.25, 0.75, 2)
        assert row["band / all layers"] == Number(0.2)
        assert row["units per photo"] == Number(4.0, 4.0, 4.0, 2)
        mean_layer = row["mean layer / n_layers"]
        assert isinstance(mean_layer, Number)
        assert mean_layer.value == pytest.approx((15 / 4 + 29 / 4) / 2 / 10)
        assert row["unique over all photos"] == 6
    for row in tables["E3.interpretable"]:
        own, base, more = (
            row[name] for name in ("7 of 10 words", "all units, same layers", "difference")
        )
        assert row["ten random tokens"] == Number(0.37)
        assert own == Number(0.5, 0.25, 0.75, 2)
        # Layers 2 and 9 have one half each, whatever the weights.
        assert base == Number(0.5, 0.5, 0.5, 2)
        assert more == Number(0.0, -0.25, 0.25, 2)
    by_layer = tables["E3.layers_patches"]
    assert by_layer[2]["top"] == Number(2.0, 1.0, 3.0, 2)
    assert by_layer[2]["top: words"] == Number(1.5, 1.0, 2.0, 2)
    assert by_layer[9]["specific"] == Number(2.0, 1.0, 3.0, 2)
    assert by_layer[0]["top"] == Number(0.0, 0.0, 0.0, 2)
    depth = next(f for f in result.figures if f.name == "E3.depth_last")
    density = depth.series[0].y
    assert sum(y for y in density if y is not None) == pytest.approx(10)
    assert depth.series[0].x[2] == pytest.approx(0.2)


def test_the_base_rate_follows_the_layers_of_the_list() -> None:
    study = finished([[0, 1, 8, 9]], [[0, 0, 0, 1]])
    (row, *_) = next(
        t for t in Layers().summarise(study).tables if t.name == "E3.interpretable"
    ).rows
    base = row["all units, same layers"]
    assert isinstance(base, Number)
    assert base.value == pytest.approx(0.25)


def test_a_study_without_nouns_has_no_numbers() -> None:
    result = Layers().summarise(finished([None], [[]]))
    value = result.tables[0].rows[0]["units per photo"]
    assert isinstance(value, Number)
    assert value.value is None
    assert value.why
