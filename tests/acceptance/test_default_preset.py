"""The default preset on real photos: it sees, its scores are right, its units cause the word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from tiny_models import count_hooks, weights_hash

from molyneux import Settings, explain_photos
from molyneux.adapters.proof.prove import prove
from molyneux.data.samples import sample_items, sample_photos
from molyneux.errors import WeightsError
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import Attribution, attribute_units
from molyneux.neurons.effects import unit_effects
from molyneux.neurons.targets import Sentence, read_sentence
from molyneux.neurons.unit import top_units

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def seeing(fetching: FileLock) -> Captioner:
    try:
        with fetching:
            return Captioner.load()
    except WeightsError as error:
        pytest.skip(f"NOT TESTED: the default preset's weights cannot be had: {error}")


@pytest.fixture(scope="module")
def cat(seeing: Captioner) -> tuple[Any, Sentence, Attribution]:
    """The prompt that ends where the cat's noun is predicted, its caption, its attribution."""
    prompt = seeing.see([sample_photos()["chelsea"]])
    sentence = read_sentence(seeing.language_model, prompt, seeing.write(prompt)[0])
    target = sentence.words[0].target
    until = sentence.up_to(seeing.language_model, prompt, target.position)
    return until, sentence, attribute_units(seeing.language_model, until, [target])


def test_it_sees_a_cat(cat: Any) -> None:
    assert cat[1].words[0].lemma == "cat"


def test_the_adapter_is_proved_on_the_real_weights(seeing: Captioner) -> None:
    before = weights_hash(seeing.language_model.model)
    checks = prove(seeing.language_model)
    assert all(check.holds for check in checks), checks
    assert weights_hash(seeing.language_model.model) == before
    assert count_hooks(seeing.language_model.model) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scores_equal_captums(seeing: Captioner, cat: Any) -> None:
    captum = pytest.importorskip("captum.attr")
    model, (until, sentence, found) = seeing.language_model, cat
    target = sentence.words[0].target

    def logit(embeddings: torch.Tensor) -> torch.Tensor:
        output = model.model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=1)
        return output.logits[:, -1, target.token_id]

    for layer in (0, 14, 28):
        peer = captum.LayerGradientXActivation(logit, model.down_projection(layer)).attribute(
            until.embeddings.clone().requires_grad_(), attribute_to_layer_input=True
        )
        peer = peer[0] if isinstance(peer, tuple) else peer
        expected = peer[0, until.patches].detach()
        assert torch.allclose(found.patches.total[0, layer], expected.sum(0), atol=1e-5, rtol=1e-3)
        assert torch.allclose(found.patches.score[0, layer], expected.amax(0), atol=1e-5, rtol=1e-3)


def test_total_predicts_the_exact_effect(seeing: Captioner, cat: Any) -> None:
    """To first order: the signs of the ten largest effects agree."""
    model, (until, sentence, found) = seeing.language_model, cat
    total = found.patches.total[0]
    units = top_units(total, 10)
    token = sentence.words[0].target.token_id
    effects = unit_effects(model, until, [token], units).logit
    assert (effects > 0).float().mean() >= 0.8


@pytest.mark.slow
def test_what_is_claimed_of_photos_holds_of_the_five_of_the_demo(
    seeing: Captioner, tmp_path: Path
) -> None:
    """In the mean: of one photo it need not. Units found without a word bring what it adds."""
    asked = Settings(grid=(0, 100))
    run = explain_photos(seeing, sample_items()[:5], asked, tmp_path / "run")
    words = [image.words[0] for image in run.document().images]
    for view in range(2):
        curves = [word.curves[view] for word in words]
        own = [curve.specific[1] for curve in curves]
        others = [curve.other_specific[1] for curve in curves]
        assert np.mean(own) < np.mean(others) - 0.1
        assert all(len(curve.own_minus_others.others) == 8 for curve in curves)
    sights = [word.sight for word in words]
    change = [sight.of("change").transplant for sight in sights]
    random = [sight.of("random").transplant for sight in sights]
    absent = [np.mean([word.sets[0].transplant for word in sight.absent]) for sight in sights]
    assert np.mean(change) > np.mean(random) + 1
    assert np.mean(change) > np.mean(absent) + 0.5


def test_the_first_projection_still_loads_and_sees(seeing: Captioner) -> None:
    first = Captioner.load("smollm2-effnet@1")
    assert first.preset == "smollm2-effnet@1"
    assert first.reference is not None
    assert first.reference.provenance["projection"] == first.projection.hash()
    assert first.projection.hash() != seeing.projection.hash()
    assert first.caption(sample_photos()["chelsea"]).startswith("a cat")


def test_every_shipped_part_names_what_it_was_made_for(seeing: Captioner) -> None:
    record = seeing.projection.provenance
    assert record["kind"] == "trained"
    assert record["layout"] == {"begin": "<|im_start|>", "text": "A picture of"}
    assert seeing.reference is not None
    assert seeing.reference.n_photos >= 200
    assert len(seeing.reference.others) >= 20
    assert seeing.reference.provenance["projection"] == seeing.projection.hash()
