"""E7 on a tiny captioner, and its summary on rows with known answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_captioner
from tiny_partners import N_PARTNERS, square_photos, with_partners
from typechecker import unchecked

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.neurons.sight.measure import in_order
from molyneux.studies.e7_sight.experiment import Sight
from molyneux.studies.e7_sight.measure import GAINS, READ, SETS
from molyneux.studies.experiment import load_experiments, paper_names
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.results import Number, read_result
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

PEOPLE = ("A boat on water.", "The boat.", "A red boat near a tree.", "Some boat!", "A tree.")
OTHERS = ("A cat.", "Two cats in a kitchen.", "The cat.", "A cat.", "One small cat.")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def captioner(photos: list[Path]) -> Any:
    return with_partners(
        tiny_captioner(),
        photos,
        lambda _: "volcano",
        lambda k: OTHERS if k == 7 else PEOPLE if k in (8, 9) else (),
    )


def of_photo(captioner: Any, photo: Path, captions: tuple[str, ...] = PEOPLE) -> Subject:
    item = Item(id="a", source=photo, captions=captions)
    facts = ModelFacts.of(captioner)
    return Subject(facts, StudySettings(), item, item.read(), item.sha256())


def test_a_photos_words_are_its_captions_and_its_peoples(
    captioner: Any, photos: list[Path]
) -> None:
    subject = of_photo(captioner, photos[0])
    rows = Sight().measure(subject)
    assert Sight().measure(subject) == rows
    pa.Table.from_pylist(rows["e7_gains"], schema=GAINS)
    pa.Table.from_pylist(rows["e7_sets"], schema=SETS)
    assert subject.word is not None
    words = [(row["kind"], row["word"], row["beside"]) for row in rows["e7_gains"]]
    absent = [word for kind, word, _ in words if kind == "absent"]
    # Another photo's noun of people is what the seventh partner's wrote: none of these people did.
    assert words == [
        ("caption", subject.word.lemma, None),
        *(("absent", word, subject.word.lemma) for word in absent),
        ("human", "boat", None),
        ("deranged", "cat", "boat"),
    ]
    assert len({*absent}) == 3
    assert not {*absent} & (subject.lemmas | {"boat", "tree", "water"})
    said = [row["said"] for row in rows["e7_gains"]]
    assert said == [None] * 4 + ["boat" in subject.lemmas] * 2
    for row in rows["e7_gains"]:
        there = [k for k, value in enumerate(row["behind"]) if value is not None]
        assert len(row["behind"]) == N_PARTNERS
        assert len(there) <= READ
    assert {(row["set"], row["fraction"], row["layers"]) for row in rows["e7_sets"]} == {
        ("change", 0.05, None),
        ("random", 0.05, None),
    }
    assert len(rows["e7_sets"]) == 2 * len(words)


def test_partners_that_show_a_word_are_left_out_of_it(captioner: Any, photos: list[Path]) -> None:
    rows = Sight().measure(of_photo(captioner, photos[0]))["e7_gains"]
    partners = captioner.reference.partners
    human, deranged = rows[-2:]
    for row, word in ((human, "boat"), (deranged, "cat")):
        shown = [partner.shows(word) for partner in partners]
        assert any(shown)
        assert all(row["behind"][k] is None for k, shows in enumerate(shown) if shows)


def test_its_numbers_are_those_of_one_pass_each(captioner: Any, photos: list[Path]) -> None:
    subject = of_photo(captioner, photos[1])
    model, partners = subject.model, captioner.reference.partners
    article = model.encode(" a")
    row = next(r for r in Sight().measure(subject)["e7_gains"] if r["kind"] == "human")
    token = model.encode(f" {row['word']}")[0]

    def log_p(prompt: Any) -> float:
        with torch.no_grad():
            logits = model.read(prompt.followed_by(model, article)).logits[0, -1]
        return float(logits.log_softmax(dim=-1)[token])

    assert row["clean"] == pytest.approx(log_p(subject.prompt), abs=1e-4)
    order = in_order([partner.name for partner in partners], subject.sha256)
    fitting = [k for k in order if not partners[k].shows(row["word"])][:READ]
    assert [k for k, value in enumerate(row["behind"]) if value is not None] == sorted(fitting)
    for k in fitting:
        wanted = log_p(partners[k].instead_of(subject.prompt))
        assert row["behind"][k] == pytest.approx(wanted, abs=1e-4)


def test_without_people_or_partners_there_is_less(captioner: Any, photos: list[Path]) -> None:
    alone = Sight().measure(of_photo(captioner, photos[0], ()))
    assert {row["kind"] for row in alone["e7_gains"]} == {"caption", "absent"}
    two = Sight().measure(of_photo(captioner, photos[0], PEOPLE[:2]))
    assert {row["kind"] for row in two["e7_gains"]} == {"caption", "absent"}
    few = replace(
        captioner, reference=replace(captioner.reference, partners=captioner.reference.partners[:9])
    )
    assert Sight().measure(of_photo(few, photos[0])) == {"e7_gains": [], "e7_sets": []}


def test_it_is_none_of_the_papers_and_its_setting_is_checked() -> None:
    assert "E7" not in paper_names()
    assert [one.name for one in load_experiments(["E7"])] == ["E7"]
    with unchecked(), pytest.raises(UsageError, match="sight"):
        StudySettings(sight="none").check()  # type: ignore[arg-type]


# --- its summary ----------------------------------------------------------------------------

SAID = (True, False, False)


def finished(gains: list[dict[str, Any]], sets: list[dict[str, Any]]) -> Finished:
    def table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=pa.schema([*schema, ("photo", pa.int64())]))

    nothing = ModelTables(np.zeros((2, 3, 4), bool), {}, np.zeros((3, 4)))
    photos = pa.table({"index": list(range(len(SAID)))})
    return Finished(
        Path(),
        StudySettings(),
        {},
        nothing,
        photos,
        {"e7_gains": table(gains, GAINS), "e7_sets": table(sets, SETS)},
    )


def rows_of(human: float, deranged: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows of three photos and two partners: gains 4 and 1, 2 and 3 for each partner."""
    gains, sets = [], []
    for photo, said in enumerate(SAID):
        for kind, beside, shift in (("human", None, human), ("deranged", "dog", deranged)):
            word = {"photo": photo, "kind": kind, "word": kind, "beside": beside, "said": said}
            gains.append({**word, "clean": 0.0, "behind": [-shift, -shift - 1]})
            sets.append(
                {
                    **word,
                    "set": "change",
                    "fraction": 0.05,
                    "layers": None,
                    "units": 7,
                    "mediated": shift / 4,
                    "transplanted": [shift / 2, None],
                    "mediated_norm": 1.0,
                    "edit_norm": 1.0,
                }
            )
    return gains, sets


