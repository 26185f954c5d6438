"""The sums of E1 and E2, on numbers small enough to do by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from molyneux.neurons import streams
from molyneux.neurons.decoding import text_of
from molyneux.neurons.streams import token_places
from molyneux.studies.e1_prompts.experiment import Prompts
from molyneux.studies.e1_prompts.measure import pair_cosine
from molyneux.studies.e2_agreement.experiment import Agreement
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.parts import PHOTO, flatten_rows, part_schema
from molyneux.studies.results import (
    Number,
    Result,
    ResultTable,
    difference,
    is_above_zero,
    over_photos,
    ratio,
    read_result,
)
from molyneux.studies.settings import StudySettings
from molyneux.words.nouns import nouns_text

N_LAYERS = 2


def test_tokens_become_one_text() -> None:
    assert text_of([" dog", "s ", "\n", "  ", "Cat"]) == "dog s Cat"
    assert text_of(["\n"]) == ""


def test_nouns_are_joined_once_each_in_the_order_of_the_captions() -> None:
    assert nouns_text(["two dogs on a beach", "a dog by the water"]) == "dog beach water"
    assert nouns_text([]) == ""


def test_pair_cosine() -> None:
    axes = torch.eye(3)
    assert pair_cosine(axes) == pytest.approx(0)
    assert pair_cosine(torch.tensor([[1.0, 0], [-5, 0]])) == pytest.approx(-1)
    assert pair_cosine(torch.tensor([[1.0, 0], [2, 0], [0, 3]])) == pytest.approx(1 / 3)
    assert pair_cosine(axes[:1]) == 1


def test_places_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    table = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    rows = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    expected = [[0, 2], [2, 1], [3, 0]]  # products 1 2 0 0; 0 0 1 3; -1 -2 0 0
    assert token_places(rows, table, [1, 2]).tolist() == expected
    monkeypatch.setattr(streams, "_ROWS", 2)
    assert token_places(rows, table, [1, 2]).tolist() == expected
    bias = torch.tensor([0.0, 0, 0, 9])
    assert token_places(rows, table, [1, 2], bias).tolist() == [[1, 3], [2, 1], [3, 1]]


def test_numbers_over_photos() -> None:
    assert over_photos(np.array([1.0, np.nan, 3.0])).n == 2
    assert over_photos(np.array([np.nan]), why="none").why == "none"
    found = difference(np.array([3.0, 2.0, np.nan]), np.array([1.0, 0.0, 5.0]))
    assert (found.value, found.low, found.high, found.n) == (2, 2, 2, 2)
    assert is_above_zero(found)
    assert not is_above_zero(difference(np.array([1.0, -1.0]), np.zeros(2)))
    assert not is_above_zero(Number.missing("none"))
    assert ratio(np.array([1.0, 2.0]), np.array([2.0, 4.0])).value == 0.5
    assert ratio(np.array([1.0]), np.array([0.0])).value is None


def finished(photos: list[dict[str, Any]], **manifest: Any) -> Finished:
    """Return a study of photos given as their tables' rows."""
    experiments = (Prompts(), Agreement())
    schemas = {
        name: schema
        for e in experiments
        for name, schema in {**e.tables(), **e.text_tables()}.items()
    }
    rows = [
        {"index": i, "id": f"photo {i}", "caption": "a dog.", **p} for i, p in enumerate(photos)
    ]
    parts = pa.Table.from_pylist(rows, schema=part_schema(schemas))
    units = np.zeros((N_LAYERS, 3), dtype=bool)
    model = ModelTables(
        np.stack([units, units]), {"patches": units, "last": units}, np.ones(units.shape)
    )
    measured = {name: flatten_rows(parts, name, np.arange(len(rows))) for name in schemas}
    return Finished(Path(), StudySettings(), manifest, model, parts.select(PHOTO.names), measured)


def table(result: Result, name: str) -> ResultTable:
    assert read_result(result.document()) == result
    found = next(t for t in result.tables if t.name == name)
    for row in found.rows:
        assert set(row) <= set(found.columns)
    return found


def row(result: Result, name: str, **cells: str) -> dict[str, Any]:
    found = [r for r in table(result, name).rows if all(r.get(c) == v for c, v in cells.items())]
    assert len(found) == 1, (name, cells, len(found))
    return found[0]


