"""The package against a second, slow implementation written from the paper by another route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slow
import torch
from tiny_models import (
    D_MLP,
    GATED,
    KINDS,
    N_LAYERS,
    RELU,
    tiny_language_model,
    tiny_projection,
)

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.ablation import ablate_units
from molyneux.neurons.attribution import Objective, Target, attribute_units
from molyneux.neurons.decoding import decode_units, token_ranks
from molyneux.neurons.moments import Moments
from molyneux.neurons.reference import specific_scores
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt, Layout, lay_out

SAMPLE = [(0, 0), (0, 17), (0, 33), (1, 5), (1, 47), (2, 8)]
DOG = 20


def small_prompt(model: LanguageModel, layout: Layout, n_patches: int) -> ImagePrompt:
    """Return the prompt of a made-up photo with few patches, so that loops over them end."""
    features = torch.randn(1, n_patches, 24, generator=torch.Generator().manual_seed(5))
    projection = tiny_projection(d_model=model.d_model)
    return lay_out(model, layout, projection.project(features))


def float64(kind: str) -> tuple[LanguageModel, ImagePrompt]:
    model = tiny_language_model(kind, dtype=torch.float64)
    return model, small_prompt(model, Layout("<|begin|>"), 4)


@pytest.mark.parametrize("of", ["logit", "logprob"])
def test_scores_of_single_units(kind: str, of: Objective) -> None:
    """Score, total, sign, peak and last view, one leaf variable at a time."""
    model, prompt = float64(kind)
    at = prompt.n_positions - 1
    fast = attribute_units(model, prompt, [Target(DOG, at)], of=of)
    for layer, unit in SAMPLE if kind in ("llama", "gpt2") else SAMPLE[1::2]:
        products = [
            slow.gradient_times_activation(
                kind, model.model, prompt.embeddings, layer, unit, position, DOG, at, of=of
            )
            for position in range(1, 5)
        ]
        score, total, sign, peak = slow.scores_of_unit(products)
        place = (0, layer, unit)
        # Both differentiate the same float64 graph; the package keeps the result in float32.
        assert float(fast.patches.score[place]) == pytest.approx(score, rel=1e-5, abs=1e-7)
        assert float(fast.patches.total[place]) == pytest.approx(total, rel=1e-5, abs=1e-6)
        if layer < N_LAYERS - 1:
            assert int(fast.patches.peak_patch[place]) == peak
            assert int(fast.patches.sign[place]) == sign
        else:  # patches of the last layer cannot reach the prediction
            assert score == total == 0
        last, activation = slow.gradient_times_activation(
            kind, model.model, prompt.embeddings, layer, unit, at, DOG, at, of=of
        )
        assert float(fast.last.score[place]) == pytest.approx(last, rel=1e-5, abs=1e-7)
        assert int(fast.last.sign[place]) == np.sign(activation)


def test_shares_need_every_unit() -> None:
    model = tiny_language_model("llama", dtype=torch.float64)
    prompt = small_prompt(model, Layout(None), 2)
    at = prompt.n_positions - 1
    fast = attribute_units(model, prompt, [Target(DOG, at)])
    totals = {}
    for layer in range(N_LAYERS - 1):  # the last layer's totals at patches are zero
        for unit in range(D_MLP):
            totals[layer, unit] = sum(
                slow.gradient_times_activation(
                    "llama", model.model, prompt.embeddings, layer, unit, patch, DOG, at
                )[0]
                for patch in range(2)
            )
    expected = slow.shares(totals)
    for (layer, unit), share in expected.items():
        found = float(fast.patches.share[0, layer, unit])
        assert found == pytest.approx(share, rel=1e-4, abs=1e-7)
    assert float(fast.patches.share.abs().sum()) == pytest.approx(1, abs=1e-5)
    assert not fast.patches.share[0, N_LAYERS - 1].any()


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in GATED])
def test_the_papers_site(kind: str) -> None:
    """Z dy/dZ, with Z the pre-activation."""
    model, prompt = float64(kind)
    at = prompt.n_positions - 1
    fast = attribute_units(model, prompt, [Target(DOG, at)], site="preactivation")
    default = attribute_units(model, prompt, [Target(DOG, at)])
    for layer, unit in SAMPLE:
        products = [
            slow.gradient_times_activation(
                kind,
                model.model,
                prompt.embeddings,
                layer,
                unit,
                position,
                DOG,
                at,
                site="preactivation",
            )
            for position in range(1, 5)
        ]
        score, total, _, _ = slow.scores_of_unit(products)
        place = (0, layer, unit)
        assert float(fast.patches.score[place]) == pytest.approx(score, rel=1e-5, abs=1e-7)
        assert float(fast.patches.total[place]) == pytest.approx(total, rel=1e-5, abs=1e-6)
    # Z dy/dZ and a dy/da are one number where a is 0 or Z itself.
    same = torch.allclose(fast.patches.score, default.patches.score, rtol=0.05)
    assert same == (kind in RELU)


@pytest.mark.parametrize("final_norm", [True, False])
def test_decoding(kind: str, make_captioner: Callable[..., Any], final_norm: bool) -> None:
    model = make_captioner(kind).language_model
    head = model.model.get_output_embeddings().weight[: len(model.tokenizer)].double().numpy()
    for layer, unit in SAMPLE:
        row = slow.read_row(kind, model.model, layer, unit, final_norm)
        for sign in (1, -1):
            ordered = [token for _, token in slow.decode(row, head, sign)]
            fast = decode_units(model, [Unit(layer, unit)], [sign], final_norm=final_norm)[0]
            text = [model.tokenizer.decode([token]) for token in ordered]
            assert fast.tokens == text[:10]
            assert fast.suppressed == text[::-1][:10]
            for place in (0, 3, len(ordered) - 1):
                rank = token_ranks(
                    model, [Unit(layer, unit)], [sign], ordered[place], final_norm=final_norm
                )
                assert rank.tolist() == [place]


@pytest.mark.parametrize("kind", ["llama", "opt"])
def test_ablation_at_patches_that_come_first(kind: str) -> None:
    """No token ahead of them; `claims.ablation` measures every family behind its begin token.

    OPT's units come as one row for each position of all sequences.
    """
    model = tiny_language_model(kind)
    prompt = small_prompt(model, Layout(None), 6)
    sets = [SAMPLE[1:3], SAMPLE]
    fast = ablate_units(
        model, prompt, [[Unit(*pair) for pair in units] for units in sets], positions="patches"
    )
    for row, units in zip(fast, sets, strict=True):
        silent = slow.without_units_at(kind, model.model, units, list(range(6)))
        with torch.no_grad():
            logits: Any = silent(inputs_embeds=prompt.embeddings).logits[0, -1].double()
        expected = logits.log_softmax(dim=-1)[: model.d_vocab]
        # Float32 logits of up to 25: their last digits depend on the order of a product's sums.
        np.testing.assert_allclose(row.numpy(), expected.numpy(), rtol=1e-5, atol=5e-5)
    intact = ablate_units(model, prompt, [[]])[0]
    assert all((row - intact).abs().max() > 1e-4 for row in fast)


def test_specific_scores() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(0.1, 1, size=(40, 4, 9))
    reference *= rng.uniform(0.1, 3, size=(4, 9))
    reference[:, 3] = 0
    photo = rng.normal(0.3, 1, size=(4, 9))
    moments = Moments()
    for one in reference:
        moments.add(torch.tensor(one))
    assert moments.mean is not None
    fast = specific_scores(torch.tensor(photo), moments.mean, moments.deviation())
    expected = slow.specific(photo, reference)
    np.testing.assert_allclose(fast.numpy(), expected, rtol=1e-9)
    assert np.isinf(expected[3]).all()
    assert np.isfinite(expected[:3]).any()
