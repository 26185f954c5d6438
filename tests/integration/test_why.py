"""Why a word is said that may not be there: compared with photos that people say show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from report_page import ReportPage
from tiny_models import tiny_captioner
from tiny_partners import Seeing, square_photos, with_partners
from tiny_vlms import tiny_vlm

from molyneux import Settings, explain_photo, explain_photos
from molyneux.data.dataset import Item
from molyneux.explain.document import Word
from molyneux.explain.photo import explain_seen
from molyneux.explain.why_record import Why
from molyneux.explain.why_text import why_lines, why_table, why_title
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.sight.shown import PHOTOS
from molyneux.pages.one_file import write_report
from molyneux.records import from_json, to_json
from molyneux.vision.photo import photo_sha256


def people(k: int) -> tuple[str, ...]:
    """Return what people say: a cat in every third photo, else a wall."""
    return ("A cat.",) if k % 3 == 0 else ("A wall.",)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def captioner(photos: list[Path]) -> Seeing:
    return with_partners(tiny_captioner(), photos, lambda _: "volcano", people)


def asked(seeing: Seeing, photo: Path, *words: str, **more: Any) -> list[Word]:
    settings = Settings(ablate="none", words=list(words), **more)
    return list(explain_photo(seeing, photo, settings).words)


def why_of(seeing: Seeing, photo: Path, word: str = "cat", **more: Any) -> Why:
    why = asked(seeing, photo, word, **more)[-1].why
    assert why is not None
    return why


def test_a_word_asked_for_is_compared_with_photos_that_show_it(
    captioner: Seeing, photos: list[Path]
) -> None:
    *written, cat = asked(captioner, photos[0], "cat")
    assert all(word.why is None for word in written)  # nobody described this photo
    why = cat.why
    assert why is not None
    assert why.said in ("asked", "nearly")
    assert why.named_by_people is None
    assert why.log_probability == pytest.approx(
        torch.tensor(cat.probability).log().item(), abs=1e-4
    )
    assert (why.described, why.named) == (20, 7)
    assert [one.ranking for one in why.shared] == ["contrast", "total"]
    for one in why.shared:
        assert one.shown.photos == one.others.photos == PHOTOS
        assert 0 <= one.others.mean <= 1
        assert one.like_shown == (one.chance <= 0.02)
        assert one.among_shown is not None
        assert one.among_shown.photos == PHOTOS
    assert why.like_shown == why.shared[0].like_shown
    assert why.log_probability_shown is not None
    assert why.log_probability_shown.photos == PHOTOS
    assert why.patches is not None
    assert [len(row) for row in why.patches] == [4] * 4
    assert from_json(Word, to_json(cat), "a word") == cat


@pytest.mark.parametrize("kind", ["captioner", "llava"])
def test_what_patches_give_is_what_units_give_there(
    kind: str, captioner: Seeing, photos: list[Path]
) -> None:
    seeing = captioner if kind == "captioner" else tiny_vlm(kind)
    model = seeing.language_model
    prompt = seeing.see([photos[1]]).followed_by(model, model.encode(" a"))
    targets = [Target(5, prompt.n_positions - 1), Target(7, prompt.n_positions - 2)]
    whole = attribute_units(model, prompt, targets)
    assert whole.of_patches is not None
    n = whole.activation.shape[1]
    for patch in (0, n - 1):
        only = torch.arange(n) == patch
        alone = attribute_units(model, prompt, targets, patches=only).patches.total.sum(dim=(1, 2))
        torch.testing.assert_close(whole.of_patches[:, patch], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        whole.of_patches.sum(dim=1), whole.patches.total.sum(dim=(1, 2)), atol=1e-5, rtol=1e-4
    )


def copies(seeing: Seeing, photo: Path, shown: bool) -> Seeing:
    """Return the model with this photo itself, under other names, as photos with or without a cat.

    The others are as they were.
    """
    own = seeing.see([photo])
    table = seeing.reference
    partners = [
        replace(partner, patches=own.embeddings[0, own.patches])
        if partner.people_name("cat") == shown
        else partner
        for partner in table.partners
    ]
    return replace(seeing, reference=replace(table, partners=partners))


def test_photos_that_are_this_one_share_all_units_and_the_control_can_fail_it(
    captioner: Seeing, photos: list[Path]
) -> None:
    same = why_of(copies(captioner, photos[0], shown=True), photos[0])
    for one in same.shared:
        assert one.shown.mean == pytest.approx(1, abs=0.03)  # ties of units that give nothing
        assert one.among_shown is not None
        assert one.among_shown.mean == pytest.approx(1, abs=1e-6)
    contrast = same.shared[0]
    assert contrast.others.mean < contrast.shown.mean
    assert same.log_probability_shown is not None
    assert same.log_probability_shown.mean == pytest.approx(same.log_probability, abs=1e-3)
    # Where photos without a cat are this one, it is no likeness to cats.
    without = why_of(copies(captioner, photos[0], shown=False), photos[0])
    total = next(one for one in without.shared if one.ranking == "total")
    assert total.others.mean == pytest.approx(1, abs=0.03)
    assert total.like_shown is False


def test_without_a_photo_that_shows_it_that_is_said(captioner: Seeing, photos: list[Path]) -> None:
    why = why_of(captioner, photos[0], "dog")
    assert (why.named, why.shared, why.log_probability_shown, why.like_shown) == (0, (), None, None)
    (line,) = [line for line in why_lines("dog", why) if "reference photos" in line]
    assert line.startswith("of 20 reference photos that people described none shows it")
    assert why_table(why) == []
    few = with_partners(
        tiny_captioner(), photos, lambda _: "volcano", lambda k: ("A cat.",) if k < 1 else ("A.",)
    )
    one = why_of(few, photos[0])
    assert one.shared[0].like_shown is None
    assert one.shared[0].among_shown is None
    assert any("too few" in line for line in why_lines("cat", one))


def test_words_that_people_named_are_not_asked_about(captioner: Seeing, photos: list[Path]) -> None:
    (own, *_) = asked(captioner, photos[0])
    digest = photo_sha256(photos[0])
    settings = Settings(ablate="none", words=["cat"]).of_model(captioner.language_model.n_units)

    def told(*named: str) -> list[Word]:
        return list(explain_seen(captioner, photos[0], settings, digest, named).words)

    first, *_, cat = told(own.word, "wall")
    assert first.why is None
    assert cat.why is not None
    assert cat.why.named_by_people is False
    first, *_, cat = told("cat")
    assert first.why is not None
    assert (first.why.said, first.why.named_by_people) == ("written", False)
    assert why_title(first.word, first.why) == f"Why did it say “{first.word}”?"
    assert cat.why is not None
    assert cat.why.named_by_people is True


def test_nothing_is_asked_without_partners_or_sight(captioner: Seeing, photos: list[Path]) -> None:
    assert asked(captioner, photos[0], "cat", sight="none")[-1].why is None
    table = replace(captioner.reference, partners=[])
    assert asked(replace(captioner, reference=table), photos[0], "cat")[-1].why is None
    assert asked(replace(captioner, reference=None), photos[0], "cat")[-1].why is None


def test_the_page_and_the_text_say_it(
    captioner: Seeing, photos: list[Path], tmp_path: Path
) -> None:
    item = Item(id="one", source=photos[0], captions=("A wall.",))
    run = explain_photos(captioner, item, Settings(ablate="none", words=["cat"]), tmp_path / "run")
    (image,) = run.document().images
    page = ReportPage(write_report(tmp_path / "run")).photo()
    text = repr(image)
    for word, told in zip(image.words, page["told"], strict=True):
        assert word.why is not None
        title = why_title(word.word, word.why)
        assert told["why"]["title"] == title
        assert told["why"]["lines"] == why_lines(word.word, word.why)
        assert title in text
        for line in why_lines(word.word, word.why):
            assert line in text
        assert line in repr(word.why).replace("the word", word.word)
    for shown in page["image"]["words"]:
        assert [len(row) for row in shown["why"]["patches"]] == [4] * 4
