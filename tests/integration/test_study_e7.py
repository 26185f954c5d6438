"""E7 on tiny models: its words, its numbers, blind models, and whole studies of it."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from benchmark_programs import load_program
from latex_pages import check_latex
from tiny_models import tiny_captioner
from tiny_partners import N_PARTNERS, square_photos, with_partners
from tiny_vlms import tiny_vlm

from molyneux.data.dataset import Item
from molyneux.errors import UsageError
from molyneux.neurons.change import change_scores
from molyneux.neurons.sight.measure import MIN_PARTNERS, in_order
from molyneux.neurons.sight.patch_sets import change_set
from molyneux.neurons.sight.reading import patch_activations
from molyneux.pages.one_file import write_report
from molyneux.report.text import as_text
from molyneux.studies.e7_sight.asked import (
    FEW,
    NO_AGREED,
    NO_PEOPLE,
    NO_TABLE,
    NO_TOKEN,
    OF_PARTNERS,
    SHOWN_THERE,
)
from molyneux.studies.e7_sight.experiment import Sight
from molyneux.studies.e7_sight.tables import TABLES
from molyneux.studies.finished import Finished, ModelTables
from molyneux.studies.folder import find_tables, read_results
from molyneux.studies.plan import LEAST_PARTNERS, plan_study
from molyneux.studies.results import FALLS, HOLDS, Number
from molyneux.studies.settings import StudySettings
from molyneux.studies.study import run_study
from molyneux.studies.subject import ModelFacts, Subject
from molyneux.words.kinds import are_related

PEOPLE = ("A boat on water.", "The boat.", "A red boat near a tree.", "Some boat!", "A tree.")
OTHERS = (
    ("A cat.", "Two cats in a kitchen.", "The cat."),
    ("A train.", "A train on a street.", "The train."),
    ("A boat.", "A man in a boat.", "The boat."),
)
NOUNS = """volcano anchor cactus guitar lantern pyramid trumpet submarine pillow microscope harp
    compass statue fountain windmill carrot satellite telescope violin drum""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


def named(seeing: Any, photos: list[Path]) -> Any:
    """Return the model with partners whose captions name what no tiny model writes."""
    people = {5 + k: captions for k, captions in enumerate(OTHERS)}
    return with_partners(seeing, photos, NOUNS.__getitem__, lambda k: people.get(k, ()))


@pytest.fixture(scope="module")
def captioner(photos: list[Path]) -> Any:
    return named(tiny_captioner(), photos)


def of_photo(
    captioner: Any, photo: Path, captions: tuple[str, ...] = PEOPLE, **settings: Any
) -> Subject:
    item = Item(id="a", source=photo, captions=captions)
    facts = ModelFacts.of(captioner)
    return Subject(facts, StudySettings(**settings), item, item.read(), item.sha256())


