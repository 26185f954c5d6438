"""E2 on a tiny captioner: the listed units, what they write, and the scores of their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from study_toy import facts_over, photo_files, subject_of
from tiny_models import count_hooks, tiny_photos

from molyneux.neurons import decoding
from molyneux.neurons.decoding import decode_units, read_units, text_of, token_ranks
from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.targets import Sentence
from molyneux.neurons.unit import Unit
from molyneux.neurons.unit_sets import RANKINGS
from molyneux.studies import subject as study_subject
from molyneux.studies.e2_agreement.experiment import Agreement
from molyneux.studies.e2_agreement.measure import UNITS
from molyneux.studies.experiment import PhotoRecord, TextScorers
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject


class Numbered:
    """Stands in for BERTScore: a text that ends in a number scores it, whatever the reference."""

    name = "numbers"

    def f1(self, candidates: list[str], references: list[str]) -> np.ndarray:
        assert len(set(candidates)) == len(candidates), "each text is scored once"
        return np.array([[float(text.split()[-1])] * len(references) for text in candidates])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def facts(make_captioner: Any, files: list[Path]) -> ModelFacts:
    return facts_over(make_captioner("llama"), files)


def seen(facts: ModelFacts, path: Path, units: int = 12) -> Subject:
    return subject_of(facts, path, StudySettings(units=units), captions=("a dog on a beach",))


def unit_of(row: dict[str, Any]) -> Unit:
    return Unit(row["layer"], row["unit"])


def test_units_are_the_rankings_decoded_as_written(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0])
    hooks = count_hooks(subject.model.model)
    token, nouns = subject.target.token_id, (7, 9)
    subject.__dict__["other_nouns"] = nouns  # the tiny captions begin with the same few
    rows = Agreement().measure(subject)
    model, reference = subject.model, facts.reference
    for view in ("patches", "last"):
        for ranking in RANKINGS:
            part = [r for r in rows["e2_units"] if (r["view"], r["ranking"]) == (view, ranking)]
            units = subject.ranking(view, ranking, 12)
            assert [unit_of(r) for r in part] == units
            assert [r["rank"] for r in part] == list(range(len(units)))
            signs = [r["sign"] for r in part]
            assert signs == subject.signs(view, units), "no photo here has a sink patch"
            decoded = decode_units(model, units, signs)
            assert [r["text"] for r in part] == [text_of(d.tokens) for d in decoded]
            ranks = token_ranks(model, units, [s or 1 for s in signs], token)
            places = [r["target_place"] * model.d_vocab for r in part]
            assert places == pytest.approx(ranks.tolist())
            others = [token_ranks(model, units, [s or 1 for s in signs], t) for t in nouns]
            expected = torch.stack(others).double().mean(dim=0) / model.d_vocab
            assert [r["others_place"] for r in part] == pytest.approx(expected.tolist())
            score = subject.scores(view).score[0]
            specific = reference.specific(score, view)
            for row, unit in zip(part, units, strict=True):
                at = (unit.layer, unit.unit)
                assert row["score"] == float(score[at])
                assert row["specific"] in (None, float(specific[at]))
                assert (row["specific"] is None) == (float(specific[at]) == -torch.inf)
                assert row["sink"] == bool(reference.sinks(view)[at])
                assert (row["peak_patch"] is None) == (view == "last")
    assert count_hooks(model.model) == hooks


def test_units_at_the_patches_are_read_through_a_jacobian_lens_too(
    facts: Any, files: list[Path]
) -> None:
    subject = seen(facts, files[0])
    subject.__dict__["other_nouns"] = nouns = (7, 9)
    plain = Agreement().measure(subject)
    through = [name for name in UNITS.names if name.startswith("lens_")]
    assert not any(row[name] is not None for row in plain["e2_units"] for name in through)
    captioner, model = subject.captioner, subject.model
    drawn = torch.Generator().manual_seed(0)
    size = (model.n_layers - 1, model.d_model, model.d_stream)
    lens = JacobianLens(
        {
            **captioner.names,
            "projection": captioner.projection.hash(),
            "layout": captioner.layout.record(),
        },
        torch.randn(size, generator=drawn),
    )
    subject.captioner = captioner.with_lens(lens)
    rows = Agreement().measure(subject)
    unembedding, read = model.unembedding().float(), 0
    for table in ("e2_units", "e2_controls"):
        for row, before in zip(rows[table], plain[table], strict=True):
            assert {k: v for k, v in row.items() if k not in through} == {
                k: v for k, v in before.items() if k not in through
            }
            if row["view"] == "last" or row["layer"] == model.n_layers - 1:
                assert [row[name] for name in through] == [None, None]
                continue
            written = model.output_rows(row["layer"])[row["unit"]].float() * (row["sign"] or 1)
            logits = unembedding @ (lens.jacobians[row["layer"]] @ written)
            above = [float((logits > logits[k]).double().mean()) for k in nouns]
            place = float((logits > logits[subject.target.token_id]).double().mean())
            assert row["lens_target_place"] == pytest.approx(place, abs=2 / len(logits))
            assert row["lens_others_place"] == pytest.approx(sum(above) / 2, abs=2 / len(logits))
            read += 1
    assert read > 50


def test_other_nouns_are_other_photos_and_never_the_target(
    facts: Any, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = seen(facts, files[0])
    tokens = {"own": [subject.target.token_id], "no word": []}
    tokens |= {f"noun {k}": [100 + k, 1] for k in range(12)}
    monkeypatch.setattr(study_subject, "word_tokens", lambda model, noun: tokens[noun])
    subject.__dict__["others"] = [OtherPhoto(noun, {}) for noun in ("noun 3", *tokens)]
    assert subject.other_nouns == (103, 100, 101, 102, 104, 105, 106, 107)


def test_controls_share_the_layer_and_no_unit(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0])
    rows = Agreement().measure(subject)
    lists = {(r["view"], r["ranking"], r["control"]) for r in rows["e2_controls"]}
    assert lists == {
        ("patches", "top", "matched"),
        ("patches", "top", "random"),
        ("patches", "specific", "matched"),
        ("last", "top", "matched"),
        ("last", "specific", "matched"),
    }
    for view, ranking, control in lists:
        units = subject.ranking(view, ranking, 12)
        part = [
            r
            for r in rows["e2_controls"]
            if (r["view"], r["ranking"], r["control"]) == (view, ranking, control)
        ]
        assert len(part) == len(units)
        for row in part:
            assert row["layer"] == units[row["rank"]].layer
        drawn = [unit_of(r) for r in part]
        assert len({*drawn, *units}) == 2 * len(units)
        assert [r["sign"] for r in part] == subject.signs(view, drawn)


def test_without_sink_patches_the_sign_is_that_of_the_peak_left(
    facts: Any, files: list[Path]
) -> None:
    subject = seen(facts, files[0], units=40)
    peaks = subject.scores("patches").peak_patch[0]
    kept = torch.ones(len(subject.projected), dtype=torch.bool)
    kept[int(peaks.flatten().mode().values)] = False
    subject.__dict__["sink_patches"] = ~kept
    del subject.attribution
    rows = [
        r
        for r in Agreement().measure(subject)["e2_units"]
        if (r["view"], r["ranking"]) == ("patches", "top_no_sinks")
    ]
    activation = subject.attribution.activation
    assert rows
    for row in rows:
        assert kept[row["peak_patch"]]
        value = activation[row["layer"], row["peak_patch"], row["unit"]]
        assert row["sign"] == int(value.sign())


def test_rows_fit_their_tables_and_repeat_to_the_bit(facts: Any, files: list[Path]) -> None:
    first, again = (Agreement().measure(seen(facts, files[1])) for _ in range(2))
    assert first == again
    for name, schema in Agreement().tables().items():
        assert all(set(row) == set(schema.names) for row in first[name])
        assert pa.Table.from_pylist(first[name], schema=schema).num_rows == len(first[name]) > 0


def test_a_caption_without_a_noun_lists_no_unit(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0])
    subject.__dict__["sentence"] = Sentence([4], ".", [])
    assert Agreement().measure(subject) == {"e2_units": [], "e2_controls": []}


def test_units_are_read_alike_in_parts(facts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = [
        (Unit(layer, unit), sign) for layer in (0, 2) for unit in range(9) for sign in (-1, 1)
    ]
    model = facts.captioner.language_model
    whole = read_units(model, signed, 20, others=(7, 9))
    alone = [read_units(model, signed, token) for token in (20, 7, 9)]
    assert [place for _, place, _ in whole] == [place for _, place, _ in alone[0]]
    assert [other for _, _, other in whole] == pytest.approx(
        [(a[1] + b[1]) / 2 for a, b in zip(*alone[1:], strict=True)]
    )
    assert {other for _, _, other in alone[0]} == {None}
    monkeypatch.setattr(decoding, "_UNITS", 5)
    assert read_units(model, signed, 20, others=(7, 9)) == whole


def listed(values: list[float], view: str = "last", ranking: str = "top") -> list[dict[str, Any]]:
    return [
        {
            "view": view,
            "ranking": ranking,
            "rank": rank,
            "layer": 1,
            "unit": rank,
            "sign": -1,
            "text": f"word {value}",
        }
        for rank, value in enumerate(values)
    ]


def scored(own: dict[str, Any], partner: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    scorers = TextScorers(Numbered(), None, "no weights")  # type: ignore[arg-type]
    both = [PhotoRecord({"caption": "it 7", "captions": ["x"], **one}) for one in (own, partner)]
    rows = Agreement().score(both[0], both[1], tiny_photos(1)[0], scorers)["e2_scores"]
    names = set(Agreement().text_tables()["e2_scores"].names)
    assert all(set(row) <= names for row in rows)
    return {(row["view"], row["ranking"], row["against"]): row for row in rows}


def test_a_list_is_summed_up_over_its_first_fifty() -> None:
    values = [float(v) for v in range(1, 7)]
    own = {"index": 0, "e2_units": listed(values), "e2_controls": []}
    found = scored(own, {"index": 1, "e2_units": listed([10.0] * 50 + [99.0])})
    row = found["last", "top", "own"]
    assert (row["units"], row["bert_max"], row["bert_mean"]) == (6, 6, 3.5)
    assert row["bert_median"] == 3.5
    # Five of six: the largest is 6 in five of six draws, else 5.
    assert row["bert_best_5"] == pytest.approx((5 * 6 + 5) / 6)
    assert "bert_best_10" not in row
    assert "clip_max" not in row
    assert (row["best_unit"], row["best_text"]) == ("L1.u5-", "word 6.0")
    shuffled = found["last", "top", "shuffled"]
    assert (shuffled["units"], shuffled["bert_max"]) == (50, 10)
    caption = found[None, "caption", "own"]
    assert (caption["units"], caption["bert_max"], caption["best_text"]) == (1, 7, "it 7")
    assert "best_unit" not in caption


def test_a_photo_is_no_control_of_itself_and_may_have_no_units() -> None:
    own = {"index": 0, "e2_units": None, "e2_controls": None}
    assert set(scored(own, own)) == {(None, "caption", "own")}
    controls = [{**row, "control": "matched"} for row in listed([2.0, 4.0])]
    found = scored({**own, "e2_controls": controls}, {"index": 3, "e2_units": []})
    assert found["last", "top", "matched"]["bert_mean"] == 3