def e1_photo(own: list[float], random: list[float], nouns: float) -> dict[str, Any]:
    """Return a photo whose second patch is a sink."""
    prompts = [
        {
            "patch": patch,
            "sink": patch == 1,
            "norm": 1.0,
            "tokens": ["x", "y"] if patch else ["z", "y"],
            "cosine": [0.5, 0.4],
            "random_tokens": ["z", "y"],
            "random_cosine": [0.1, 0.1],
        }
        for patch in range(len(own))
    ]
    texts = [
        {"source": source, "patch": patch, "bert": value, "clip": None}
        for source, values in {"prompts": own, "random": random, "other": random}.items()
        for patch, value in enumerate(values)
    ]
    texts.append({"source": "human_nouns", "patch": None, "bert": nouns, "clip": None})
    geometry = dict.fromkeys(Prompts().tables()["e1_geometry"].names, 0.25)
    # The first noun rises above the control at layer 1 in one reading, nowhere in the other.
    depth = [
        {
            "reading": reading,
            "layer": layer,
            "patches": patches,
            "role": role,
            "nouns": 1,
            "compared": 1,
            **dict.fromkeys(
                ("top5", "top5_any", "percentile", "percentile_best"),
                0.9 if (reading, role) == ("lens", "first") and layer >= 1 else 0.5,
            ),
            "rank": 3.0,
            "rank_best": 3.0,
        }
        for reading in ("cosine", "lens")
        for layer in range(N_LAYERS + 1)
        for patches in ("all", "no_sinks")
        for role in ("first", "human", "control")
    ]
    return {"e1_prompts": prompts, "e1_texts": texts, "e1_geometry": [geometry], "e1_depth": depth}


def test_e1_summary() -> None:
    photos = [
        e1_photo([0.30, 0.40], [0.30, 0.30], 0.8),
        e1_photo([0.20, 0.40], [0.30, 0.30], 0.8),
        e1_photo([0.30, 0.34], [0.30, 0.30], 0.8),
    ]
    result = Prompts().summarise(finished(photos, bertscore="toy", clip_missing="no weights"))
    own = row(result, "E1.bertscore", text="image prompts")
    assert own["mean"].value == pytest.approx((0.35 + 0.30 + 0.32) / 3)
    assert own["maximum"].value == pytest.approx((0.4 + 0.4 + 0.34) / 3)
    assert own["mean"].n == 3
    assert own["paper"] == ".3291"
    kept = row(result, "E1.bertscore", text="image prompts without sink patches")
    assert kept["mean"].value == pytest.approx(0.8 / 3)
    assert row(result, "E1.clipscore", text="random vectors")["mean"].why == "no weights"
    distance = row(
        result,
        "E1.distance",
        **{"metric": "BERTScore", "image prompts against": "nouns of the human captions"},
    )
    assert distance["D"].value == 1
    assert distance["values"] == "6 and 3"
    test = row(
        result,
        "E1.equivalence",
        **{"metric": "BERTScore", "image prompts minus": "random vectors"},
    )
    assert test["difference"].value == pytest.approx((0.05 + 0 + 0.02) / 3)
    assert test["margin"] == "±0.012"
    assert test["verdict"] == "not shown equivalent"
    assert test["of the way to human nouns"].value == pytest.approx(0.07 / 3 / 0.5)
    tokens = table(result, "E1.tokens").rows
    assert [r["token"] for r in tokens] == ["'x'", "'z'"]
    assert tokens[0]["share of patches"].value == 0.5
    assert tokens[1]["of random vectors"].value == 1
    assert any("toy" in note for note in table(result, "E1.bertscore").notes)


def test_equal_prompts_are_shown_equivalent() -> None:
    photos = [e1_photo([v, 0.3], [0.3, v], 0.8) for v in (0.3, 0.31, 0.32)]
    result = Prompts().summarise(finished(photos))
    test = row(
        result,
        "E1.equivalence",
        **{"metric": "BERTScore", "image prompts minus": "another photo's prompts"},
    )
    assert test["verdict"] == "equivalent"


