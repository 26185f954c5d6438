"""What a photo's document says its patches say."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import N_LAYERS
from tiny_partners import square_photos, with_partners

from molyneux.errors import UsageError, WeightsError
from molyneux.explain.photo import explain_photo
from molyneux.explain.read_sets import FRACTION, photo_reading, read_change
from molyneux.explain.settings import Settings
from molyneux.hooks import capture
from molyneux.models.presets import find_preset
from molyneux.models.scoring import jacobian_of
from molyneux.models.seeing_model import describe_model
from molyneux.neurons.ablation import Intervention, intervened_logits
from molyneux.neurons.change import change_scores
from molyneux.neurons.jacobian import patch_jacobians
from molyneux.neurons.lens import HeadLens, JacobianLens, save_lens
from molyneux.neurons.set_reading import percentiles, read_writes, set_writes, word_list
from molyneux.neurons.sight.patch_sets import change_set
from molyneux.neurons.sight.reading import patch_activations
from molyneux.neurons.targets import read_sentence
from molyneux.words.everyday import EVERYDAY_NOUNS

SETTINGS = Settings(ablate="none", top=3, words=["dog"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return square_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def seeing(make_captioner: Any, files: list[Path]) -> Any:
    captioner = with_partners(make_captioner("llama"), files, lambda _: "volcano")
    lens = patch_jacobians(captioner.language_model, captioner.see(files[:1]))
    measured_on = {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
    }
    return captioner.with_lens(JacobianLens(measured_on, lens))


def test_the_document_holds_the_reading_of_the_set_that_changes_most(
    seeing: Any, files: list[Path]
) -> None:
    image = explain_photo(seeing, files[0], SETTINGS).image
    assert image.reading is not None
    assert [(one.lens, one.set, one.layers) for one in image.reading] == [
        ("norm", "change", "all"),
        ("jacobian", "change", "all"),
        ("norm", "change", (0,)),
        ("jacobian", "change", (0,)),
        ("norm", "change", (1,)),
        ("jacobian", "change", (1,)),
    ]
    model, table = seeing.language_model, seeing.reference
    prompt = seeing.see(files[:1])
    down = {layer: model.down_projection(layer) for layer in range(N_LAYERS)}
    with torch.no_grad(), capture(down) as seen:
        model.read(prompt)
    activation = torch.stack([seen[layer][0, prompt.patches] for layer in range(N_LAYERS)])
    z = change_scores(activation, table.activation.mean, table.activation.deviation)
    mask = change_set(z, FRACTION).mask
    writes = set_writes(model, activation, table.activation.mean, mask)
    said = read_sentence(model, prompt, seeing.write(prompt)[0]).words
    words = word_list(model, [*EVERYDAY_NOUNS, "dog", *sorted(word.lemma for word in said)])
    for lens, one in zip((HeadLens(model), seeing.lens), image.reading, strict=False):
        expected = read_writes(model, lens, writes, words).whole()
        found = {each.word: each for each in one.words}
        assert set(found) <= set(words.words)
        assert "dog" in found
        for word, score in zip(words.words, expected.tolist(), strict=True):
            if word in found:
                assert found[word].score == pytest.approx(score, rel=1e-4, abs=1e-5)
        best = [words.words[i] for i in expected.argsort(descending=True)[:3].tolist()]
        assert [each.word for each in one.words][:3] == best
        assert one.words[0].percentile == 1


def test_what_a_set_gives_a_word_is_what_it_loses_at_the_partners_mean(
    seeing: Any, files: list[Path]
) -> None:
    explained = explain_photo(seeing, files[0], Settings(ablate="none", top=3, sight="none")).image
    assert explained.reading is not None
    model, table, first = seeing.language_model, seeing.reference, explained.words[0]
    assert explained.sha256 is not None
    prompt = seeing.see(files[:1])
    sentence = read_sentence(model, prompt, seeing.write(prompt)[0])
    until = sentence.up_to(model, prompt, first.position)

    def key(partner: Any) -> bytes:
        return hashlib.sha256(f"{explained.sha256} {partner.name}".encode()).digest()

    partners = sorted(table.partners_without([first.word]), key=key)[:8]
    own = patch_activations(model, prompt)
    instead = torch.stack(
        [patch_activations(model, partner.instead_of(prompt)) for partner in partners]
    ).mean(dim=0)
    z = change_scores(own, table.activation.mean, table.activation.deviation)
    words = word_list(model, [*EVERYDAY_NOUNS, *sorted({word.word for word in explained.words})])
    for one in explained.reading:
        mask = change_set(z, FRACTION, None if one.layers == "all" else one.layers).mask
        put = Intervention(mask, "patches", instead)
        clean, without = intervened_logits(model, until, [Intervention([]), put]).log_softmax(-1)
        given = (clean - without)[list(words.tokens)].tolist()
        nats = dict(zip(words.words, given, strict=True))
        told = [*one.effects_up, *one.effects_down]
        assert told
        assert all(nats[each.word] == pytest.approx(each.nats, abs=1e-5) for each in told)
        assert [each.nats for each in one.effects_up] == pytest.approx(
            sorted((value for value in given if value > 0), reverse=True)[:10], abs=1e-5
        )
        assert [each.nats for each in one.effects_down] == pytest.approx(
            sorted(value for value in given if value < 0)[:10], abs=1e-5
        )


def test_what_a_set_gives_the_captions_word_is_what_sight_calls_mediated(
    seeing: Any, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molyneux.explain.read_sets.EFFECTS", 10_000)  # all of them are told
    image = explain_photo(seeing, files[1], Settings(ablate="none", top=3, sight="short")).image
    assert image.reading is not None
    sight = image.words[0].sight
    assert sight is not None
    change = sight.of("change")
    assert change is not None
    nats = {each.word: each.nats for each in (*image.reading[0].effects_up,)}
    nats |= {each.word: each.nats for each in image.reading[0].effects_down}
    assert nats[image.words[0].word] == pytest.approx(change.mediated, abs=1e-4)


def test_a_word_has_its_place_in_other_photos_readings_too(seeing: Any, files: list[Path]) -> None:
    explained = explain_photo(seeing, files[0], Settings(ablate="none", top=3, sight="none")).image
    assert explained.reading is not None
    model, table, first = seeing.language_model, seeing.reference, explained.words[0]
    prompt, usual = seeing.see(files[:1]), table.activation

    def key(partner: Any) -> bytes:
        return hashlib.sha256(f"{explained.sha256} {partner.name}".encode()).digest()

    partners = sorted(table.partners_without([first.word]), key=key)[:8]
    words = word_list(model, [*EVERYDAY_NOUNS, *sorted({word.word for word in explained.words})])
    lenses = {"norm": HeadLens(model), "jacobian": seeing.lens}
    for one in explained.reading:
        layers = None if one.layers == "all" else one.layers
        places = []
        for partner in partners:
            there = patch_activations(model, partner.instead_of(prompt))
            mask = change_set(
                change_scores(there, usual.mean, usual.deviation), FRACTION, layers
            ).mask
            writes = set_writes(model, there, usual.mean, mask)
            places.append(percentiles(read_writes(model, lenses[one.lens], writes, words).whole()))
        mean = dict(zip(words.words, torch.stack(places).mean(dim=0).tolist(), strict=True))
        for each in one.words:
            assert each.in_other_photos == pytest.approx(mean[each.word], abs=5e-3)


def test_every_patch_has_a_reading_of_its_own_of_all_layers_and_of_each_part(
    seeing: Any, files: list[Path]
) -> None:
    image = explain_photo(seeing, files[0], SETTINGS).image
    assert image.reading is not None
    assert [one.at_patches is not None for one in image.reading] == [False, True] * 3
    also = {word.word for word in image.words}
    told = [(one.layers, one.at_patches) for one in image.reading if one.at_patches is not None]
    assert len({patches for _, patches in told}) == len(told)
    for layers, patches in told:
        expected = photo_reading(seeing, files[0], layers=None if layers == "all" else layers)
        by_patch = expected.by_patch()
        assert len(patches) == len(by_patch) == 16
        for patch, scores in zip(patches, by_patch, strict=True):
            found = dict(zip(expected.words, scores.tolist(), strict=True))
            listed = [word for word in patch.words if word in found]
            assert set(patch.words) - set(listed) <= also
            assert list(patch.scores) == sorted(patch.scores, reverse=True)
            best = sorted(found, key=found.__getitem__, reverse=True)[: len(listed)]
            assert listed == best
            for word, score in zip(patch.words, patch.scores, strict=True):
                assert found.get(word, score) == pytest.approx(score, abs=1e-4)


def test_without_partners_no_effects_are_told(seeing: Any, files: list[Path]) -> None:
    few = seeing.with_reference(
        dataclasses.replace(seeing.reference, partners=seeing.reference.partners[:5])
    )
    image = explain_photo(few, files[0], SETTINGS).image
    assert image.reading is not None
    assert not any(one.effects_up or one.effects_down for one in image.reading)
    assert all(word.in_other_photos is None for one in image.reading for word in one.words)


def test_without_a_lens_or_a_table_nothing_is_said(seeing: Any, files: list[Path]) -> None:
    for lacking in ({"lens": None}, {"reference": None}, {"lens": HeadLens(seeing.language_model)}):
        model = dataclasses.replace(seeing, **lacking)
        assert explain_photo(model, files[0], SETTINGS).image.reading is None
    assert describe_model(seeing)["lens"]["name"] == "jacobian"
    activation = torch.zeros(N_LAYERS, 16, seeing.language_model.d_mlp)
    sinks = torch.ones(16, dtype=torch.bool)
    assert read_change(seeing, seeing.see(files[:1]), activation, sinks) is None


def test_a_presets_own_lens_reads_unasked_where_it_fits(
    seeing: Any, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lens.safetensors"
    preset = dataclasses.replace(find_preset("smollm2-effnet"), lens=path)
    monkeypatch.setattr("molyneux.models.scoring.find_preset", lambda name: preset)
    model = dataclasses.replace(seeing, lens=None, preset="smollm2-effnet")
    save_lens(path, seeing.lens)
    found = jacobian_of(model)
    assert found is not None
    assert found.provenance == seeing.lens.provenance
    other = {**seeing.lens.provenance, "projection": "1" * 64}
    save_lens(path, JacobianLens(other, seeing.lens.jacobians))
    assert jacobian_of(model) is None


def test_a_reading_from_python_is_by_layer_and_by_patch(seeing: Any, files: list[Path]) -> None:
    image = explain_photo(seeing, files[0], SETTINGS).image
    found = photo_reading(seeing, files[0])
    assert image.reading is not None
    told = {each.word: each.score for each in image.reading[1].words}
    whole = dict(zip(found.words, found.whole().tolist(), strict=True))
    for word, score in told.items():
        if word in whole:  # the document's list has the caption's nouns too
            assert whole[word] == pytest.approx(score, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(found.by_layer().sum(dim=0), found.whole())
    torch.testing.assert_close(found.by_patch().sum(dim=0), found.whole())
    assert found.by_patch().shape == (16, len(found.words))
    early = photo_reading(seeing, files[0], layers=[0], lens=HeadLens(seeing.language_model))
    assert not early.by_layer()[1:].any()
    assert early.by_layer()[0].any()


def test_a_reading_needs_a_lens_and_a_table(seeing: Any, files: list[Path]) -> None:
    with pytest.raises(UsageError, match="has no Jacobian lens"):
        photo_reading(dataclasses.replace(seeing, lens=None), files[0])
    with pytest.raises(WeightsError, match="needs a reference table"):
        photo_reading(dataclasses.replace(seeing, reference=None), files[0])
