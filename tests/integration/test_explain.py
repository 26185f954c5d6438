"""One photo, end to end, on a tiny random captioner: the document says what happened."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_models import count_hooks, tiny_photos, weights_hash

from molyneux.explain.document import read_document
from molyneux.explain.measure_reference import measure_reference
from molyneux.explain.photo import explain_photo
from molyneux.explain.run import explain_photos
from molyneux.explain.settings import Settings
from molyneux.explain.tried import Tried
from molyneux.neurons import targets
from molyneux.neurons.ablation import ablate_units, ablation_grid
from molyneux.neurons.attribution import attribute_units
from molyneux.neurons.effects import unit_effects
from molyneux.neurons.scorers import GradientActivation
from molyneux.neurons.targets import ask_for, read_sentence, unrelated_nouns
from molyneux.neurons.unit import Unit
from molyneux.records import to_json

GRID = [0, 5, 10]


@pytest.fixture(scope="module")
def photo_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for number, photo in enumerate(tiny_photos(6)):
        files.append(folder / f"photo {number} é.png")
        photo.save(files[-1])
    return files


@pytest.fixture
def seeing(make_captioner: Any, photo_files: list[Path]) -> Any:
    """A tiny captioner with a reference table over the photos."""
    captioner = make_captioner("llama")
    table, left_out = measure_reference(captioner, photo_files, data="six drawings", n_listed=10)
    assert table.n_photos + len(left_out) == len(photo_files)
    return captioner.with_reference(table)


def explained(captioner: Any, path: Path, **options: Any) -> dict[str, Any]:
    explanation = explain_photo(captioner, path, Settings(grid=GRID, top=8, **options))
    return as_read(explanation.image)


def as_read(record: Any) -> Any:
    return json.loads(to_json(record))


def test_a_list_says_how_much_of_other_photos_lists_is_in_it(
    seeing: Any, photo_files: list[Path]
) -> None:
    """The fakes of a list are the units that were listed for photos of something else."""
    other = seeing.reference.others[0]
    model = replace(seeing, reference=replace(seeing.reference, others=[replace(other, noun="qu")]))
    first = explained(model, photo_files[0], ablate="none")["words"][0]
    for name, key in (("raw", "top"), ("specific", "specific")):
        lists = first["rankings"][name]
        for view in ("patches", "last"):
            theirs = {(unit.layer, unit.unit) for unit in other.units[view, key][:8]}
            own = {(row["layer"], row["unit"]) for row in lists[view]}
            assert lists[f"others_in_{view}"] == len(own & theirs) / 8
    assert "others_in_patches" not in first["rankings"]["total"]
    alone = replace(seeing, reference=replace(seeing.reference, others=[]))
    listed = explained(alone, photo_files[0], ablate="none")["words"][0]["rankings"]["raw"]
    assert "others_in_last" not in listed


def test_document_has_the_promised_names(seeing: Any, photo_files: list[Path]) -> None:
    image = explained(seeing, photo_files[0], ablate="all")
    json.dumps(image, allow_nan=False)
    assert set(image) >= {"path", "sha256", "caption", "note", "error", "words"}
    assert image["words"], "the tiny model's captions are mostly nouns"
    for word in image["words"]:
        assert set(word) >= {
            "word",
            "token",
            "token_id",
            "position",
            "probability",
            "logit",
            "rankings",
            "ablation",
            "ablation_last",
            "ablated_caption",
        }
        for view in ("patches", "last"):
            for ranking, by in (("raw", "score"), ("total", "total")):
                listed = [row[by] for row in word["rankings"][ranking][view]]
                assert listed == sorted(listed, reverse=True)
            rows = word["rankings"]["raw"][view]
            assert len(rows) == 8
            for row in rows:
                assert set(row) >= {
                    "layer",
                    "unit",
                    "score",
                    "total",
                    "share",
                    "specific",
                    "sign",
                    "sink",
                    "tokens",
                    "suppressed",
                    "interpretable",
                }
                assert ("peak_patch" in row) == (view == "patches")
        for name, view in (("ablation", "patches"), ("ablation_last", "last")):
            curve = word[name]
            assert curve["view"] == view
            assert curve["positions"] == "all"
            assert curve["grid"] == GRID
            for key in (
                "total",
                "top",
                "specific",
                "contrast",
                "change",
                "interpretable",
                "other",
                "other_specific",
                "matched",
                "random",
                "random_std",
                "absent_total",
                "absent_top",
                "absent_specific",
                "absent_interpretable",
                "unrelated_total",
                "unrelated_top",
                "unrelated_specific",
                "unrelated_random",
            ):
                assert len(curve[key]) == len(GRID), key
            assert curve["top"][0] == pytest.approx(1.0, abs=1e-5)
        assert set(word["ablated_caption"]) == {
            "units",
            "total",
            "top",
            "specific",
            "other_specific",
            "random",
        }


def test_no_list_of_a_later_noun_is_called_specific(seeing: Any, photo_files: list[Path]) -> None:
    image = explained(seeing, photo_files[0], ablate="all", words=("dog",))
    first, *later, asked = image["words"]
    assert later
    for word in (first, asked):  # stand where the table's nouns were measured
        assert word["rankings"]["specific"]["patches"]
        assert "later noun" not in (word["note"] or "")
    for word in later:
        assert "specific" not in word["rankings"]
        assert "later noun" in word["note"]
        for rows in word["rankings"]["raw"].values():
            assert rows
            assert {row["specific"] for row in rows} == {None}
            assert {type(row["sink"]) for row in rows} == {bool}  # the table says still
        for curves in (word["ablation"], word["ablation_last"]):
            for gone in ("specific", "other_specific", "matched", "unrelated_specific"):
                assert set(curves[gone]) <= {None}
            assert curves["own_minus_others"] is None
            assert None not in curves["top"][:2]
    alone = explained(replace(seeing, reference=None), photo_files[0], ablate="none")
    assert [word["note"] for word in alone["words"] if "later" in (word["note"] or "")] == []


def test_words_stand_in_caption_order_as_written(seeing: Any, photo_files: list[Path]) -> None:
    image = explained(seeing, photo_files[1], ablate="none")
    places = [image["caption"].lower().index(word["word"]) for word in image["words"]]
    assert places == sorted(places)
    for word in image["words"]:
        start, end = word["span"]
        assert image["caption"][start:end].lower() == word["word"]
        assert word["ablation"] is None


def test_probability_is_the_models_own_at_the_words_position(
    seeing: Any, photo_files: list[Path]
) -> None:
    model = seeing.language_model
    prompt = seeing.see([photo_files[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    image = explained(seeing, photo_files[0], ablate="none")
    for word, entry in zip(sentence.words, image["words"], strict=True):
        whole = prompt.followed_by(model, sentence.token_ids)
        logits = model.model(inputs_embeds=whole.embeddings).logits[0, word.target.position]
        expected = logits.softmax(-1)[word.target.token_id]
        assert entry["probability"] == pytest.approx(float(expected), rel=1e-4)
        assert (
            sentence.token_ids[word.target.position + 1 - prompt.n_positions] == entry["token_id"]
        )


def test_curve_is_the_ablated_over_the_intact_probability(
    seeing: Any, photo_files: list[Path]
) -> None:
    model = seeing.language_model
    image = explained(seeing, photo_files[0])
    word = image["words"][0]
    prompt = seeing.see([photo_files[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    until = sentence.up_to(model, prompt, word["position"])
    top = [Unit(row["layer"], row["unit"]) for row in word["rankings"]["raw"]["patches"][:5]]
    clean, off = ablate_units(model, until, [[], top])[:, word["token_id"]].exp()
    assert word["ablation"]["top"][1] == pytest.approx(float(off / clean), rel=1e-4)


def test_another_word_is_scored_where_the_first_noun_is_predicted(
    seeing: Any, photo_files: list[Path]
) -> None:
    image = explained(seeing, photo_files[0], words=("boat",))
    first, asked = image["words"][0], image["words"][-1]
    assert asked["word"] == "boat"
    assert asked["span"] is None
    assert asked["position"] == first["position"]
    assert asked["ablation"] is not None


def test_the_captions_own_first_noun_is_explained_once(
    seeing: Any, photo_files: list[Path]
) -> None:
    unasked = explained(seeing, photo_files[0])["words"]
    own, *_ = unasked
    image = explained(seeing, photo_files[0], words=(own["word"], "boat", "boat"))
    assert [word["word"] for word in image["words"]] == [*(w["word"] for w in unasked), "boat"]
    first, *_, asked = image["words"]
    assert first["span"] == own["span"]
    assert first["probability"] == pytest.approx(own["probability"], rel=1e-4)
    assert first["note"].startswith(targets.ASKED_TOO)
    assert targets.ASKED_TOO not in (asked["note"] or "")


def test_another_word_without_a_noun_follows_an_article(seeing: Any, photo_files: Any) -> None:
    model = seeing.language_model
    prompt = seeing.see([photo_files[0]])
    nothing = read_sentence(model, prompt, [])
    assert nothing.words == []
    sentence, word = ask_for(model, prompt, nothing, "dog")
    assert sentence.token_ids == model.encode(" a")
    assert word.target.position == prompt.n_positions + len(model.encode(" a")) - 1


def test_a_word_of_several_tokens_says_so(seeing: Any, photo_files: list[Path]) -> None:
    image = explained(seeing, photo_files[0], words=("dogs",), ablate="none")
    asked = image["words"][-1]
    assert asked["n_tokens"] == 2
    assert asked["note"] == "scored by ' dog', the first of its 2 tokens"


def test_a_vocabulary_without_everyday_nouns_has_no_unrelated_ones(
    seeing: Any, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "EVERYDAY", ("kayak",))  # begins with a blank token here
    word = explained(seeing, photo_files[0])["words"][0]
    assert word["unrelated"] == []
    assert set(word["ablation"]["unrelated_top"]) == {None}
    assert word["ablation"]["top"][0] == 1


def test_without_a_table_there_is_nothing_specific(captioner: Any, photo_files: list[Path]) -> None:
    image = explained(captioner, photo_files[0])
    curve = image["words"][0]["ablation"]
    assert curve["specific"] == [None] * len(GRID)
    assert curve["top"][1] is not None
    assert image["words"][0]["rankings"]["raw"]["patches"][0]["specific"] is None


def test_positions_are_named_and_change_the_result(seeing: Any, photo_files: list[Path]) -> None:
    everywhere = explained(seeing, photo_files[0])["words"][0]["ablation"]
    patches = explained(seeing, photo_files[0], positions="patches")["words"][0]["ablation"]
    assert patches["positions"] == "patches"
    assert everywhere["top"][-1] != pytest.approx(patches["top"][-1], rel=1e-3)


def test_exact_effect_is_the_logit_lost(seeing: Any, photo_files: list[Path]) -> None:
    model = seeing.language_model
    prompt = seeing.see([photo_files[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    target = sentence.words[0].target
    until = sentence.up_to(model, prompt, target.position)
    scores = attribute_units(model, until, [target]).patches
    place = int(scores.total[0, 0].abs().argmax())
    effect = unit_effects(model, until, [target.token_id], [Unit(0, place)]).logit
    # To first order `total` is that effect; on a random net of this size they share their sign.
    assert float(effect) * float(scores.total[0, 0, place]) > 0


def test_a_bad_photo_does_not_stop_the_others(
    seeing: Any, photo_files: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a photo")
    settings = Settings(grid=GRID, top=3, ablate="none")
    explained = explain_photos(seeing, [bad, photo_files[0]], settings, tmp_path / "run")
    document = explained.document()
    assert [path for path, _ in explained.bad] == [document.images[0].path]
    assert "bad.jpg" in str(document.images[0].error)
    assert document.images[1].error is None
    assert json.loads((tmp_path / "run" / "explain.json").read_text()) == as_read(document)
    assert read_document(tmp_path / "run") == document
    assert not list((tmp_path / "run").rglob("*.part"))
    with Image.open(tmp_path / "run" / "photos" / "1.jpg") as shown:
        assert shown.size[0] == shown.size[1]


def test_explaining_leaves_the_model_as_it_was(seeing: Any, photo_files: list[Path]) -> None:
    model = seeing.language_model.model
    before, hooks = weights_hash(model), count_hooks(model)
    explained(seeing, photo_files[2], ablate="all", words=("boat",))
    assert weights_hash(model) == before
    assert count_hooks(model) == hooks


def test_explaining_twice_gives_the_same_document(seeing: Any, photo_files: list[Path]) -> None:
    assert explained(seeing, photo_files[3]) == explained(seeing, photo_files[3])


def test_grids_are_the_papers_shares() -> None:
    assert ablation_grid("short", 46080) == [0, 10, 50, 100, 643]
    assert ablation_grid("full", 46080) == [0, 5, 10, 20, 40, 50, 80, 100, 161, 321, 643]
    assert ablation_grid("full", 458752)[-1] == 6400


def test_unrelated_nouns_are_not_in_the_caption(captioner: Any) -> None:
    nouns, tokens = unrelated_nouns(captioner.language_model, {"dog", "cat"}, set(), n=5)
    assert not {"dog", "cat"} & set(nouns)
    assert len(set(tokens)) == len(nouns)


def test_random_controls_differ_between_seeds(seeing: Any, photo_files: list[Path]) -> None:
    curve = explained(seeing, photo_files[0], seeds=3)["words"][0]["ablation"]
    assert curve["random_std"][-1] > 0
    assert torch.tensor(curve["random"]).isfinite().all()


def test_own_units_against_several_others(
    seeing: Any, photo_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from molyneux.explain import own_minus_others as against
    from molyneux.neurons.other_photos import OtherPhoto

    monkeypatch.setattr(against, "UNITS", 3)
    model = seeing.language_model
    prompt = seeing.see([photo_files[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    target = sentence.words[0].target
    until = sentence.up_to(model, prompt, target.position)
    own = [Unit(0, 1), Unit(1, 2), Unit(2, 3)]
    lists = [[Unit(0, k), Unit(1, k), Unit(2, k)] for k in (5, 6, 7)]
    others = [OtherPhoto(str(k), {("last", "specific"): units}) for k, units in enumerate(lists)]
    found = against.own_minus_others(
        Tried(model, until, "all"), target.token_id, own, others, view="last"
    )
    assert found is not None
    probabilities = ablate_units(model, until, [[], own, *lists])[:, target.token_id].exp()
    left = probabilities[1:] / probabilities[0]
    assert found.difference == pytest.approx(float((left[0] - left[1:]).mean()), abs=1e-5)
    assert found.low <= found.difference <= found.high
    none = against.own_minus_others(
        Tried(model, until, "all"), target.token_id, own, others[:2], view="last"
    )
    assert none is None


def test_a_table_of_another_kind_of_score_is_not_used(
    seeing: Any, photo_files: list[Path], tmp_path: Path
) -> None:
    settings = Settings(grid=GRID, top=3, scorer=GradientActivation(of="logprob"))
    document = explain_photos(seeing, photo_files[:1], settings, tmp_path / "run").document()
    assert document.model.reference is None
    assert "reference table" in str(document.settings.note)
    assert document.images[0].words[0].rankings["raw"].patches[0].specific is None
