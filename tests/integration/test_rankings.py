"""Rankings of units: what each sorts by, and that it does what it says, on tiny models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_run
import torch
from report_page import ReportPage
from study_toy import photo_files
from tiny_models import count_hooks, tiny_captioner, tiny_photos, weights_hash

from molyneux.errors import UsageError
from molyneux.explain.curves import BY_GRADIENT, sizes_of
from molyneux.explain.document import Document, read_document
from molyneux.explain.measure_reference import measure_reference
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings
from molyneux.explain.tried import Tried
from molyneux.neurons.ablation import (
    Intervention,
    Scaled,
    ablate_units,
    intervened_logits,
)
from molyneux.neurons.attribution import VIEWS, Target, attribute_totals, attribute_units
from molyneux.neurons.contrast import Behind, instead_of, score_behind
from molyneux.neurons.effects import unit_effects
from molyneux.neurons.partners import make_partner
from molyneux.neurons.rankings import Ranked, rank_units
from molyneux.neurons.reference import Reference
from molyneux.neurons.scorers import DEFAULT_SCORER, Context, ScoresTogether
from molyneux.neurons.targets import read_sentence, word_tokens
from molyneux.neurons.unit import Unit, top_units
from molyneux.neurons.unit_sets import LISTED, UNIT_SETS
from molyneux.pages.one_file import write_report
from molyneux.vision.layout import joined

GRID = [0, 5, 10]
CAPTIONS = ("a river in a valley", "a hill", "a guitar", "a boat", "a piano")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny captioner whose table has partners, by captions of our own."""
    captioner = tiny_captioner("llama")
    table, _ = measure_reference(
        captioner, photo_files(tmp_path_factory.mktemp("photos"), 6), data="drawings", n_listed=20
    )
    prompts = [captioner.see([photo]) for photo in tiny_photos(11)[6:]]
    partners = [
        make_partner(f"{number:064x}", said, [], prompt.embeddings[0, prompt.patches])
        for number, (said, prompt) in enumerate(zip(CAPTIONS, prompts, strict=True))
    ]
    return captioner.with_reference(replace(table, partners=partners))


