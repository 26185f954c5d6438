"""E6 on a tiny captioner: every number is what silencing those units, by itself, gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_models import count_hooks, tiny_photos, weights_hash

from molyneux.data.dataset import Item
from molyneux.explain.measure_reference import measure_reference
from molyneux.models.generation import continue_greedily
from molyneux.neurons.ablation import (
    Intervention,
    ablate_units,
    ablated_logits,
    intervened_logits,
    silenced,
)
from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.effects import unit_effects
from molyneux.neurons.targets import EVERYDAY, Sentence
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.studies.e6_causality import design as sets
from molyneux.studies.e6_causality import experiment, measure
from molyneux.studies.e6_causality.design import design
from molyneux.studies.e6_causality.experiment import Causality
from molyneux.studies.e6_causality.measure import (
    Measured,
    blank_activation,
    blank_photo,
    single_tokens,
)
from molyneux.studies.e6_causality.singles import single_units
from molyneux.studies.experiment import PhotoRecord, TextScorers
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject

GRID = (0, 2, 5, 10, 20, 30)


@pytest.fixture(scope="module")
def facts(make_captioner: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for number, photo in enumerate(tiny_photos(6)):
        files.append(folder / f"{number}.png")
        photo.save(files[-1])
    captioner = make_captioner("llama")
    table, _ = measure_reference(captioner, files, data="six drawings", n_listed=40)
    return ModelFacts.of(captioner.with_reference(table))


@pytest.fixture(scope="module")
def monkey() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def subject(facts: ModelFacts, tmp_path_factory: pytest.TempPathFactory, monkey: Any) -> Subject:
    """A photo of a model of 144 units, of which 10 stand for the 100 of a real one."""
    for module in (sets, experiment):
        monkey.setattr(module, "HEADLINE", 10)
    return seen(facts, tmp_path_factory.mktemp("own") / "own.png", seeds=3)


def seen(facts: ModelFacts, path: Path, **options: Any) -> Subject:
    tiny_photos(7)[6].save(path)
    item = Item("own", path, captions=("a zebra with a kite", "two dogs"), categories=("person",))
    settings = StudySettings(**{"grid": GRID, "seeds": 3, **options})
    return Subject(facts, settings, item, item.read(), item.sha256())


@pytest.fixture(scope="module")
def rows(subject: Subject) -> dict[str, list[dict[str, Any]]]:
    return Causality().measure(subject)


def zeroed(rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in rows["e6_curves"] if r["intervention"] == "zero" and r["set"] != "intact"]


def test_every_ratio_is_that_of_the_set_silenced_by_itself(subject: Subject, rows: Any) -> None:
    chosen = design(subject, GRID)
    found = zeroed(rows)
    assert len(found) == len(chosen) > 60
    token = subject.target.token_id
    clean = ablate_units(subject.model, subject.until, [[]])[0, token]
    for wanted, row in zip(chosen, found, strict=True):
        assert (row["view"], row["positions"]) == (wanted.view, wanted.positions)
        assert (row["set"], row["seed"], row["step"]) == (wanted.set, wanted.seed, wanted.step)
        assert len(set(wanted.units)) == wanted.step
        off = ablate_units(
            subject.model, subject.until, [list(wanted.units)], positions=wanted.positions
        )[0, token]
        assert row["ratio"] == pytest.approx(float((off - clean).exp()), rel=1e-3)
        assert row["logprob_change"] == pytest.approx(float(off - clean), abs=1e-4)
        assert row["probability"] == pytest.approx(float(off.exp()), rel=1e-3)
        assert row["share"] == wanted.step / subject.model.n_units


def test_sets_are_the_rankings_and_their_controls(subject: Subject) -> None:
    chosen = {(r.view, r.positions, r.set, r.seed, r.step): r.units for r in design(subject, GRID)}
    for view in ("patches", "last"):
        last = chosen[view, "all", "specific", None, 10]
        assert list(last) == subject.ranking(view, "specific", 10)
        assert list(chosen[view, "all", "top", None, 30]) == subject.ranking(view, "top", 30)
        other = subject.others[0].units[view, "top"][:30]
        assert list(chosen[view, "all", "other", None, 30]) == other
    matched = chosen["patches", "all", "matched", None, 5]
    own = {*subject.ranking("patches", "top", 30), *subject.ranking("patches", "specific", 30)}
    assert not own & set(matched)
    assert [u.layer for u in matched] == [
        u.layer for u in subject.ranking("patches", "specific", 5)
    ]


def test_random_controls_differ_between_seeds_and_hold_no_top_unit(subject: Subject) -> None:
    drawn = {
        r.seed: r.units
        for r in design(subject, GRID)
        if (r.view, r.positions, r.set, r.step) == ("patches", "all", "random", 20)
    }
    assert set(drawn) == {0, 1, 2}
    assert len({frozenset(units) for units in drawn.values()}) == 3
    top = subject.ranking("patches", "top", 20)
    for units in drawn.values():
        assert not set(units) & set(subject.ranking("patches", "top", 30))
        assert [u.layer for u in units] == [u.layer for u in top]


def test_positions_change_the_result(rows: Any) -> None:
    ratio = {
        (r["positions"], r["step"]): r["ratio"]
        for r in zeroed(rows)
        if (r["view"], r["set"]) == ("patches", "top")
    }
    assert ratio["all", 30] != pytest.approx(ratio["patches", 30], rel=1e-3)


def test_effects_on_other_words_against_a_slow_reading(subject: Subject, rows: Any) -> None:
    model, token = subject.model, subject.target.token_id
    clean = ablated_logits(model, subject.until, [[]])[0].double().numpy()
    at = Measured.of(subject, torch.tensor(clean, dtype=torch.float32))
    row = next(r for r in zeroed(rows) if (r["set"], r["step"]) == ("top", 20))
    units = subject.ranking("patches", "top", 20)
    off = ablated_logits(model, subject.until, [units])[0].double().numpy()
    assert at.rival is not None
    margin = (off[token] - off[at.rival]) - (clean[token] - clean[at.rival])
    assert row["margin_change"] == pytest.approx(margin, abs=1e-4)

    def logprob(logits: np.ndarray, tokens: Any) -> np.ndarray:
        return logits[tokens] - np.log(np.exp(logits).sum())

    lost = logprob(off, list(at.unrelated)) - logprob(clean, list(at.unrelated))
    assert row["unrelated_change"] == pytest.approx(lost.mean(), abs=1e-4)
    better = sum(off[i] > off[token] for i in range(model.d_vocab))
    assert row["rank"] == 1 + better


def test_the_rival_is_the_likeliest_other_noun(subject: Subject) -> None:
    model = subject.model
    kite, zebra, boat = (model.encode(" " + w)[0] for w in ("cat", "horse", "boat"))
    intact = torch.zeros(len(ablated_logits(model, subject.until, [[]])[0]))
    intact[subject.target.token_id] = 9
    intact[boat], intact[zebra], intact[kite] = 3, 2, 1
    expected = boat if subject.target.token_id != boat else zebra
    assert Measured.of(subject, intact).rival == expected
    # A word in letters is not one token, and a part of a word is no rival.
    assert single_tokens(model, ["kayak", "cat"]) == [kite]


def test_unrelated_nouns_are_neither_seen_nor_annotated(subject: Subject) -> None:
    model = subject.model
    at = Measured.of(subject, ablated_logits(model, subject.until, [[]])[0])
    # "person" is annotated, and a man, a woman and a child are persons.
    for noun in ("man", "woman", "dog", subject.target and subject.word and subject.word.lemma):
        assert model.encode(f" {noun}")[0] not in at.unrelated
    assert {model.encode(f" {noun}")[0] for noun in EVERYDAY} >= set(at.unrelated)
    assert len(at.unrelated) > 3


def test_intact_changes_nothing(subject: Subject, rows: Any) -> None:
    intact = [r for r in rows["e6_curves"] if r["set"] == "intact"]
    assert [r["positions"] for r in intact] == ["all", "patches"]
    for row in intact:
        assert (row["ratio"], row["logprob_change"], row["margin_change"]) == (1, 0, 0)
        assert row["probability"] == pytest.approx(
            float(subject.attribution.probability[0]), rel=1e-4
        )


def test_giving_zeros_is_silencing_and_giving_what_is_there_nothing(subject: Subject) -> None:
    model, until = subject.model, subject.until
    units = subject.ranking("patches", "top", 15)
    activation = subject.attribution.activation
    zero = torch.zeros_like(activation)
    given = [(units, zero), (units, activation), ([], zero)]
    rows = [Intervention(units, "patches", values) for units, values in given]
    zeros, same, none = intervened_logits(model, until, rows)
    off = ablated_logits(model, until, [units], positions="patches")[0]
    clean = ablated_logits(model, until, [[]])[0]
    assert torch.allclose(zeros, off, atol=1e-4)
    assert torch.allclose(same, clean, atol=1e-4)
    assert torch.allclose(none, clean, atol=1e-4)
    assert not torch.allclose(off, clean, atol=1e-2)


def test_replacements_are_the_patch_mean_and_the_blank_photos(subject: Subject, rows: Any) -> None:
    model, until, token = subject.model, subject.until, subject.target.token_id
    activation = subject.attribution.activation
    blank = subject.captioner.see([blank_photo(subject.photo)])
    blank = blank.followed_by(model, subject.sentence.token_ids)
    there = attribute_units(model, blank, [subject.target]).activation
    assert torch.allclose(blank_activation(subject), there, atol=1e-4)
    values = {"patch_mean": activation.mean(1, keepdim=True).expand_as(activation), "blank": there}
    units = subject.ranking("patches", "specific", 10)
    clean = ablate_units(model, until, [[]])[0, token]
    ratios = {}
    for kind, given in values.items():
        replaced = Intervention(units, "patches", given.contiguous())
        logits = intervened_logits(model, until, [replaced])[0]
        row = next(
            r
            for r in rows["e6_curves"]
            if (r["intervention"], r["set"], r["step"]) == (kind, "specific", 10)
        )
        expected = (logits.log_softmax(-1)[token] - clean).exp()
        assert row["ratio"] == pytest.approx(float(expected), rel=1e-3)
        ratios[kind] = row["ratio"]
    assert ratios["patch_mean"] != pytest.approx(ratios["blank"], rel=1e-3)


def test_a_blank_photo_has_the_mean_colour(subject: Subject) -> None:
    blank = np.asarray(blank_photo(subject.photo), dtype=float)
    photo = np.asarray(subject.photo, dtype=float)
    assert blank.shape == photo.shape
    assert np.ptp(blank, axis=(0, 1)).tolist() == [0, 0, 0]
    assert np.abs(blank[0, 0] - photo.mean(axis=(0, 1))).max() <= 0.5


def test_single_units_have_their_exact_effect(subject: Subject, rows: Any) -> None:
    found = rows["e6_units"]
    assert {r["ranking"] for r in found} == {"top", "specific", "other_specific"}
    assert len(found) == len(single_units(subject)) == 30
    units = [Unit(r["layer"], r["unit"]) for r in found]
    exact = unit_effects(subject.model, subject.until, [subject.target.token_id], units)
    for row, effect in zip(found, exact.logit[:, 0].tolist(), strict=True):
        assert row["effect"] == pytest.approx(effect, abs=1e-4)
        total = subject.attribution.patches.total[0, row["layer"], row["unit"]]
        assert row["total"] == pytest.approx(float(total))
    assert max(abs(row["effect"]) for row in found) > 1e-3


def test_captions_are_written_without_the_units_throughout(subject: Subject, rows: Any) -> None:
    model, prompt = subject.model, subject.prompt
    texts = {(r["set"], r["step"]): r for r in rows["e6_captions"]}
    assert set(texts) == {
        (row.set, row.step)
        for row in design(subject, GRID)
        if (row.view, row.positions) == ("patches", "all")
        and row.set in ("top", "specific", "other", "other_specific", "random")
        and row.step in (10, 30)
    }
    assert {"top", "specific", "other", "other_specific", "random"} == {name for name, _ in texts}
    for step in (10, 30):
        units = subject.ranking("patches", "top", step)
        mask = unit_mask(units, model.n_layers, model.d_mlp)[None]
        with silenced(model, mask, prompt.patches, "all"):
            written = model.decode(continue_greedily(model, prompt)[0]).strip()
        assert texts["top", step]["text"] == written
        assert subject.word is not None
        if subject.word.word not in written:
            assert not texts["top", step]["has_noun"]
    assert any(r["text"] != subject.sentence.caption for r in texts.values())


def test_rows_fit_the_tables_and_are_the_same_each_time(
    facts: ModelFacts, subject: Subject, rows: Any, tmp_path: Path
) -> None:
    before, hooks = weights_hash(subject.model.model), count_hooks(subject.model.model)
    again = Causality().measure(seen(facts, tmp_path / "own.png"))
    assert again == rows
    for name, schema in Causality().tables().items():
        assert pa.Table.from_pylist(rows[name], schema=schema).to_pylist() == rows[name]
    assert count_hooks(subject.model.model) == hooks
    assert weights_hash(subject.model.model) == before


def test_no_set_is_run_twice(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, frozenset[Unit]]] = []

    def counted(model: Any, prompt: Any, sets: Any, *, positions: Any) -> torch.Tensor:
        tried.extend((positions, frozenset(s)) for s in sets)
        return ablated_logits(model, prompt, sets, positions=positions)

    monkeypatch.setattr(measure, "ablated_logits", counted)
    Causality().measure(subject)
    assert len(tried) == len(set(tried))


def test_a_caption_without_a_noun_gives_no_rows(facts: ModelFacts, tmp_path: Path) -> None:
    nothing = seen(facts, tmp_path / "own.png")
    nothing.__dict__["sentence"] = Sentence([], "", [])
    assert Causality().measure(nothing) == {"e6_curves": [], "e6_captions": [], "e6_units": []}


def test_without_another_photo_there_is_no_other(facts: ModelFacts, tmp_path: Path) -> None:
    alone = seen(facts, tmp_path / "own.png")
    alone.__dict__["others"] = []
    found = Causality().measure(alone)
    names = {r["set"] for r in found["e6_curves"]}
    # Most units of so small a model are sinks: what is left of them makes no set.
    wanted = {"total", "top", "specific", "interpretable", "matched", "random", "intact"}
    assert wanted <= names <= {*wanted, *sets.NO_SINKS}
    assert {r["ranking"] for r in found["e6_units"]} == {"top", "specific"}


class EqualWords:
    """Stands in for BERTScore: the share of equal words."""

    def f1(self, candidates: list[str], references: list[str]) -> np.ndarray:
        def share(a: str, b: str) -> float:
            one, two = set(a.split()), set(b.split())
            return len(one & two) / max(1, len(one | two))

        return np.array([[share(c, r) for r in references] for c in candidates])


def test_captions_are_scored_against_the_original_and_the_human_ones(photos: Any) -> None:
    own: dict[str, Any] = {
        "index": 0,
        "caption": "a dog",
        "captions": ["a dog", "two cats"],
        "e6_captions": [
            {"set": "top", "step": 10, "text": "a cat", "has_noun": False},
            {"set": "random", "step": 10, "text": "a dog", "has_noun": True},
        ],
    }
    partner = PhotoRecord({"index": 1, "caption": "two cats"})
    scorers = TextScorers(EqualWords(), None, "no weights")  # type: ignore[arg-type]
    found = Causality().score(PhotoRecord(own), partner, photos[0], scorers)["e6_bertscore"]
    assert {(r["set"], r["step"]): (r["to_original"], r["to_human"]) for r in found} == {
        ("top", 10): (pytest.approx(1 / 3), pytest.approx(1 / 6)),
        ("random", 10): (1, 0.5),
        ("intact", 0): (1, 0.5),
        ("unrelated", 0): (0, 0.5),
    }
    alone = {**own, "captions": []}
    found = Causality().score(PhotoRecord(alone), PhotoRecord(alone), photos[0], scorers)
    assert {r["set"] for r in found["e6_bertscore"]} == {"top", "random", "intact"}
    assert {r["to_human"] for r in found["e6_bertscore"]} == {None}
    nothing = PhotoRecord({**own, "e6_captions": []})
    assert Causality().score(nothing, partner, photos[0], scorers) == {"e6_bertscore": []}
