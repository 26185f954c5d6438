"""E7's summary and claims on rows whose answers are known."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typechecker import unchecked

from molyneux.errors import UsageError
from molyneux.studies.e7_sight.claims import Claims, claim_table, verdict, verdicts
from molyneux.studies.e7_sight.experiment import Sight
from molyneux.studies.e7_sight.tables import TABLES
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import FALLS, HOLDS, OPEN, Number, Result, ResultTable, read_result
from molyneux.studies.settings import StudySettings
from molyneux.words.articles import article_of

N_PHOTOS, N_PARTNERS = 24, 5
Rows = dict[str, list[dict[str, Any]]]


def finished(rows: Rows, n_photos: int = N_PHOTOS) -> Finished:
    nothing = ModelTables(np.zeros((2, 4, 4), bool), {}, np.zeros((4, 4)))
    measured = {
        name: pa.Table.from_pylist(
            rows.get(name, []), schema=pa.schema([("photo", pa.int32()), *schema])
        )
        for name, schema in TABLES.items()
    }
    photos = pa.table({"index": list(range(n_photos))})
    return Finished(Path(), StudySettings(), {}, nothing, photos, measured)


def made(seed: int = 0, *, sees: float = 2.0, permuted: float = 0.0, carried: float = 1.0) -> Rows:
    """Return rows of random numbers around known ones.

    Args:
        sees: nats that people's nouns gain over others', and `permuted` behind other pixels.
        carried: what of it the set that changes most carries; random units carry nothing.
    """
    rng = np.random.default_rng(seed)
    rows: Rows = {name: [] for name in TABLES}
    partners: dict[tuple[int, str, int], np.ndarray] = {}
    for photo in range(N_PHOTOS):
        for pixels, more, noise in (("own", sees, 0.1), ("permuted", permuted, 0.0)):
            for kind, beside, at in (
                ("caption", None, 3.0),
                ("absent", "dog", 0.0),
                ("human", None, more),
                ("deranged", "cat", 0.0),
            ):
                words = 1 if kind in ("caption", "human") else 2
                for k in range(words):
                    said = None if kind in ("caption", "absent") else photo % 6 == 0
                    word = {
                        **{"photo": photo, "pixels": pixels, "kind": kind, "word": f"{kind}{k}"},
                        **{"beside": beside, "said": said},
                    }
                    # Other pixels are compared with the same partners.
                    drawn = rng.permutation(N_PARTNERS)[: rng.integers(2, N_PARTNERS + 1)]
                    there = partners.setdefault((photo, kind, k), drawn)
                    for partner in there.tolist():
                        rows["e7_gain"].append(
                            {
                                **{**word, "partner": partner, "clean": 0.0},
                                "behind": -at + noise * rng.normal(),
                            }
                        )
                    for name, share in (("change", carried), ("random", 0.0)):
                        units = {"set": name, "fraction": 0.05, "layers": "all"}
                        rows["e7_sets"].append(
                            {
                                **{**word, **units, "units": 7, "edit_norm": 2.0},
                                "mediated": share * at / 2 + noise * rng.normal(),
                                "mediated_norm": 3.0,
                            }
                        )
                        for partner in there[:2].tolist():
                            value = share * at + noise * rng.normal()
                            rows["e7_transplants"].append(
                                {**word, **units, "partner": partner, "value": value}
                            )
        for name in ("none", "change", "random", "other_values"):
            names = name == "change" and photo % 2 == 0
            rows["e7_captions"].append(
                {
                    **{"photo": photo, "set": name, "partner": 0, "text": ""},
                    **{"names_noun": names, "names_human": None if photo % 2 else names},
                }
            )
    rows["e7_left_out"] = [
        {"photo": 0, "kind": "human", "word": None, "why": "so"},
        {"photo": 1, "kind": "human", "word": None, "why": "so"},
        {"photo": 1, "kind": "photo", "word": None, "why": "thus"},
    ]
    return rows


def table(result: Result, name: str) -> ResultTable:
    return next(one for one in result.tables if one.name == f"E7.{name}")


def slow_mean(rows: list[dict[str, Any]], **wanted: Any) -> float:
    """Return the mean over photos of means over partners of means over words, in loops."""
    photos = []
    for photo in range(N_PHOTOS):
        partners = []
        for partner in range(N_PARTNERS):
            found = [
                row["value"] if "value" in row else row["clean"] - row["behind"]
                for row in rows
                if (row["photo"], row["partner"]) == (photo, partner)
                and all(row[name] == value for name, value in wanted.items())
            ]
            if found:
                partners.append(sum(found) / len(found))
        if partners:
            photos.append(sum(partners) / len(partners))
    return sum(photos) / len(photos)


def test_numbers_are_those_of_a_slow_recomputation() -> None:
    rows = made()
    result = Sight().summarise(finished(rows))
    assert read_result(result.document()) == result
    own = {"pixels": "own"}
    for row, kind, beside, said in (
        (0, "human", "deranged", {}),
        (1, "human", "deranged", {"said": True}),
        (2, "human", "deranged", {"said": False}),
        (3, "caption", "absent", {}),
    ):
        gain = slow_mean(rows["e7_gain"], **own, kind=kind, **said)
        other = slow_mean(rows["e7_gain"], **own, kind=beside, **said)
        found = table(result, "gain").rows[row]
        assert number(found["gain"]) == pytest.approx(gain, abs=1e-5)
        assert number(found["gain, words beside"]) == pytest.approx(other, abs=1e-5)
        assert number(found["difference"]) == pytest.approx(gain - other, abs=1e-5)
        at = table(result, "sets").rows[2 * row]
        assert at["set"] == "change"
        put = slow_mean(rows["e7_transplants"], **own, kind=kind, set="change", **said)
        put_beside = slow_mean(rows["e7_transplants"], **own, kind=beside, set="change", **said)
        random = slow_mean(rows["e7_transplants"], **own, kind=kind, set="random", **said)
        assert number(at["transplant minus beside"]) == pytest.approx(put - put_beside, abs=1e-5)
        assert number(at["minus random units"]) == pytest.approx(put - random, abs=1e-5)
        assert number(at["transplant of the gain"]) == pytest.approx(put / gain, abs=1e-5)
    lost = [
        np.mean([r["mediated"] for r in rows["e7_sets"] if chosen(r, photo, "human")])
        for photo in range(N_PHOTOS)
    ]
    assert number(table(result, "sets").rows[0]["mediated"]) == pytest.approx(
        np.mean(lost), abs=1e-5
    )
    permuted = table(result, "permuted").rows[1]
    values = [
        slow_mean(rows["e7_transplants"], pixels="permuted", kind=kind, set="change")
        for kind in ("human", "deranged")
    ]
    assert number(permuted["permuted"]) == pytest.approx(values[0] - values[1], abs=1e-5)


def chosen(row: dict[str, Any], photo: int, kind: str) -> bool:
    return (row["photo"], row["pixels"], row["kind"], row["set"]) == (photo, "own", kind, "change")


def number(cell: Any) -> float:
    assert isinstance(cell, Number)
    assert cell.value is not None
    return cell.value


def claims(rows: Rows, n_photos: int = N_PHOTOS) -> list[str]:
    result = Sight().summarise(finished(rows, n_photos))
    return [str(row["verdict"]) for row in table(result, "claims").rows]


def test_sight_is_claimed_where_peoples_nouns_are_carried_and_other_pixels_carry_none() -> None:
    assert claims(made()) == [HOLDS] * 5


def test_each_control_can_end_the_claim() -> None:
    # The caption's word is carried as well, and people's nouns are not.
    assert claims(made(sees=0.0))[:4] == [FALLS, FALLS, FALLS, HOLDS]
    # Other pixels carry these people's nouns too: the words differ, not the photos.
    assert claims(made(permuted=1.0))[:3] == [FALLS] * 3
    # The units that change most carry no more than random ones.
    assert claims(made(carried=0.0))[:4] == [FALLS] * 4
    for name in ("random", "other_values"):
        rows = made()
        for row in rows["e7_captions"]:
            row["names_noun"] = row["set"] in ("change", name)
        assert claims(rows)[4] == FALLS


def test_a_control_that_is_merely_noisy_does_not_let_a_claim_pass() -> None:
    high, wide, none = Number(1.0, 0.5, 1.5, 30), Number(0.9, -0.5, 2.3, 30), Number(0, -1, 1, 30)
    every = {each.name: high for each in fields(Claims)}
    every |= {name: wide for name in every if name.endswith("_permuted") and "over" not in name}
    assert [row["verdict"] for row in claim_table(Claims(**every)).rows] == [HOLDS] * 5
    every |= {name: none for name in every if name.endswith("_over_permuted")}
    found = [row["verdict"] for row in claim_table(Claims(**every)).rows]
    assert found == [FALLS, FALLS, FALLS, HOLDS, HOLDS]


def test_fewer_than_twenty_photos_leave_a_claim_open() -> None:
    rows = {name: [row for row in found if row["photo"] < 19] for name, found in made().items()}
    assert claims(rows, 19) == [OPEN] * 5
    assert claims({}, 19) == [OPEN] * 5
    assert verdict([Number(1.0, 0.5, 2.0, 30)], [Number.missing("none")]) == OPEN
    assert verdict([Number(1.0, 0.5, 2.0, 30)], [Number(0.0, -0.1, 0.1, 30)]) == HOLDS
    assert verdict([Number(1.0, 0.5, 2.0, 30)], [Number(0.2, 0.1, 0.3, 30)]) == FALLS
    assert verdict([Number(1.0, 0.5, 2.0, 30)], [Number(-0.2, -0.3, -0.1, 30)]) == FALLS
    assert verdict([Number(0.0, 0.0, 0.0, 30)]) == FALLS


def test_fractions_are_ratios_of_means_and_missing_without_a_gain() -> None:
    result = Sight().summarise(finished(made(sees=-1.0)))
    cell = table(result, "sets").rows[0]["transplant of the gain"]
    assert isinstance(cell, Number)
    assert cell.value is None
    assert "add nothing" in str(cell.why)


def test_captions_and_what_was_left_out_are_counted() -> None:
    result = Sight().summarise(finished(made()))
    clean, change, random, _ = table(result, "captions").rows
    assert number(clean["names the caption's noun"]) == 0
    assert number(change["names the caption's noun"]) == 0.5
    people = change["names a noun of people's"]
    assert isinstance(people, Number)
    assert (people.value, people.n) == (1.0, N_PHOTOS // 2)
    assert number(random["names the caption's noun: change minus this"]) == 0.5
    assert table(result, "left_out").rows == (
        {"left out": "human", "why": "so", "how many": 2},
        {"left out": "photo", "why": "thus", "how many": 1},
    )
    assert any("photos left out: 1 (thus)" in note for note in table(result, "claims").notes)


def test_layers_stand_beside_the_papers_band() -> None:
    rows = made()
    more = []
    for row in rows["e7_sets"]:
        if row["set"] == "change":
            more += [{**row, "layers": layers} for layers in ("0-1", "2")]
    rows["e7_sets"] += more
    rows["e7_transplants"] += [
        {**row, "layers": "2"} for row in rows["e7_transplants"] if row["set"] == "change"
    ]
    result = Sight().summarise(finished(rows))
    third, alone = table(result, "layers").rows
    assert (third["layers"], alone["layers"]) == ("L0 to L1", "L2")
    # Of 4 layers, those at .18 to .36 of the depth: layer 1.
    assert (third["share in the paper's band"], alone["share in the paper's band"]) == ("50%", "0%")
    wanted = table(result, "sets").rows[0]["transplant"]
    assert alone["people's nouns: transplant"] == wanted
    assert [figure.name for figure in result.figures] == ["E7.layers"]


def test_a_setting_that_is_none_is_refused() -> None:
    with unchecked(), pytest.raises(UsageError, match="sight"):
        StudySettings(sight="long").check()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("noun", "article"),
    [
        *(("dog", "a"), ("umbrella", "an"), ("uniform", "a"), ("hour", "an"), ("Elephant", "an")),
        *(("one-way street", "a"), ("utensil", "a"), ("urn", "an"), ("house", "a")),
    ],
)
def test_articles(noun: str, article: str) -> None:
    assert article_of(noun) == article


def test_wrong_pixels_are_the_control_of_sight_alone() -> None:
    """The caption's noun is carried behind them as well, so that they control nothing there."""
    path = Path(__file__).parents[2] / "benchmarks/results/sight/results/E7.json"
    result = read_result(json.loads(path.read_text(encoding="utf-8")))
    (table,) = (table for table in result.tables if table.name == "E7.claims")
    found = verdicts(result)
    assert [one.claim for one in found] == [row["claim"] for row in table.rows]
    for one, row in zip(found, table.rows, strict=True):
        if "no sight" in one.claim:
            assert one.control is None
        else:
            assert one.control == row["permuted pixels"] is not None
