"""E4 on a tiny captioner with drawn masks, and its summary on tables with known answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import study_toy
import torch
from PIL import Image
from study_toy import facts_over, subject_of

from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.receptive_fields import field_mask, receptive_fields, set_field, upsample
from molyneux.neurons.unit import Unit, top_units
from molyneux.neurons.unit_sets import RANKINGS
from molyneux.statistics.overlap import average_precision, iou
from molyneux.studies.e4_fields.experiment import Fields
from molyneux.studies.e4_fields.measure import (
    FIRST,
    Goal,
    UnitList,
    compare,
    find_goals,
    unit_lists,
)
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number, Result, read_result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject
from molyneux.vision.encoder import PatchGrid


@dataclass(frozen=True)
class Box:
    """A rectangle: left, top, right, bottom, in the photo's pixels."""

    corners: tuple[int, int, int, int]
    size: tuple[int, int] | None = None

    def draw(self, width: int, height: int) -> Any:
        mask = np.zeros((height, width), dtype=bool)
        left, top, right, bottom = self.corners
        mask[top:bottom, left:right] = True
        return mask


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return study_toy.photo_files(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def facts(make_captioner: Any, photo_files: list[Path]) -> ModelFacts:
    plain = facts_over(make_captioner("llama"), photo_files, n_listed=30)
    # In so small a model nearly every unit is in the top 100 of all photos: let few be sinks.
    table = plain.reference
    few = {view: count * (torch.arange(48) < 4) for view, count in table.top_count.items()}
    return ModelFacts.of(plain.captioner.with_reference(replace(table, top_count=few)))


def annotated(facts: ModelFacts, path: Path, **boxes: tuple[int, int, int, int]) -> Subject:
    """A photo whose caption's noun, called `noun` here, and other words have one box each."""
    plain = subject_of(facts, path)
    assert plain.word is not None
    named = {plain.word.lemma if k == "noun" else k: Box(v) for k, v in boxes.items()}
    return subject_of(
        facts,
        path,
        categories=tuple(named),
        instances=dict.fromkeys(named, 1),
        outlines=named,
    )


def rows_of(table: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    return [row for row in table if all(row[k] == v for k, v in values.items())]


def test_a_photo_gives_a_row_per_list_and_map(facts: ModelFacts, photo_files: list[Path]) -> None:
    boxes = {"noun": (20, 10, 60, 60), "kitchen": (50, 20, 85, 70)}
    subject = annotated(facts, photo_files[0], **boxes)
    found = Fields().measure(subject)
    again = Fields().measure(annotated(facts, photo_files[0], **boxes))
    assert found == again
    outcomes = {(r["kind"], r["outcome"]) for r in found["e4_targets"]}
    assert ("caption", "compared") in outcomes
    assert ("asked", "compared") in outcomes
    for name, schema in Fields().tables().items():
        assert name.startswith("e4_")
        pa.Table.from_pylist(found[name], schema=schema)
    table = found["e4_fields"]
    assert len(table) < 100
    mine = rows_of(table, kind="caption")
    for whose in ("own", "random"):
        assert {r["ranking"] for r in rows_of(mine, units=whose)} == set(RANKINGS)
    for name in ("centre", "random map", "activation"):
        assert len(rows_of(mine, units=name)) == 1


def test_scores_are_those_of_each_unit_by_itself(
    facts: ModelFacts, photo_files: list[Path]
) -> None:
    subject = annotated(facts, photo_files[0], noun=(20, 10, 60, 60))
    goals, _ = find_goals(subject)
    table = Fields().measure(subject)["e4_fields"]
    units = subject.ranking("patches", "specific", FIRST)
    signs = subject.signs("patches", units)
    grid = subject.captioner.encoder.grid
    fields = receptive_fields(subject.attribution.activation, units, signs, grid)
    heat = upsample(fields, 64)
    ious = [iou(m, goals[0].mask) for m in field_mask(heat).numpy()]
    areas = [average_precision(h, goals[0].mask) for h in heat.numpy()]
    (row,) = rows_of(table, kind="caption", ranking="specific", units="own")
    assert row["n"] == len(units)
    assert row["iou"] == pytest.approx(np.mean(ious))
    assert row["auprc"] == pytest.approx(np.mean(areas))
    assert row["best_iou"] == pytest.approx(max(ious))
    assert row["best_auprc"] == pytest.approx(max(areas))
    # The named unit is one of those that score the maximum.
    assert row["best_unit"] in {str(u) for u, v in zip(units, ious, strict=True) if v == max(ious)}
    together = upsample(set_field(fields)[None], 64)
    assert row["set_iou"] == pytest.approx(iou(field_mask(together)[0].numpy(), goals[0].mask))
    assert row["set_auprc"] == pytest.approx(
        average_precision(together[0].numpy(), goals[0].mask), abs=1e-6
    )
    assert row["area"] == goals[0].mask.mean()


def test_a_planted_unit_finds_its_mask_and_a_reversed_one_does_not() -> None:
    grid = PatchGrid(4, 4)
    activation = torch.zeros(3, 16, 8)
    activation[1, 5, 2] = 2.0
    activation[1, :, 3] = torch.linspace(0, 1, 16)
    planted, decoy = (Unit(1, 2), 1), (Unit(1, 3), 1)
    hot = upsample(activation[1, :, 2].reshape(1, 4, 4), 64)
    mask = field_mask(hot)[0].numpy()
    goal = Goal("caption", "dog", 0, mask)
    lists = [
        UnitList("top", "own", [planted, decoy]),
        UnitList("top", "random", [(Unit(1, 2), -1)]),
    ]
    table = compare(activation, grid, [goal], [lists])
    (own,) = rows_of(table, ranking="top", units="own")
    assert own["best_unit"] == "L1.u2"
    assert own["best_iou"] == 1
    assert own["best_auprc"] == 1
    assert own["iou"] < 1
    (reversed_,) = rows_of(table, ranking="top", units="random")
    assert reversed_["iou"] == 0
    assert reversed_["set_auprc"] < 2 * mask.mean()


def test_the_mask_goes_through_the_crop_as_a_painted_photo_does(
    facts: ModelFacts, photo_files: list[Path]
) -> None:
    subject = annotated(facts, photo_files[1], noun=(15, 20, 55, 66))
    goals, _ = find_goals(subject)
    painted = Image.new("RGB", subject.photo.size)
    painted.paste((255, 255, 255), (15, 20, 55, 66))
    seen = np.asarray(subject.captioner.encoder.preprocessing.crop(painted).convert("L")) > 127
    assert goals[0].mask.shape == seen.shape
    assert iou(goals[0].mask, seen) > 0.94
    assert goals[0].mask.mean() == pytest.approx(40 / 80 * 46 / 80, abs=0.02)


def test_every_word_that_cannot_be_compared_says_why(
    facts: ModelFacts, photo_files: list[Path]
) -> None:
    def outcome(subject: Subject, kind: str = "caption") -> list[str]:
        found = Fields().measure(subject)
        compared = {(r["kind"], r["category"]) for r in found["e4_fields"]}
        for row in found["e4_targets"]:
            named = (row["kind"], row["category"])
            assert (row["outcome"] == "compared") == (named in compared)
        return [r["outcome"] for r in found["e4_targets"] if r["kind"] == kind]

    path = photo_files[0]
    # The photo is 100 x 80 and its central square is seen: the first ten columns are not.
    assert outcome(annotated(facts, path, noun=(0, 0, 9, 80))) == ["outside what the encoder sees"]
    assert outcome(subject_of(facts, path)) == ["the photo has no mask"]
    other = annotated(facts, path, kitchen=(20, 20, 60, 60))
    assert outcome(other) == ["the noun names no annotated category"]
    assert outcome(other, "asked") == ["compared"]
    word = other.word
    assert word is not None
    several = subject_of(
        facts,
        path,
        categories=(word.lemma,),
        instances={word.lemma: 2},
        outlines={word.lemma: Box((20, 20, 60, 60))},
    )
    assert outcome(several) == ["not a single instance"]
    unnamed = subject_of(facts, path)
    unnamed.sentence = type(unnamed.sentence)(  # type: ignore[misc]
        **{**vars(unnamed.sentence), "words": []}
    )
    assert outcome(unnamed) == ["the caption has no noun"]


def test_lists_are_the_studys_and_leave_out_sinks_for_words_asked_for_too(
    facts: ModelFacts, photo_files: list[Path]
) -> None:
    subject = annotated(facts, photo_files[2], noun=(20, 10, 60, 60), kitchen=(50, 20, 85, 70))
    sinks = torch.zeros(16, dtype=torch.bool)
    # The patch where the first unit peaks, so that leaving it out must change the ranking.
    first = subject.ranking("patches", "top", 1)[0]
    sinks[subject.attribution.patches.peak_patch[0, first.layer, first.unit]] = True
    subject.sink_patches = sinks  # type: ignore[misc]
    del subject.attribution
    lists = unit_lists(subject, [0, 1])
    for ranking in RANKINGS:
        (own,) = [e for e in lists[0] if (e.ranking, e.whose) == (ranking, "own")]
        assert [u for u, _ in own.units] == subject.ranking("patches", ranking, FIRST)
        (drawn,) = [e for e in lists[0] if (e.ranking, e.whose) == (ranking, "random")]
        assert not {u for u, _ in drawn.units} & {u for u, _ in own.units}
        assert sorted(u.layer for u, _ in drawn.units) == sorted(u.layer for u, _ in own.units)
    _, asked = subject.asked[0]
    scores = attribute_units(subject.model, subject.until, [asked], patches=~sinks).patches
    score = scores.score[0].masked_fill(facts.reference.sinks("patches"), -torch.inf)
    (own,) = [e for e in lists[1] if (e.ranking, e.whose) == ("top_no_sinks", "own")]
    expected = top_units(score, FIRST)
    assert [u for u, _ in own.units] == expected
    assert [s for _, s in own.units] == [int(scores.sign[0, u.layer, u.unit]) for u in expected]
    assert own.units != next(e for e in lists[1] if e.ranking == "top").units


def test_without_a_patch_grid_there_is_a_note_and_no_table(
    facts: ModelFacts, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = annotated(facts, photo_files[0], noun=(20, 10, 60, 60))
    monkeypatch.setattr(subject.captioner.encoder, "grid", PatchGrid(1, 1))
    result = Fields().summarise(finished([Fields().measure(subject)]))
    assert result.tables == result.figures == ()
    assert len(result.notes) == 1
    assert "no patch grid" in result.notes[0]


def finished(photos: list[dict[str, list[dict[str, Any]]]]) -> Finished:
    """A study of photos with these rows."""
    measured = {}
    for name, schema in Fields().tables().items():
        rows = [{"photo": i, **row} for i, photo in enumerate(photos) for row in photo[name]]
        fields = [pa.field("photo", pa.int32()), *schema]
        measured[name] = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    return Finished(
        Path("nowhere"),
        StudySettings(),
        {},
        ModelTables(np.zeros((2, 3, 8), dtype=bool), {}, np.ones((3, 8))),
        pa.table({"id": [f"photo{i}" for i in range(len(photos))]}),
        measured,
    )


def made_up(kind: str, category: str, own: float, drawn: float, area: float) -> dict[str, Any]:
    """A photo with one word: every list of a kind scores the same."""
    head = {"kind": kind, "category": category, "area": area}

    def row(ranking: str, units: str, value: float) -> dict[str, Any]:
        return {
            **head, "ranking": ranking, "units": units, "n": 20, "iou": value, "auprc": value,
            "best_iou": value + 0.1, "best_auprc": value + 0.1, "best_unit": "L1.u2",
            "set_iou": value + 0.2, "set_auprc": value + 0.2,
        }  # fmt: skip

    table = [row(r, "own", own) for r in RANKINGS] + [row(r, "random", drawn) for r in RANKINGS]
    table += [row(r, "other", drawn) for r in ("top", "specific")]
    table += [
        {**head, "ranking": "", "units": name, "n": 0, "set_iou": 0.05, "set_auprc": 0.15}
        for name in ("centre", "random map", "activation")
    ]
    outcome = {"kind": kind, "category": category, "outcome": "compared"}
    return {"e4_fields": table, "e4_targets": [outcome]}


def table_of(result: Result, name: str) -> tuple[dict[str, Any], ...]:
    return next(table.rows for table in result.tables if table.name == name)


def one(rows: tuple[dict[str, Any], ...], **values: Any) -> dict[str, Any]:
    (row,) = rows_of(list(rows), **values)
    return row


def test_the_summary_averages_words_then_photos() -> None:
    first = made_up("caption", "dog", 0.4, 0.1, 0.10)
    second = made_up("asked", "cat", 0.2, 0.1, 0.05)
    both = {name: first[name] + second[name] for name in first}
    third = made_up("asked", "cat", 0.5, 0.2, 0.025)
    nothing = {
        "e4_fields": [],
        "e4_targets": [{"kind": "caption", "category": None, "outcome": "the photo has no mask"}],
    }
    result = Fields().summarise(finished([both, third, nothing]))
    assert read_result(result.document()) == result
    row = one(table_of(result, "E4.single"), measure="IoU", ranking="specific")
    assert row["units"].value == pytest.approx((0.3 + 0.5) / 2)
    assert row["units"].n == 2
    assert (row["units"].low, row["units"].high) == pytest.approx((0.3, 0.5))
    assert row["minus random units"].value == pytest.approx((0.2 + 0.3) / 2)
    assert row["minus other photo's units"].value == pytest.approx((0.2 + 0.3) / 2)
    assert row["minus centre"].value == pytest.approx((0.25 + 0.45) / 2)
    assert row["paper"] == ".13 to .68 (examples)"
    row = one(table_of(result, "E4.single"), measure="IoU / ceiling", ranking="top")
    assert row["units"].value == pytest.approx(((0.4 / 0.5 + 0.2 / 1) / 2 + 0.5 / 0.5) / 2)
    row = one(table_of(result, "E4.set"), measure="AUPRC", ranking="top")
    assert row["units"].value == pytest.approx((0.5 + 0.7) / 2)
    assert row["minus random map"].value == pytest.approx((0.35 + 0.55) / 2)
    row = one(table_of(result, "E4.best"), measure="IoU", ranking="top")
    assert row["best of 20"].value == pytest.approx((0.4 + 0.6) / 2)
    assert row["best of 20 random units"].value == pytest.approx((0.2 + 0.3) / 2)
    dog = one(table_of(result, "E4.categories"), category="dog", ranking="top")
    assert dog["photos"] == 1
    assert dog["IoU, single units"] == Number(0.4, n=1)
    cat = one(table_of(result, "E4.categories"), category="cat", ranking="top")
    assert cat["photos"] == 2
    assert cat["IoU, single units"].value == pytest.approx(0.35)
    words = table_of(result, "E4.words")
    asked = one(
        tuple(r for r in words if r["word"] == "a word asked for"),
        **{"measure": "IoU", "of": "single units", "ranking": "top"},
    )
    assert asked["units"].n == 2
    best = table_of(result, "E4.examples")[0]
    assert (best["photo"], best["IoU"].value) == ("photo1", pytest.approx(0.6))
    outcomes = {(r["word"], r["outcome"]): r["words"] for r in table_of(result, "E4.targets")}
    assert outcomes["a word asked for", "compared"] == 2
    assert outcomes["the caption's first noun", "the photo has no mask"] == 1


def test_nothing_to_compare_is_said() -> None:
    nothing = {
        "e4_fields": [],
        "e4_targets": [{"kind": "caption", "category": None, "outcome": "the photo has no mask"}],
    }
    result = Fields().summarise(finished([nothing]))
    assert [table.name for table in result.tables] == ["E4.targets"]
    assert len(result.notes) == 1
