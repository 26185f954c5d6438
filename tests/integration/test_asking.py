"""What is written behind a photo when units are changed, and how likely words are then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import count_hooks, tiny_captioner, tiny_photos
from tiny_partners import square_photos, with_partners

from molyneux import MolyneuxError, Settings, Unit, explain_photo
from molyneux.explain.ranked import rank_word
from molyneux.model import Model
from molyneux.models.captioned import NEXT, Captioned, answer, caption_photo
from molyneux.models.captioner import Captioner
from molyneux.models.transplant import transplant
from molyneux.neurons.ablation import Intervention, Scaled, intervened_logits
from molyneux.neurons.attribution import Target
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import Sentence, Word, ask_for
from molyneux.neurons.unit_sets import LISTED, UNIT_SETS
from molyneux.vision.photo import photo_sha256

ASKED = ("water", "dog")
NOUNS = ("boat", "clock", "cake", "tree")


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return tiny_captioner()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def with_table(photos: list[Path]) -> Captioner:
    """A captioner whose reference table has partners."""
    return with_partners(tiny_captioner(), photos, lambda k: NOUNS[k % len(NOUNS)])


def units_of(captioner: Captioner) -> list[Unit]:
    language = captioner.language_model
    return [Unit(layer, k) for layer in range(language.n_layers) for k in range(0, 48, 3)]


def slowly(
    captioner: Captioner, captioned: Captioned, change: Intervention, words: tuple[str, ...] = ASKED
) -> list[float]:
    """Words' probabilities from a pass over prompt and text together, without a cache."""
    model, found = captioner.language_model, []
    for word in words:
        sentence, asked = ask_for(model, captioned.prompt, captioned.sentence, word)
        prompt = sentence.up_to(model, captioned.prompt, asked.target.position)
        logits = intervened_logits(model, prompt, [change])[0]
        found.append(float(logits.softmax(dim=-1)[asked.target.token_id]))
    return found


def test_a_photo_is_captioned_as_it_is(captioner: Captioner) -> None:
    photo, before = tiny_photos(1)[0], count_hooks(captioner.language_model.model)
    captioned = caption_photo(captioner, photo)
    assert captioned.caption == captioner.caption(photo)
    found = captioned.answer(captioner.language_model, ASKED)
    assert list(found.probabilities) == pytest.approx(
        slowly(captioner, captioned, Intervention([])), rel=1e-4
    )
    assert len(found.next) == NEXT
    assert found.next[0][1] == pytest.approx(float(captioned.probabilities.max()))
    assert count_hooks(captioner.language_model.model) == before


@pytest.mark.parametrize("positions", ["all", "patches"])
@pytest.mark.parametrize("value", [0.0, 3.0, "mean", Scaled(-2.0)])
def test_an_answer_is_that_of_two_passes_of_their_own(
    captioner: Captioner, positions: str, value: object
) -> None:
    photo, units = tiny_photos(1)[0], units_of(captioner)
    captioned = caption_photo(captioner, photo)
    change = Intervention(units, positions, value)  # type: ignore[arg-type]
    nothing, found = answer(captioner, captioned, [Intervention([]), change], ASKED)
    assert found.caption == Model(captioner).without(units, value, positions=positions).caption(  # type: ignore[arg-type]
        photo
    )
    assert list(found.probabilities) == pytest.approx(
        slowly(captioner, captioned, change), rel=1e-3
    )
    assert nothing.caption == captioned.caption
    assert nothing.probabilities == pytest.approx(
        captioned.answer(captioner.language_model, ASKED).probabilities, rel=1e-4
    )


def test_text_longer_than_the_patches_is_not_taken_for_them(captioner: Captioner) -> None:
    """An edit at the patches is told by a pass's length; text is read on token by token."""
    model = captioner.language_model
    captioned = caption_photo(captioner, tiny_photos(1)[0])
    text = model.encode(" dog water cat" * 8)
    assert len(text) > captioned.prompt.patches.stop + 1
    target = Target(text[-1], captioned.prompt.n_positions + len(text) - 2)
    word = Word("cat", "cat", target, "cat", 1, (0, 1))
    sentence = Sentence(text, "a cat", [word])
    longer = Captioned(
        captioned.prompt, sentence, captioned.probabilities, captioned.sinks, captioned.activation
    )
    change = Intervention(units_of(captioner), "patches", 2.0)
    found = answer(captioner, longer, [change], ASKED)[0]
    assert list(found.probabilities) == pytest.approx(slowly(captioner, longer, change), rel=1e-3)