@pytest.fixture(scope="module")
def asked(seeing: Any) -> Any:
    """A photo's prompt with its caption, and two targets at different positions of it."""
    model = seeing.language_model
    prompt = seeing.see([tiny_photos(1)[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    first = sentence.words[0].target
    until = prompt.followed_by(model, sentence.token_ids[:4])
    last = until.n_positions - 1
    return until, [first, Target(first.token_id + 1, last)] if first.position <= last else [first]


def ranked(seeing: Any, asked: Any, view: Any = "patches", target: int = 0, **more: Any) -> Ranked:
    until, targets = asked
    found = attribute_units(seeing.language_model, until, targets)
    return rank_units(
        seeing.language_model, found, target, view, reference=seeing.reference, **more
    )


def test_raw_and_total_sort_by_the_maximum_and_the_sum(seeing: Any, asked: Any) -> None:
    for view in VIEWS:
        at = ranked(seeing, asked, view)
        scores = at.attribution.view(view)
        assert at.units("raw", 30) == at.units("top", 30) == top_units(scores.score[0], 30)
        assert at.units("total", 30) == top_units(scores.total[0], 30)
        by_total = at.table.specific(scores.total[0], view, of="total")
        assert at.units("specific_total", 30) == top_units(by_total, 30)
    patches, last = ranked(seeing, asked), ranked(seeing, asked, "last")
    assert patches.units("raw", 30) != patches.units("total", 30)
    assert last.units("raw", 30) == last.units("total", 30)  # one position: nothing to sum


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    ranks = [values.argsort().argsort().double() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_totals_order_units_as_exact_changes_of_each_do(make_captioner: Any, kind: str) -> None:
    captioner = make_captioner(kind)
    model, prompt = captioner.language_model, captioner.see([tiny_photos(1)[0]])
    target = Target(9, prompt.n_positions - 1)
    found = attribute_units(model, prompt, [target]).patches
    units = [Unit(layer, k) for layer in range(model.n_layers - 1) for k in range(model.d_mlp)]
    at = ([u.layer for u in units], [u.unit for u in units])
    total, raw = found.total[0][at], found.score[0][at]
    less = [Intervention([unit], "patches", Scaled(0.98)) for unit in units]
    logits = intervened_logits(model, prompt, [Intervention([]), *less])[:, target.token_id]
    assert rank_correlation(total, logits[0] - logits[1:]) > 0.98
    if kind == "gpt2":  # the tiny Llama is far from linear over all of a unit
        exact = unit_effects(model, prompt, [target.token_id], units).logit[:, 0]
        assert rank_correlation(total, exact) > max(0.9, rank_correlation(raw, exact))


def slow_behind(seeing: Any, asked: Any, prompts: Any) -> Any:
    """Return totals behind partners: each by itself, one target after another."""
    _, targets = asked
    model = seeing.language_model
    return {
        view: torch.stack(
            [
                torch.stack(
                    [attribute_units(model, p, [one]).view(view).total[0] for p in prompts]
                ).mean(dim=0)
                for one in targets
            ]
        )
        for view in VIEWS
    }


def test_contrast_is_the_total_here_minus_its_mean_behind_partners(seeing: Any, asked: Any) -> None:
    until, targets = asked
    prompts = instead_of(seeing.reference, until, ["dog"], "seed", most=len(CAPTIONS))
    assert len(prompts) == len(CAPTIONS)
    assert all(torch.equal(p.embeddings[:, p.patches.stop :], until.embeddings[:, p.patches.stop :])
               for p in prompts)  # fmt: skip
    context = Context(partners=prompts)
    behind = score_behind(DEFAULT_SCORER, seeing.language_model, targets, context)
    wanted = slow_behind(seeing, asked, prompts)
    for view in VIEWS:
        for target in range(len(targets)):
            at = ranked(seeing, asked, view, target, behind=behind)
            here = at.attribution.view(view).total[target]
            lent = here - wanted[view][target]
            torch.testing.assert_close(at.lent, lent, atol=1e-5, rtol=1e-4)
            score = at.score("contrast")
            assert torch.equal(score == -torch.inf, at.lent <= 0)
            assert torch.equal(score[score > 0], at.lent[at.lent > 0])
            listed = at.first("contrast", 20)
            assert listed
            assert listed != at.first("total", 20)
    assert behind.partners == len(CAPTIONS)
    assert torch.equal(behind.of([1]).total["last"][0], behind.total["last"][1])


@pytest.mark.parametrize("kind", ["opt", "gpt2", "llama"])
def test_totals_of_several_photos_are_those_of_each(make_captioner: Any, kind: str) -> None:
    captioner = make_captioner(kind)
    model = captioner.language_model
    before, hooks = weights_hash(model.model), count_hooks(model.model)
    prompts = [captioner.see([photo]) for photo in tiny_photos(3)]
    prompts = [prompt.followed_by(model, model.encode(" a dog")) for prompt in prompts]
    last = prompts[0].n_positions - 1
    targets = [Target(5, last), Target(7, last - 1)]
    for of, site in (("logit", "activation"), ("logprob", "preactivation")):
        chosen: dict[str, Any] = {"of": of, "site": site}
        found = attribute_totals(model, joined(prompts), targets, **chosen)
        for photo, prompt in enumerate(prompts):
            one = attribute_units(model, prompt, targets, **chosen)
            torch.testing.assert_close(
                found.log_probability[photo].exp(), one.probability, atol=1e-6, rtol=1e-4
            )
            for view in VIEWS:
                torch.testing.assert_close(
                    found.view(view)[photo], one.view(view).total, atol=1e-5, rtol=1e-3
                )
    assert weights_hash(model.model) == before
    assert count_hooks(model.model) == hooks


class OneByOne:
    """A scorer that cannot score photos together."""

    name, cost = "one-by-one", DEFAULT_SCORER.cost

    def score(self, *given: Any, context: Any, **more: Any) -> Any:
        return attribute_units(*given, **more)

    def record(self) -> dict[str, Any]:
        return {"name": self.name}


def test_a_scorer_need_not_score_photos_together(seeing: Any, asked: Any) -> None:
    until, targets = asked
    context = Context(partners=instead_of(seeing.reference, until, [], "seed"))
    model = seeing.language_model
    assert not isinstance(OneByOne(), ScoresTogether)
    apart = score_behind(OneByOne(), model, targets, context)
    together = score_behind(DEFAULT_SCORER, model, targets, context)
    for view in VIEWS:
        torch.testing.assert_close(apart.total[view], together.total[view], atol=1e-5, rtol=1e-3)


def test_a_photo_lends_nothing_beyond_itself(seeing: Any, asked: Any) -> None:
    until, targets = asked
    partner = seeing.reference.partners[0]
    itself = partner.instead_of(until)
    behind = score_behind(
        DEFAULT_SCORER, seeing.language_model, targets, Context(partners=[itself] * 5)
    )
    for view in VIEWS:
        at = ranked(seeing, (itself, targets), view, behind=behind)
        # Several together and one by itself are equal on paper.
        largest = at.attribution.view(view).total[0].abs().max()
        assert at.lent.abs().max() < 1e-4 * largest
        same = replace(behind, total={view: at.attribution.view(view).total})
        assert replace(at, behind=same, _made={}).units("contrast", 20) == []


def test_partners_that_show_a_word_and_too_few_of_them_give_no_contrast(
    seeing: Any, asked: Any
) -> None:
    until, targets = asked
    assert len(instead_of(seeing.reference, until, ["boat"], "seed")) == len(CAPTIONS) - 1
    assert instead_of(seeing.reference, until, ["boat", "piano"], "seed") == ()
    assert instead_of(None, until, [], "seed") == ()
    assert len(instead_of(seeing.reference, until, [], "seed", most=4)) == 4
    own, every = seeing.reference.partners[0], len(seeing.reference.partners)
    assert len(instead_of(seeing.reference, until, [], "seed", most=every)) == every
    assert instead_of(seeing.reference, until, [], own.name, most=every) == ()
    assert len(instead_of(seeing.reference, until, [], own.name, most=every - 1)) == every - 1
    orders = {
        tuple(float(p.embeddings.sum()) for p in instead_of(seeing.reference, until, [], str(n), 4))
        for n in range(20)
    }
    assert len(orders) > 1
    fewer = [replace(one, patches=one.patches[:-1]) for one in seeing.reference.partners]
    assert instead_of(replace(seeing.reference, partners=fewer), until, [], "seed") == ()
    with pytest.raises(UsageError, match="no partners to score behind"):
        score_behind(DEFAULT_SCORER, seeing.language_model, targets, Context())
    at = ranked(seeing, asked)
    assert not at.has("contrast")
    assert at.units("contrast", 5) is None


def test_change_is_blind_to_the_word(seeing: Any, asked: Any) -> None:
    _, targets = asked
    each = [ranked(seeing, asked, target=number) for number in range(len(targets))]
    lists = [at.first("change", 30) for at in each]
    assert lists[0]
    assert all(units == lists[0] for units in lists)
    assert each[0].units("total", 30) != each[1].units("total", 30)
    usual = seeing.reference.activation
    there = each[0].attribution.activation.double().mean(dim=1)
    deviation = usual.deviation.double()
    d0 = deviation.median(dim=1, keepdim=True).values
    z = (there - usual.mean) / (deviation + d0)
    n_layers = seeing.language_model.n_layers
    assert all(unit.layer < n_layers - 1 for unit in lists[0])
    score = each[0].score("change")
    torch.testing.assert_close(score[:-1].double(), z[:-1].abs(), atol=1e-3, rtol=1e-3)
    at = ([u.layer for u in lists[0]], [u.unit for u in lists[0]])
    assert torch.equal(each[0].signs("change")[at].double(), z[at].sign())
    assert ranked(seeing, asked, "last").units("change", 5) is None


def test_what_a_table_lacks_leaves_its_rankings_out(seeing: Any, asked: Any) -> None:
    until, targets = asked
    table: Reference = seeing.reference
    older = replace(table, total_mean=None, total_deviation=None, activation=None, partners=[])
    found = attribute_units(seeing.language_model, until, targets)
    at = rank_units(seeing.language_model, found, reference=older)
    there = {name for name in UNIT_SETS if at.has(name)}
    assert not {"specific_total", "change", "contrast"} & there
    assert {"total", "raw", "specific"} <= there
    later = rank_units(seeing.language_model, found, reference=table, at_first_noun=False)
    assert not later.has("specific")
    assert not later.has("specific_total")
    with_partners = replace(
        later, behind=Behind({view: found.view(view).total for view in VIEWS}, 1)
    )
    assert with_partners.has("contrast")  # holds of later nouns too


def explained(seeing: Any, **options: Any) -> Any:
    return explain_photo(seeing, tiny_photos(1)[0], Settings(grid=GRID, top=8, **options)).image


def test_a_photo_s_lists_are_those_rankings(seeing: Any) -> None:
    image = explained(seeing, ablate="all")
    word = image.words[0]
    assert set(word.rankings) == set(LISTED)
    for name, by in (("total", "total"), ("raw", "score"), ("specific", "specific")):
        for view in VIEWS:
            values = [getattr(row, by) for row in word.ranked(view=view, ranking=name)]
            assert values == sorted(values, reverse=True)
    for row in word.ranked(ranking="contrast"):
        assert row.contrast is not None
        assert row.contrast > 0
    change = [abs(row.change) for row in word.ranked(ranking="change")]
    assert change == sorted(change, reverse=True)
    assert all(row.sign == (1 if row.change > 0 else -1) for row in word.ranked(ranking="change"))
    assert list(word.ranked(view="last", ranking="change")) == []
    assert word.units == word.ranked(ranking="total")
    for later in image.words[1:]:
        assert "contrast" in later.rankings
        assert "specific" not in later.rankings
    alone = explained(replace(seeing, reference=None), ablate="none")
    assert set(alone.words[0].rankings) == {"total", "raw"}
    assert alone.words[0].rankings["raw"].patches[0].unit == word.rankings["raw"].patches[0].unit
    assert [r.score for r in alone.words[0].ranked(ranking="raw")] == [
        r.score for r in word.ranked(ranking="raw")
    ]


@pytest.mark.parametrize("with_table", [True, False])
def test_an_absent_word_s_own_units_stand_beside(seeing: Any, with_table: bool) -> None:
    model = seeing.language_model
    chosen = seeing if with_table else replace(seeing, reference=None)
    image = explained(chosen, words=("dog",))
    word = image.words[0]
    curves = word.ablation
    assert curves is not None
    assert curves.absent_word is not None
    nouns = {each.word for each in image.words}
    assert curves.absent_word not in nouns
    (token,) = word_tokens(model, curves.absent_word)
    assert token not in {each.token_id for each in image.words}
    prompt = seeing.see([tiny_photos(1)[0]])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    until = sentence.up_to(model, prompt, word.position)
    found = attribute_units(model, until, [Target(token, word.position)])
    for key, score in (("absent_total", found.patches.total), ("absent_top", found.patches.score)):
        own = top_units(score[0], 10)
        clean, ten = ablate_units(model, until, [[], own])[:, token].exp().tolist()
        left = getattr(curves, key)
        assert left[0] == pytest.approx(1, abs=1e-5)
        assert left[1] is None  # tried at what claims are made of alone
        assert left[2] == pytest.approx(ten / clean, rel=1e-3)
    there = (curves.absent_specific, curves.absent_contrast)
    assert all((curve[2] is not None) == with_table for curve in there)
    not_ablated = explained(chosen, ablate="none").words[0]
    assert not_ablated.ablation is None


def test_a_set_is_tried_once_whoever_asks(seeing: Any, asked: Any) -> None:
    until, _ = asked
    model = seeing.language_model
    read: list[int] = []
    handle = model.model.register_forward_hook(
        lambda module, given, named, found: read.append(len(named["inputs_embeds"])),
        with_kwargs=True,
    )
    tried = Tried(model, until, "patches")
    one, other = [Unit(0, 1), Unit(1, 2)], [Unit(1, 3)]
    first = tried.log_probabilities([[], one, one])
    second = tried.log_probabilities([other, one, []])
    handle.remove()
    assert sum(read) == 3
    wanted = ablate_units(model, until, [[], one, other], positions="patches")
    torch.testing.assert_close(first, wanted[[0, 1, 1]])
    torch.testing.assert_close(second, wanted[[2, 1, 0]])


def test_sets_beside_are_tried_where_claims_are_made() -> None:
    grid = (0, 10, 50, 100, 645)
    assert sizes_of("total", grid) == sizes_of("random 2", grid) == list(grid)
    assert sizes_of("absent_total", grid) == [0, 100]
    assert sizes_of("contrast", grid) == sizes_of("change", grid) == [0, 100, 645]
    assert sizes_of("absent_specific", (200, 400)) == [200]
    assert {UNIT_SETS[name].by_gradient for name in BY_GRADIENT} == {True}


def older(run: Path) -> dict[str, Any]:
    """Turn a run's document into one of schema 1, and its heat maps' names too."""
    from safetensors.numpy import load_file, save_file

    found = json.loads((run / "explain.json").read_text())
    found["schema"] = 1
    for image in found["images"]:
        for word in image["words"]:
            lists = word.pop("rankings")
            word["units"], word["specific_units"] = lists["raw"], lists["specific"]
            for name in ("ablation", "ablation_last"):
                curves = word[name]
                for key in [key for key in curves if key.startswith("absent") or key == "total"]:
                    del curves[key]
                others = [{"noun": "boat", "left": 0.9}]
                curves["contrast"] = {
                    "units": 100,
                    "specific": 0.3,
                    "others": others,
                    "difference": -0.6,
                    "low": -0.7,
                    "high": -0.5,
                }
    (run / "explain.json").write_text(json.dumps(found))
    fields = load_file(run / "fields.safetensors")
    renamed = {
        name.replace(".raw.", ".top."): f for name, f in fields.items() if ".total." not in name
    }
    save_file(renamed, run / "fields.safetensors")
    return dict(found)


def test_documents_from_before_still_open(tmp_path: Path) -> None:
    photo = report_run.image("house.jpg", "a house on a hill.", [report_run.word("house")])
    run = report_run.write_run(tmp_path / "run", [photo])
    old = older(run)["images"][0]["words"][0]
    document = read_document(run)
    assert isinstance(document, Document)
    word = document.images[0].words[0]
    assert set(word.rankings) == {"raw", "specific"}
    assert [row.score for row in word.ranked(ranking="raw")] == [
        row["score"] for row in old["units"]["patches"]
    ]
    assert len(word.ranked(view="last", ranking="specific")) == len(old["specific_units"]["last"])
    assert word.units == word.ranked(ranking="specific")
    assert word.ablation is not None
    assert word.ablation.own_minus_others is not None
    assert word.ablation.own_minus_others.difference == -0.6
    assert word.ablation.contrast == ()
    shown = ReportPage(write_report(run)).photo()
    assert set(shown["image"]["words"][0]["rankings"]) == {"raw", "specific"}
    assert {name for name in shown["fields"] if not name.endswith(".set")} == {
        f"0.{r}.{v}" for r in ("raw", "specific") for v in VIEWS
    }


def test_the_page_draws_the_absent_word_and_calls_nothing_sight(tmp_path: Path) -> None:
    photo = report_run.image("house.jpg", "a house on a hill.", [report_run.word("house")])
    run = report_run.write_run(tmp_path / "run", [photo])
    page = ReportPage(write_report(run))
    assert "of “piano”, which is not named here, its own 100 leave 21\u00a0%" in page.said
    assert "no evidence of sight" in page.said
    assert "not evidence of sight" in page.text
    assert "absent word, its own largest total" in page.said
    (word,) = page.photo()["image"]["words"]
    assert set(word["rankings"]) == {"total", "specific", "raw"}
    assert word["ablation"]["absent_total"] == [1.0, 0.4, 0.1, 0.04, 0.0]