def test_e1_depth_finds_the_layer_at_which_a_noun_appears() -> None:
    photos = [e1_photo([0.3, 0.4], [0.3, 0.3], 0.8)] * 4
    result = Prompts().summarise(finished(photos))
    cells = {"noun": "first noun of the caption", "patches": "without sink patches"}
    measure = "mean percentile over patches"
    found = row(result, "E1.depth", reading="logit lens", measure=measure, **cells)
    assert found["first layer above"] == 1
    assert found["difference there"].value == pytest.approx(0.4)
    assert found["layers above"] == "2 of 3"
    none = row(result, "E1.depth", reading="cosine to input embeddings", measure=measure, **cells)
    assert none["first layer above"].why == "at no layer"
    figure = next(f for f in result.figures if f.name == "E1.lens_top5")
    assert figure.series[0].y == (0.5, pytest.approx(0.9), pytest.approx(0.9))
    assert figure.series[0].x == (0, 1, 2)


def test_e1_depth_counts_a_jacobian_lens_from_the_first_layer_it_reads() -> None:
    photos = [e1_photo([0.3, 0.4], [0.3, 0.3], 0.8) for _ in range(4)]
    assert all("Jacobian" not in r["reading"] for r in _depth_rows(photos))
    for photo in photos:  # what the logit lens reads, of the layers that a Jacobian lens reads
        photo["e1_depth"] += [
            {**one, "reading": "jacobian"}
            for one in photo["e1_depth"]
            if one["reading"] == "lens" and 1 <= one["layer"] < N_LAYERS
        ]
    rows = [r for r in _depth_rows(photos) if r["reading"] == "Jacobian lens"]
    assert rows
    found = next(r for r in rows if r["noun"] == "first noun of the caption")
    assert found["first layer above"] == found["layer of the largest difference"] == 1
    assert found["layers above"] == f"{N_LAYERS - 1} of {N_LAYERS - 1}"
    assert "own at layer 0" not in found