def test_python_asks_in_one_call(captioner: Captioner) -> None:
    photo, model = tiny_photos(1)[0], Model(captioner)
    before, after = model.ask(photo, ASKED), model.without("L1.u7", 50.0).ask(photo, ASKED)
    captioned = caption_photo(captioner, photo)
    change = Intervention(["L1.u7"], "all", 50.0)
    assert list(after.probabilities) == pytest.approx(
        slowly(captioner, captioned, change), rel=1e-3
    )
    assert after.probabilities != pytest.approx(before.probabilities, rel=1e-3)
    with pytest.raises(MolyneuxError, match="needs a word"):
        model.ask(photo, ["  "])


def test_what_a_photo_puts_into_itself_changes_nothing(captioner: Captioner) -> None:
    photo = tiny_photos(1)[0]
    found = transplant(captioner, photo, photo, "all", ask=ASKED)
    assert found.caption == found.before
    assert found.edit_norm == pytest.approx(0, abs=1e-5)
    assert found.answer.probabilities == pytest.approx(found.as_it_is.probabilities, rel=1e-4)
    assert found.random is None
    assert found.third is None


def test_a_transplant_stands_beside_random_units_and_a_third_photo(
    with_table: Captioner, photos: list[Path]
) -> None:
    model = with_table.language_model
    source, into = (caption_photo(with_table, photo) for photo in photos[:2])
    units = [Unit(0, k) for k in range(20)] + [Unit(1, 3)]
    found = transplant(with_table, source, into, units, [1, 2], ask=ASKED, controls=True, seed=3)
    again = transplant(with_table, photos[0], photos[1], units, [1, 2], ask=ASKED, controls=True)
    assert found.answer == again.answer
    assert found.third == again.third
    assert found.random is not None
    assert found.third is not None
    places = tuple(into.prompt.patches.start + patch for patch in (1, 2))
    values = source.activations(model)
    assert list(found.answer.probabilities) == pytest.approx(
        slowly(with_table, into, Intervention(units, places, values)), rel=1e-3
    )
    # The third photo's values are those of its own patches, in the same units.
    table = with_table.reference
    assert table is not None
    third = next(one for one in table.partners if one.name == found.third.name)
    assert third.caption == found.third.shows
    nouns = {word.lemma for each in (source, into) for word in each.sentence.words}
    assert not any(third.shows(noun) for noun in nouns)
    other = patch_activations(model, third.instead_of(into.prompt))
    assert list(found.third.answer.probabilities) == pytest.approx(
        slowly(with_table, into, Intervention(units, places, other)), rel=1e-3
    )
    assert found.third.edit_norm != pytest.approx(found.edit_norm, rel=1e-3)
    assert found.random.answer.probabilities != found.answer.probabilities


def test_without_partners_there_is_no_third_photo(captioner: Captioner) -> None:
    first, second = tiny_photos(2)
    found = transplant(captioner, first, first, "all", controls=True)
    assert found.random is not None
    assert found.third is None
    with pytest.raises(MolyneuxError, match="reference table with activations"):
        transplant(captioner, second, second)


def test_a_words_rankings_are_those_of_an_explanation(
    with_table: Captioner, photos: list[Path]
) -> None:
    photo = photos[0]
    explained = explain_photo(with_table, photo, Settings(words=["water"], top=7, sight="none"))
    captioned, digest = caption_photo(with_table, photo), photo_sha256(photo)
    for word in explained.words:
        ranked = rank_word(with_table, captioned, word.word, digest)
        for ranking in LISTED:
            for view in ("patches", "last"):
                there = word.ranked(view=view, ranking=ranking)
                if ranked[view].has(ranking):
                    found = [str(unit) for unit in ranked[view].first(ranking, 7)]
                    assert found == [name.rstrip("-") for name in there.names]
                else:
                    assert not there.names
    quick = rank_word(with_table, captioned, "water", digest, contrast=False)
    assert not quick["patches"].has("contrast")
    assert quick["patches"].has("specific")
    assert len(quick["patches"].first("random", 9)) == 9
    assert UNIT_SETS["random"].drawn


def test_no_activations_are_kept_where_they_take_too_much(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tiny_photos(1)[0]
    kept = caption_photo(captioner, photo)
    monkeypatch.setattr("molyneux.models.captioned._ROOM", 10)
    light = caption_photo(captioner, photo)
    assert light.activation is None
    assert kept.activation is not None
    torch.testing.assert_close(light.activations(captioner.language_model), kept.activation)
