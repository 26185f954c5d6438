"""What `explain` says of sight, and transplants from Python, on tiny models."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from report_page import ReportPage
from tiny_models import tiny_captioner
from tiny_partners import N_PARTNERS, Seeing, square_photos, with_partners
from tiny_vlms import tiny_vlm

from molyneux import MolyneuxError, Settings, Unit, explain_photo, explain_photos
from molyneux.explain.document import Word
from molyneux.explain.sight_record import NotNamed, Sight, SightSet
from molyneux.explain.sight_text import (
    SIGHT_COLUMNS,
    carried,
    sight_lines,
    sight_short,
    sight_table,
)
from molyneux.model import Model
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.rankings import row_norms
from molyneux.neurons.sight.forms import sets_of
from molyneux.neurons.sight.measure import MIN_PARTNERS
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import read_sentence
from molyneux.pages.one_file import write_report
from molyneux.records import from_json, to_json
from molyneux.vision.photo import photo_sha256


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def captioner(photos: list[Path]) -> Seeing:
    return with_partners(tiny_captioner(), photos, lambda _: "volcano")


def sighted(seeing: Seeing, photo: Path, **asked: Any) -> list[Word]:
    return list(explain_photo(seeing, photo, Settings(ablate="none", **asked)).words)


def test_the_short_form_says_what_a_photo_adds_to_each_word(
    captioner: Seeing, photos: list[Path]
) -> None:
    words = sighted(captioner, photos[0], words=["cat"])
    assert words[-1].word == "cat"
    for word in words:
        sight = word.sight
        assert sight is not None
        assert word.sight_note is None
        assert (sight.partners, sight.partner_caption) == (8, "a volcano here")
        assert [(one.name, one.fraction_of_units, one.layers) for one in sight.sets] == [
            ("change", 0.05, "all"),
            ("random", 0.05, "all"),
        ]
        assert len({one.word for one in sight.absent}) == 3
        for one in sight.sets:
            assert isinstance(one.transplant_caption, str)
            assert one.edit_norm
            assert one.mediated_norm
        for missing in sight.absent:
            assert missing.word not in {each.word for each in words}
            assert [one.name for one in missing.sets] == ["change", "random"]
        assert sight.of("change") == sight.sets[0]
        assert sight.of("all") is None


def by_hand(seeing: Seeing, photo: Path, word: Word) -> tuple[float, float, float]:
    """Return gain, mediated and transplant of `change` with one pass for each number."""
    model, table = seeing.language_model, seeing.reference
    prompt = seeing.see([photo])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    ahead = sentence.token_ids[: word.position + 1 - prompt.n_positions]

    def log_p(given: Any, edit: Intervention | None = None) -> float:
        whole = given.followed_by(model, ahead)
        with torch.no_grad(), intervened(model, [edit or Intervention([])], given.patches):
            return float(model.read(whole).logits[0, -1].log_softmax(dim=-1)[word.token_id])

    digest = photo_sha256(photo)
    order = sorted(
        table.partners, key=lambda p: hashlib.sha256(f"{digest} {p.name}".encode()).digest()
    )[:8]
    others = [partner.instead_of(prompt) for partner in order]
    own = patch_activations(model, prompt)
    mean = torch.stack([patch_activations(model, other) for other in others]).mean(dim=0)
    moments = table.activation
    median = moments.deviation.median(dim=1, keepdim=True).values
    z = ((own.mean(dim=1) - moments.mean) / (moments.deviation + median))[:-1].abs()
    n = round(0.05 * z.numel())
    lowest = z.flatten().sort(descending=True).values[n - 1]
    mask = torch.zeros(model.n_layers, model.d_mlp, dtype=torch.bool)
    mask[:-1] = z >= lowest
    clean = log_p(prompt)
    gain = clean - sum(map(log_p, others)) / 8
    mediated = clean - log_p(prompt, Intervention(mask, "patches", mean))
    each = [log_p(o, Intervention(mask, "patches", own)) - log_p(o) for o in others]
    return gain, mediated, sum(each) / 8


@pytest.mark.parametrize("kind", ["captioner", "llava", "qwen2_vl"])
def test_its_numbers_are_those_of_one_pass_each(
    kind: str, captioner: Seeing, photos: list[Path]
) -> None:
    seeing = captioner
    if kind != "captioner":
        seeing = with_partners(tiny_vlm(kind), photos, lambda _: "volcano")
    (word, *_) = sighted(seeing, photos[1])
    assert word.sight is not None
    gain, mediated, transplant = by_hand(seeing, photos[1], word)
    assert word.sight.gain == pytest.approx(gain, abs=1e-4)
    found = word.sight.sets[0]
    assert found.mediated == pytest.approx(mediated, abs=1e-4)
    assert found.transplant == pytest.approx(transplant, abs=1e-4)
    if word.sight.gain > 2 * word.sight.standard_error:
        assert found.fraction_mediated == pytest.approx(mediated / gain, abs=1e-3)
    else:
        assert found.fraction_mediated is None


def test_the_full_form_has_every_set(captioner: Seeing, photos: list[Path]) -> None:
    sight = sighted(captioner, photos[2], sight="full")[0].sight
    assert sight is not None
    assert sight.partners == N_PARTNERS
    found = [(one.name, one.fraction_of_units, one.layers) for one in sight.sets]
    assert found == [
        *((name, f, "all") for f in (0.01, 0.05, 0.2) for name in ("change", "random", "matched")),
        ("all", 1.0, "all"),
        ("other_values", 0.05, "all"),
        ("scrambled", 0.05, "all"),
        # Two layers have a path: they are their own thirds.
        *((name, 0.05, (layer,)) for layer in (0, 1) for name in ("change", "random")),
    ]
    for one in sight.sets:
        assert one.transplant is not None
        assert (one.transplant_caption is None) == (one.layers != "all")


def test_only_what_is_asked_for_is_measured(captioner: Seeing, photos: list[Path]) -> None:
    (word, *_) = sighted(captioner, photos[0], sight="none")
    assert (word.sight, word.sight_note) == (None, None)
    with pytest.raises(MolyneuxError, match="sight"):
        Settings(sight="long")


def test_why_it_is_not_measured_is_said(captioner: Seeing, photos: list[Path]) -> None:
    (word, *_) = sighted(replace(captioner, reference=None), photos[0])
    assert word.sight is None
    assert "molyneux reference" in str(word.sight_note)
    (own, *_) = sighted(captioner, photos[0])
    shown = with_partners(
        tiny_captioner(), photos, lambda k: own.word if k > MIN_PARTNERS - 2 else "volcano"
    )
    (word, *_) = sighted(shown, photos[0])
    assert word.sight is None
    assert f"{MIN_PARTNERS - 1} do not show it" in str(word.sight_note)
    table = captioner.reference
    smaller = [replace(partner, patches=partner.patches[:9]) for partner in table.partners]
    other = replace(captioner, reference=replace(table, partners=smaller))
    (word, *_) = sighted(other, photos[0])
    assert "16 patches" in str(word.sight_note)


def test_a_partner_that_shows_the_word_is_none_of_its(
    captioner: Seeing, photos: list[Path]
) -> None:
    (own, *_) = sighted(captioner, photos[0])
    some = with_partners(
        tiny_captioner(), photos, lambda k: f"{own.word}s" if k % 5 == 0 else "volcano"
    )
    sight = sighted(some, photos[0], sight="full")[0].sight
    assert sight is not None
    assert sight.partners == N_PARTNERS * 4 // 5
    assert sight.partner_caption == "a volcano here"


def test_a_photo_is_no_partner_of_itself(captioner: Seeing, photos: list[Path]) -> None:
    for photo, n in ((photos[0], N_PARTNERS), (photos[4], N_PARTNERS - 1)):
        sight = sighted(captioner, photo, sight="full")[0].sight
        assert sight is not None
        assert sight.partners == n


def test_sight_is_the_same_in_each_run_and_json_reads_it_back(
    captioner: Seeing, photos: list[Path]
) -> None:
    once, again = (sighted(captioner, photos[3])[0] for _ in range(2))
    assert once == again
    assert from_json(Word, to_json(once), "a word") == once
    assert '"set": "change"' in to_json(once)


def test_a_word_of_several_tokens_has_the_sum_beside_its_first(
    captioner: Seeing, photos: list[Path]
) -> None:
    word = sighted(captioner, photos[0], words=["dogcat"])[-1]
    assert word.n_tokens > 1
    assert word.sight is not None
    assert word.sight.gain_all_tokens is not None
    assert word.sight.gain_all_tokens != word.sight.gain
    assert sighted(captioner, photos[0], words=["dog"])[-1].sight.gain_all_tokens is None


def test_forms_are_made_of_word_blind_sets_alone() -> None:
    z = torch.randn(7, 20, generator=torch.Generator().manual_seed(0))
    sets = sets_of("full", z, lambda: z.abs())
    for one in sets:
        assert not one.mask[-1].any()
        if one.layers is not None:
            others = [layer for layer in range(7) if layer not in one.layers]
            assert not one.mask[others].any()
    thirds = [one.layers for one in sets if one.name == "change" and len(one.layers or ()) == 2]
    assert thirds == [(0, 1), (2, 3), (4, 5)]
    alone = [one.layers for one in sets if len(one.layers or ()) == 1]
    assert alone == [(layer,) for layer in range(6)]


def sight_with(**changed: Any) -> Sight:
    """Return a made-up sight of a word: gain 4, transplants 2 of `change` and .1 of `random`."""
    numbers = {
        "mediated": 1.0,
        "fraction_mediated": 0.25,
        "fraction_transplanted": 0.5,
        "edit_norm": 30.0,
        "mediated_norm": 20.0,
        "transplant_caption": "a dog",
        "fraction_of_units": 0.05,
        "layers": "all",
    }
    sets = (
        SightSet(**{**numbers, "name": "change", "transplant": 2.0}),
        SightSet(**{**numbers, "name": "random", "transplant": 0.1}),
    )
    lower = tuple(replace(one, transplant=-0.25, transplant_caption=None) for one in sets)
    absent = (NotNamed(word="boat", gain=-1.0, sets=lower),)
    return Sight(
        **{
            "gain": 4.0,
            "standard_error": 0.5,
            "partners": 8,
            "partner_caption": "a red bus",
            "sets": sets,
            "absent": absent,
            **changed,
        }
    )


def test_what_is_said_of_it_is_what_the_photo_adds() -> None:
    assert sight_lines(None) == []
    lines = sight_lines(sight_with())
    assert lines == [
        "this photo makes the word 55 times as likely as 8 other photos do, in their geometric "
        "mean: it adds 4.00 nats",
        "the 5\u00a0% of units that it changes most, chosen without a word, add 2.00 nats when "
        "they are put into other photos' patches (random units 0.10; to words that are not named "
        "−0.25)",
        "with them “a red bus” becomes “a dog”",
    ]
    assert repr(sight_with()).splitlines() == lines
    (nothing,) = sight_lines(sight_with(standard_error=3.0))
    assert nothing.startswith("this photo adds nothing to this word: 4.00 nats")
    assert not any("see" in line for line in lines)
    assert sight_short(sight_with()) == "55 times as likely as behind other photos"
    assert sight_short(sight_with(gain=0.3, standard_error=0.1)) == (
        "1.3 times as likely as behind other photos"
    )
    assert sight_short(sight_with(standard_error=3.0)) == "this photo adds nothing to it"
    assert carried(sight_with()) == [
        ("it adds", 4.0),
        ("5\u00a0% of units bring", 2.0),
        ("random units bring", 0.1),
        ("words not named get", -0.25),
    ]
    assert carried(sight_with(standard_error=3.0)) == carried(None) == []
    rows = sight_table(sight_with())
    assert [name for name, _ in rows] == ["5\u00a0% changed most", "5\u00a0% random"]
    assert rows[0][1] == ("1.00", "1.00", "2.00", "−0.25", "0.50", "30.00", "a dog")
    assert len(rows[0][1]) == len(SIGHT_COLUMNS) - 1


def test_it_is_on_the_page_and_in_the_text(
    captioner: Seeing, photos: list[Path], tmp_path: Path
) -> None:
    asked = Settings(ablate="none")
    run = explain_photos(captioner, photos[:1], asked, tmp_path / "run")
    (image,) = run.document().images
    word = image.words[0]
    assert word.sight is not None
    page = ReportPage(write_report(run.folder))
    first = sight_lines(word.sight)[0]
    assert first in page.photo()["told"][0]["sight"]
    assert first in repr(word)
    bare = explain_photos(replace(captioner, reference=None), photos[:1], asked, tmp_path / "bare")
    page = ReportPage(write_report(bare.folder))
    assert "ight is not measured" in page.photo()["image"]["words"][0]["sight_note"]


# --- transplants from Python ----------------------------------------------------------------


def test_a_transplant_is_the_other_photos_caption_where_everything_comes_along(
    captioner: Seeing, photos: list[Path]
) -> None:
    model = Model(captioner)
    itself = model.transplant(photos[5], into=photos[5], units="all")
    assert itself.caption == itself.before == model.caption(photos[5])
    assert itself.edit_norm == pytest.approx(0, abs=1e-3)
    other = model.transplant(photos[5], into=photos[6], units="all")
    language = model.language_model
    assert other.units == (language.n_layers - 1) * language.d_mlp
    assert other.before == model.caption(photos[6])
    assert other.edit_norm > 0
    assert repr(other.before) in repr(other)


def test_units_and_patches_of_a_transplant_are_chosen(
    captioner: Seeing, photos: list[Path]
) -> None:
    model = Model(captioner)
    language = model.language_model
    change = model.transplant(photos[5], into=photos[6])
    assert change.units == round(0.05 * (language.n_layers - 1) * language.d_mlp)
    one = model.transplant(photos[5], into=photos[6], units=["L1.u7"], patches=[3])
    prompts = [captioner.see([photos[k]]) for k in (5, 6)]
    values = [float(patch_activations(language, prompt)[1, 3, 7]) for prompt in prompts]
    moved = abs(values[0] - values[1]) * float(row_norms(language)[1, 7])
    assert one.edit_norm == pytest.approx(moved, rel=1e-4)
    assert model.transplant(photos[5], into=photos[6], units=Unit(1, 7)).units == 1


def test_transplants_that_cannot_be_are_refused(captioner: Seeing, photos: list[Path]) -> None:
    model = Model(replace(captioner, reference=None))
    with pytest.raises(MolyneuxError, match="molyneux reference"):
        model.transplant(photos[0], into=photos[1])
    with pytest.raises(MolyneuxError, match="patch"):
        model.transplant(photos[0], into=photos[1], units="all", patches=[16])
    with pytest.raises(MolyneuxError):
        model.transplant(photos[0], into=photos[1], units=["L99.u0"])


def test_sets_of_the_document_are_found_by_name() -> None:
    (whole, random) = sight_with().sets
    parts = replace(whole, layers=(0, 1))
    sight = sight_with(sets=(parts, whole, random))
    assert sight.of("change") is whole
    assert sight.of("change", 0.2) is None