def _depth_rows(photos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    result = Prompts().summarise(finished(photos))
    return [dict(cells) for cells in table(result, "E1.depth").rows]


def e2_photo(own: float, shuffled: float | None) -> dict[str, Any]:
    def listed(value: float, **cells: Any) -> dict[str, Any]:
        figures = ("max", "mean", "median", "best_5", "best_10", "best_50")
        return {"units": 50, **{f"bert_{f}": value for f in figures}, **cells}

    place = {"view": "patches", "ranking": "top"}
    scores = [
        listed(own, **place, against="own", best_unit="L1.u2", best_text="dog"),
        listed(0.9, view=None, ranking="caption", against="own"),
    ]
    if shuffled is not None:
        scores.append(listed(shuffled, **place, against="shuffled"))
    unit = {**place, "rank": 0, "layer": 0, "unit": 0, "sign": 1, "text": "dog"}
    return {
        "e2_scores": scores,
        "e2_units": [{**unit, "target_place": p} for p in (0.001, 0.5)],
        "e2_controls": [{**unit, "control": "matched", "target_place": p} for p in (0.5, 0.5)],
    }


def test_a_word_is_read_against_other_nouns_in_the_same_units() -> None:
    # The units of photo 0 raise every noun as high as the word; those of photo 1 the word alone.
    photos = [e2_photo(0.5, 0.4) | {"captions": ["a dog."]} for _ in range(2)]
    for photo, others in zip(photos, ((0.001, 0.5), (0.201, 0.9)), strict=True):
        for unit, place in zip(photo["e2_units"], others, strict=True):
            unit["others_place"] = place
        for unit in photo["e2_controls"]:
            unit["others_place"] = 0.6
    result = Agreement().summarise(finished(photos))
    found = row(result, "E2.words", units="top", view="patches", control="matched units")
    assert found["above other nouns"].value == pytest.approx((0 + 0.3) / 2)
    assert found["control: above other nouns"].value == pytest.approx(0.1)
    assert found["difference: above other nouns"].value == pytest.approx(0.05)


def test_units_read_through_a_lens_have_a_table_of_their_own() -> None:
    photos = [e2_photo(0.5, 0.4) | {"captions": ["a dog."]} for _ in range(2)]
    assert "E2.words_lens" not in {
        one.name for one in Agreement().summarise(finished(photos)).tables
    }
    for photo in photos:
        # The first of the units is of the last layer, which no lens reads.
        for unit, place in zip(photo["e2_units"], (None, 0.1), strict=True):
            unit |= {"lens_target_place": place, "lens_others_place": place and 0.4}
        for unit in photo["e2_controls"]:
            unit |= {"lens_target_place": 0.7, "lens_others_place": 0.6}
    result = Agreement().summarise(finished(photos))
    found = row(result, "E2.words_lens", units="top", view="patches", control="matched units")
    assert found["percentile"].value == pytest.approx(0.9)
    assert found["above other nouns"].value == pytest.approx(0.3)
    assert found["control: above other nouns"].value == pytest.approx(-0.1)
    plain = row(result, "E2.words", units="top", view="patches", control="matched units")
    assert plain["percentile"].value == pytest.approx(1 - (0.001 + 0.5) / 2)


def test_a_study_without_other_nouns_says_that_no_photo_has_them() -> None:
    photos = [e2_photo(0.5, 0.4) | {"captions": ["a dog."]} for _ in range(2)]
    result = Agreement().summarise(finished(photos))
    found = row(result, "E2.words", units="top", view="patches", control="matched units")
    assert found["above other nouns"].value is None
    assert found["percentile"].value is not None


def test_a_best_of_more_units_than_a_list_has_says_so() -> None:
    photos = [e2_photo(0.5, 0.4) | {"captions": ["a dog."]} for _ in range(2)]
    for photo in photos:
        for scores in photo["e2_scores"]:
            scores["bert_best_50"] = None
            if scores["against"] == "shuffled":
                scores["bert_best_10"] = None
    result = Agreement().summarise(finished(photos, clip_missing="no weights"))
    cells = {"units": "top", "view": "patches"}
    own = row(result, "E2.bertscore", texts="own units", **cells)
    assert own["best of 10"].value == pytest.approx(0.5)
    assert own["best of 50"].why == "no photo's list has 50 units"
    clip = row(result, "E2.clipscore", texts="own units", **cells)
    assert clip["best of 50"].why == "no weights"
    minus = {"own units minus": "another photo's units", "metric": "BERTScore"}
    found = row(result, "E2.differences", **cells, **minus)
    assert found["mean"].value == pytest.approx(0.1)
    assert found["best of 10"].why == "no photo has 10 units in both lists"


def test_missing_captions_and_a_missing_backbone_are_told_apart() -> None:
    def nothing(captions: list[str]) -> dict[str, Any]:
        photo = e2_photo(0.5, 0.4)
        for scores in photo["e2_scores"]:
            scores |= {name: None for name in scores if name.startswith("bert_")}
        return photo | {"captions": captions}

    for captions, manifest, why in (
        ([], {}, "no human captions"),
        (["a dog."], {"bert_missing": "not asked for (bertscore: none)"}, "not asked for"),
    ):
        result = Agreement().summarise(finished([nothing(captions)], **manifest))
        found = row(result, "E2.bertscore", texts="own units", units="top", view="patches")
        for column in ("maximum", "best of 50", "mean"):
            assert found[column].why.startswith(why)


def test_e2_summary() -> None:
    photos = [e2_photo(0.5, 0.4), e2_photo(0.7, 0.4), e2_photo(0.9, None)]
    result = Agreement().summarise(finished(photos, clip_missing="no weights"))
    cells = {"units": "top", "view": "patches"}
    own = row(result, "E2.bertscore", texts="own units", **cells)
    assert own["maximum"].value == pytest.approx(0.7)
    assert own["paper"] == ".3848"
    caption = row(result, "E2.bertscore", texts="the model's caption")
    assert caption["maximum"].value == pytest.approx(0.9)
    minus = {"own units minus": "another photo's units", "metric": "BERTScore"}
    found = row(result, "E2.differences", **cells, **minus)
    assert found["mean"].value == pytest.approx(0.2)
    assert found["mean"].n == 2
    assert row(result, "E2.clipscore", texts="own units", **cells)["mean"].why == "no weights"
    words = row(result, "E2.words", control="matched units", **cells)
    assert words["percentile"].value == pytest.approx(1 - 0.501 / 2)
    assert words["near top"].value == 0.5
    assert words["difference: near top"].value == 0.5
    assert words["difference: percentile"].value == pytest.approx(0.2495)
    example = table(result, "E2.examples").rows[0]
    assert (example["photo"], example["top, patches"]) == ("photo 0", "L1.u2")
    figure = next(f for f in result.figures if f.name == "E2.best_of_k_bert")
    assert figure.series[0].x == (1, 5, 10, 50)
    assert not [f for f in result.figures if f.name == "E2.best_of_k_clip"]