def test_the_summary_is_of_photos_and_partners() -> None:
    result = Sight().summarise(finished(*rows_of(4.0, 1.0)))
    assert read_result(result.document()) == result
    gain, sets = result.tables
    people, said, not_said, caption = gain.rows
    assert isinstance(people["gain"], Number)
    assert (people["gain"].value, people["gain"].n) == (4.5, 3)
    assert people["difference"] == Number(3.0, 3.0, 3.0, 3)
    assert isinstance(said["gain"], Number)
    assert isinstance(not_said["gain"], Number)
    assert (said["gain"].n, not_said["gain"].n) == (1, 2)
    assert caption["gain"] == Number.missing("no photo has one")
    row = sets.rows[0]
    assert (row["set"], row["share of units"], row["layers"]) == ("change", "5%", "all")
    for name, value in (
        ("transplant", 2.0),
        ("words beside", 0.5),
        ("transplant minus beside", 1.5),
        ("of the gain", 2 / 4.5),
        ("mediated", 1.0),
        ("mediated minus beside", 0.75),
        ("mediated of the gain", 1 / 4.5),
    ):
        cell = row[name]
        assert isinstance(cell, Number)
        assert cell.value == pytest.approx(value), name


def test_a_blind_models_differences_cover_nothing_and_it_has_no_fractions() -> None:
    result = Sight().summarise(finished(*rows_of(-0.5, -0.5)))
    gain, sets = result.tables
    assert gain.rows[0]["difference"] == Number(0.0, 0.0, 0.0, 3)
    assert sets.rows[0]["transplant minus beside"] == Number(0.0, 0.0, 0.0, 3)
    fraction = sets.rows[0]["of the gain"]
    assert isinstance(fraction, Number)
    assert fraction.value is None
    assert "add nothing" in str(fraction.why)


def test_a_study_without_such_words_says_so() -> None:
    gain, sets = Sight().summarise(finished([], [])).tables
    assert sets.rows == ()
    for row in gain.rows:
        assert row["gain"] == Number.missing("no photo has one")