def of(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_a_photos_words_are_its_captions_and_its_peoples(
    captioner: Any, photos: list[Path]
) -> None:
    subject = of_photo(captioner, photos[0])
    rows = Sight().measure(subject)
    assert Sight().measure(subject) == rows
    for name, schema in TABLES.items():
        pa.Table.from_pylist(rows[name], schema=schema)
    assert subject.word is not None
    gains = of(rows["e7_gain"], pixels="own")
    words = list(dict.fromkeys((row["kind"], row["word"], row["beside"]) for row in gains))
    absent = [word for kind, word, _ in words if kind == "absent"]
    (deranged,) = (word for kind, word, _ in words if kind == "deranged")
    assert deranged in ("cat", "train")  # the other agreed noun is this photo's too
    assert words == [
        ("caption", subject.word.lemma, None),
        *(("absent", word, subject.word.lemma) for word in absent),
        ("human", "boat", None),
        ("deranged", deranged, "boat"),
    ]
    assert len({*absent}) == 3
    assert not {*absent} & (subject.lemmas | {"boat", "tree", "water"})
    said = {row["kind"]: row["said"] for row in gains}
    assert said["caption"] is said["absent"] is None
    assert said["human"] is said["deranged"] is ("boat" in subject.lemmas)
    sets = of(rows["e7_sets"], pixels="own")
    assert {(row["set"], row["fraction"], row["layers"]) for row in sets} == {
        ("change", 0.05, "all"),
        ("random", 0.05, "all"),
    }
    assert len(sets) == 2 * len(words)
    assert [row["set"] for row in rows["e7_captions"]] == [
        *("none", "change", "random", "other_values"),
    ]
    # Of one photo alone: there is no study whose nouns could stand beside.
    assert rows["e7_left_out"] == [{"kind": "deranged", "word": "boat", "why": OF_PARTNERS}]


def test_each_word_is_compared_with_the_first_partners_that_do_not_show_it(
    captioner: Any, photos: list[Path]
) -> None:
    rows = Sight().measure(of_photo(captioner, photos[0]))
    partners = captioner.reference.partners
    for row in (*rows["e7_gain"], *rows["e7_transplants"]):
        assert not partners[row["partner"]].shows(row["word"])
    for kind in ("caption", "human"):
        compared = [row["partner"] for row in of(rows["e7_gain"], pixels="own", kind=kind)]
        assert len(compared) == len({*compared}) == MIN_PARTNERS
    written = of(rows["e7_transplants"], pixels="own", kind="human", set="change")
    assert len(written) == 8
    full = Sight().measure(of_photo(captioner, photos[0], sight="full"))
    # All but the stranger, and the one whose people wrote of a boat.
    assert len(of(full["e7_gain"], pixels="own", kind="human")) in (N_PARTNERS - 2, N_PARTNERS - 1)


def in_half(prompt: Any) -> Any:
    """Return a prompt with its patches in half precision, as a reference table keeps them."""
    embeddings = prompt.embeddings.clone()
    embeddings[:, prompt.patches] = embeddings[:, prompt.patches].half().float()
    return replace(prompt, embeddings=embeddings)


def log_p(subject: Subject, prompt: Any, text: list[int], token: int) -> float:
    with torch.no_grad():
        logits = subject.model.read(prompt.followed_by(subject.model, text)).logits[0, -1]
    return float(logits.log_softmax(dim=-1)[token])


def test_its_numbers_are_those_of_one_pass_each(captioner: Any, photos: list[Path]) -> None:
    subject = of_photo(captioner, photos[1])
    model, table = subject.model, captioner.reference
    rows = Sight().measure(subject)
    article, token = model.encode(" a"), model.encode(" boat")[0]
    found = of(rows["e7_gain"], pixels="own", kind="human")
    assert found[0]["clean"] == pytest.approx(
        log_p(subject, in_half(subject.prompt), article, token), abs=1e-4
    )
    order = in_order([partner.name for partner in table.partners], subject.sha256)
    stranger = order[-1]
    fitting = [k for k in order[:-1] if not table.partners[k].shows("boat")][:MIN_PARTNERS]
    assert sorted(row["partner"] for row in found) == sorted(fitting)
    for row in found:
        other = table.partners[row["partner"]].instead_of(subject.prompt)
        assert row["behind"] == pytest.approx(log_p(subject, other, article, token), abs=1e-4)
    permuted = of(rows["e7_gain"], pixels="permuted", kind="human")
    shown = table.partners[stranger].instead_of(subject.prompt)
    assert permuted[0]["clean"] == pytest.approx(log_p(subject, shown, article, token), abs=1e-4)
    assert [row["behind"] for row in permuted] == pytest.approx([row["behind"] for row in found])
    assert {row["word"] for row in of(rows["e7_gain"], pixels="permuted", kind="caption")} == {
        table.partners[stranger].noun
    }


def test_a_transplant_is_what_values_written_by_hand_give(
    captioner: Any, photos: list[Path]
) -> None:
    """By a hook of the test's own on the input of each down projection."""
    subject = of_photo(captioner, photos[2])
    model, moments = subject.model, captioner.reference.activation
    own = patch_activations(model, in_half(subject.prompt))
    z = change_scores(own, moments.mean, moments.deviation, subject.sink_patches)
    mask, patches = change_set(z, 0.05).mask, subject.prompt.patches
    article, token = model.encode(" a"), model.encode(" boat")[0]
    for row in of(
        Sight().measure(subject)["e7_transplants"], pixels="own", kind="human", set="change"
    ):
        other = captioner.reference.partners[row["partner"]].instead_of(subject.prompt)
        handles = []
        for layer in range(model.n_layers):

            def write(module: Any, given: Any, layer: int = layer) -> Any:
                changed = given[0].clone()
                changed[:, patches, mask[layer]] = own[layer][:, mask[layer]]
                return (changed, *given[1:])

            handles.append(model.down_projection(layer).register_forward_pre_hook(write))
        with_values = log_p(subject, other, article, token)
        for handle in handles:
            handle.remove()
        wanted = with_values - log_p(subject, other, article, token)
        assert row["value"] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("number", range(4))
def test_another_photos_noun_is_none_that_these_people_wrote(
    captioner: Any, photos: list[Path], number: int
) -> None:
    captions = (("A cat.",) * 3, ("Trains.",) * 4, ("A cat on a boat.",) * 3, PEOPLE)[number]
    subject = of_photo(captioner, photos[number], captions)
    rows = Sight().measure(subject)["e7_gain"]
    deranged = {row["word"] for row in of(rows, kind="deranged")}
    assert deranged
    for word in deranged:
        assert word in ("cat", "train", "boat")
        assert not any(are_related(word, noun) for noun in subject.human_nouns)


def test_of_many_nouns_three_are_drawn_after_their_own_article(
    captioner: Any, photos: list[Path]
) -> None:
    many = ("A man, a dog, a table, an umbrella and a tree.",) * 3
    rows = Sight().measure(of_photo(captioner, photos[0], many))
    human = {row["word"] for row in of(rows["e7_gain"], kind="human")}
    left_out = {row["word"] for row in of(rows["e7_left_out"], kind="human")}
    assert len(human | left_out) == 3
    # No partner's people wrote of what takes "an".
    assert "umbrella" not in human


def test_what_is_left_out_is_said(captioner: Any, photos: list[Path]) -> None:
    def why(subject: Subject) -> list[tuple[str, str]]:
        rows = Sight().measure(subject)
        return [(row["kind"], row["why"]) for row in rows["e7_left_out"]]

    assert why(of_photo(captioner, photos[0], ())) == [("human", NO_PEOPLE)]
    assert why(of_photo(captioner, photos[0], PEOPLE[:2])) == [("human", NO_PEOPLE)]
    apart = ("A dog.", "A boat.", "A tree.")
    assert why(of_photo(captioner, photos[0], apart)) == [("human", NO_AGREED)]
    table = captioner.reference
    alike = [replace(partner, nouns=("boat",)) for partner in table.partners]
    boats = captioner.with_reference(replace(table, partners=alike))
    assert ("human", FEW) in why(of_photo(boats, photos[0]))
    assert why(of_photo(captioner, photos[0], ("A volcano.",) * 3)) == [("human", NO_TOKEN)]
    smaller = [replace(partner, patches=partner.patches[:9]) for partner in table.partners]
    cut = captioner.with_reference(replace(table, partners=smaller))
    ((kind, said),) = why(of_photo(cut, photos[0]))
    assert (kind, said) == ("photo", "the photo has 16 patches, and partner photos 9")
    for partners, reason in (([], NO_TABLE), (table.partners[:9], "fewer than 17 partner photos")):
        few = captioner.with_reference(replace(table, partners=partners))
        ((kind, said),) = why(of_photo(few, photos[0]))
        assert kind == "photo"
        assert reason in said


def test_behind_pixels_that_show_a_noun_it_is_not_asked_for(
    captioner: Any, photos: list[Path]
) -> None:
    subject, table = of_photo(captioner, photos[0]), captioner.reference
    order = in_order([partner.name for partner in table.partners], subject.sha256)
    before = Sight().measure(subject)
    (deranged,) = {row["word"] for row in of(before["e7_gain"], kind="deranged")}
    for shown in ("dinghy", deranged):  # a synonym of the noun's; the one beside it
        partners = list(table.partners)
        partners[order[-1]] = replace(partners[order[-1]], nouns=(shown,), noun=shown)
        seeing = captioner.with_reference(replace(table, partners=partners))
        rows = Sight().measure(of_photo(seeing, photos[0]))
        left_out = {"kind": "permuted", "word": "boat", "why": SHOWN_THERE}
        assert of(rows["e7_left_out"], kind="permuted") == [left_out]
        for name in ("e7_gain", "e7_sets", "e7_transplants"):
            assert {row["kind"] for row in of(rows[name], pixels="permuted")} == {
                *("caption", "absent"),
            }
            # The photo's own pixels are as they were.
            assert of(rows[name], pixels="own") == of(before[name], pixels="own")


@pytest.mark.parametrize("vlm_kind", ["llava", "qwen2_vl"])
def test_a_vision_language_model_is_measured(vlm_kind: str, photos: list[Path]) -> None:
    rows = Sight().measure(of_photo(named(tiny_vlm(vlm_kind), photos), photos[0]))
    assert {row["kind"] for row in rows["e7_gain"]} >= {"human", "deranged"}
    assert np.isfinite([row["value"] for row in rows["e7_transplants"]]).all()


# --- whole studies --------------------------------------------------------------------------


def save(folder: Path, photos: list[Path], n: int) -> Path:
    """Write a data set of photos with their people's captions."""
    images, captions = [], []
    (folder / "images").mkdir(parents=True)
    for number, photo in enumerate(photos[:n]):
        name = f"{number:03}.png"
        (folder / "images" / name).write_bytes(photo.read_bytes())
        images.append({"id": number, "file_name": name, "width": 80, "height": 80})
        for i, text in enumerate(OTHERS[0] if number % 2 else PEOPLE):
            captions.append({"id": 10 * number + i, "image_id": number, "caption": text})
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return folder


def finished(rows: dict[str, list[dict[str, Any]]], n_photos: int = 20) -> Finished:
    measured = {
        name: pa.Table.from_pylist(rows[name], schema=pa.schema([("photo", pa.int32()), *schema]))
        for name, schema in TABLES.items()
    }
    nothing = ModelTables(np.zeros((2, 3, 48), bool), {}, np.zeros((3, 48)))
    photos = pa.table({"index": list(range(n_photos))})
    return Finished(Path(), StudySettings(), {}, nothing, photos, measured)


def hashes(out: Path) -> dict[str, str]:
    paths = sorted([*out.glob("tables/*"), *out.glob("results/*")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def numbers_of(out: Path) -> list[float]:
    return [
        cell.value
        for table in find_tables(read_results(out), None)
        for row in table.rows
        for cell in row.values()
        if isinstance(cell, Number) and cell.value is not None
    ]


def test_a_whole_study_in_full_form_resumes_to_the_same_bytes(
    captioner: Any, photos: list[Path], tmp_path: Path
) -> None:
    data = save(tmp_path / "data", photos, 2)
    settings = StudySettings(sight="full", subsets=2, threads=1)
    run = functools.partial(run_study, captioner, data, "E7", settings=settings)
    assert run(out=tmp_path / "undisturbed").good == 2
    seen: list[str] = []

    def stop(progress: Any) -> None:
        seen.append(progress.id)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "again", on_photo=stop)
    run(out=tmp_path / "again", on_photo=lambda progress: seen.append(progress.id))
    assert len(seen) == len({*seen}) == 2
    assert hashes(tmp_path / "again") == hashes(tmp_path / "undisturbed")
    results = read_results(tmp_path / "again")
    assert [result.experiment for result in results] == ["E7", "R"]
    names = [table.name for table in results[0].tables]
    assert names == [
        f"E7.{name}"
        for name in (
            *("claims", "gain", "sets", "permuted", "layers", "captions", "edits", "left_out"),
        )
    ]
    assert np.isfinite(numbers_of(tmp_path / "again")).all()
    page = write_report(tmp_path / "again").read_text(encoding="utf-8")
    for table in find_tables(results, None):
        assert table.name in page
        check_latex(table, as_text([table], "latex"))
    gains = pq.read_table(tmp_path / "again/tables/e7_gain.parquet").to_pylist()
    pairs = {(row["photo"], row["beside"], row["word"]) for row in of(gains, kind="deranged")}
    assert pairs == {(0, "boat", "cat"), (1, "cat", "boat")}  # each other's
    left_out = pq.read_table(tmp_path / "again/tables/e7_left_out.parquet").to_pylist()
    assert not of(left_out, kind="deranged")
    assert any("as often as it is asked for" in note for note in results[0].tables[1].notes)
    alone = {
        name: [{"photo": 0, **row} for row in Sight().measure(of_photo(captioner, photos[0]))[name]]
        for name in TABLES
    }
    notes = Sight().summarise(finished(alone, 1)).tables[1].notes
    assert not any("as often as it is asked for" in note for note in notes)
    sets = pq.read_table(tmp_path / "again/tables/e7_sets.parquet").to_pylist()
    assert {row["set"] for row in of(sets, pixels="own")} == {
        *("change", "random", "matched", "all", "other_values", "scrambled"),
    }
    assert {row["set"] for row in of(sets, pixels="permuted")} == {"change", "random"}


def test_kept_rows_give_the_studys_results_and_changed_ones_do_not(
    captioner: Any,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    program = load_program("study_rows")
    data = save(tmp_path / "data", photos, 2)
    settings = StudySettings(subsets=2, threads=1)
    run_study(captioner, data, "E7", settings=settings, out=tmp_path / "run")
    kept = tmp_path / "kept"
    program.keep(tmp_path / "run", kept)
    files = sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())
    assert files == [
        *("manifest.json", "model.safetensors", "parts/photos/0000000.parquet"),
        *("results/E7.json", "results/R.json"),
    ]
    for name in ("E7.json", "R.json"):
        own = (tmp_path / "run/results" / name).read_bytes()
        assert (kept / "results" / name).read_bytes() == own
    program.again(kept)
    assert capsys.readouterr().out.count("what the rows give") == 2
    rows = kept / "parts/photos/0000000.parquet"
    table = pq.read_table(rows)
    changed = table.to_pylist()
    changed[0]["e7_gain"][0]["clean"] += 1
    pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), rows)
    with pytest.raises(SystemExit, match="not what the rows give"):
        program.again(kept)
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(program, "conclude_in", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.keep(tmp_path / "run", tmp_path / "half")
    assert sorted(tmp_path.iterdir()) == before
    rows.write_bytes(rows.read_bytes()[:-9])
    with pytest.raises(SystemExit, match="kept is damaged"):
        program.again(kept)
    with pytest.raises(SystemExit, match=r"gone.*cannot be read"):
        program.again(tmp_path / "gone")
    with pytest.raises(SystemExit, match="there already"):
        program.keep(tmp_path / "run", kept)


def test_a_model_that_sees_nothing_is_not_said_to_see(photos: list[Path]) -> None:
    """Every photo has the same image prompt: whatever the words, nothing may be left."""
    seeing = tiny_captioner()
    with torch.no_grad():
        seeing.projection.linear.weight.zero_()
    captioner = named(seeing, photos)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for photo in range(4):
        for name, found in Sight().measure(of_photo(captioner, photos[photo])).items():
            # Twenty photos: fewer leave every claim open.
            rows[name] += [{**row, "photo": photo + 4 * k} for k in range(5) for row in found]
    assert max(abs(row["clean"] - row["behind"]) for row in rows["e7_gain"]) < 1e-3
    assert max(abs(row["value"]) for row in rows["e7_transplants"]) < 1e-3
    result = Sight().summarise(finished(rows))
    tables = {table.name: table for table in result.tables}
    verdicts = [row["verdict"] for row in tables["E7.claims"].rows]
    # Not for want of photos.
    assert verdicts[0] == FALLS
    assert HOLDS not in verdicts
    for row in tables["E7.permuted"].rows:
        for cell in row.values():
            if isinstance(cell, Number) and cell.value is not None:
                assert abs(cell.value) < 1e-3


def test_without_partner_photos_it_is_left_out_or_refused_before_a_model_is_loaded(
    captioner: Any, photos: list[Path], tmp_path: Path
) -> None:
    data = save(tmp_path / "data", photos, 2)
    # One of them is the stranger whose pixels stand in the place of the photo's.
    assert LEAST_PARTNERS == MIN_PARTNERS + 1
    notes: list[str] = []
    plan = plan_study(data, note=notes.append, partners=16)
    assert "E7" not in plan.settings.experiments
    assert any("no E7" in note and "--partners DATA2" in note for note in notes)
    with pytest.raises(UsageError, match="molyneux reference DATA --partners DATA2"):
        plan_study(data, "E3,E7", partners=0)
    assert "E7" in plan_study(data, partners=17).settings.experiments
    none = StudySettings(sight="none")
    assert "E7" not in plan_study(data, settings=none, partners=17).settings.experiments
    with pytest.raises(UsageError, match="--sight"):
        plan_study(data, "E7", settings=none, partners=17)
    without = captioner.with_reference(replace(captioner.reference, partners=[]))
    with pytest.raises(UsageError, match="has none"):
        run_study(without, data, "E7", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
