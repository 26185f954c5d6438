"""What units write: ranks, directions, and the search for a word's writers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import D_MLP, KINDS, N_LAYERS

from molyneux.adapters import LanguageModel
from molyneux.neurons import decoding
from molyneux.neurons.decoding import decode_units, directions, find_writers, token_ranks
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.unit import Unit

ALL = [Unit(layer, unit) for layer in range(N_LAYERS) for unit in range(D_MLP)]


@pytest.fixture(params=["llama", "gpt2", "gptj"])
def model(request: pytest.FixtureRequest, make_captioner: Callable[..., Any]) -> LanguageModel:
    assert request.param in KINDS
    language_model: LanguageModel = make_captioner(request.param).language_model
    return language_model


def test_the_negative_direction_swaps_raised_and_suppressed(model: LanguageModel) -> None:
    up = decode_units(model, ALL[:40], [1] * 40, top=8)
    down = decode_units(model, ALL[:40], [-1] * 40, top=8)
    for one, other in zip(up, down, strict=True):
        assert (one.tokens, one.suppressed) == (other.suppressed, other.tokens)
        assert (one.unit, one.sign, other.sign) == (other.unit, 1, -1)
        assert len(set(one.tokens) | set(one.suppressed)) == 16


def test_no_sign_is_positive(model: LanguageModel) -> None:
    plain = decode_units(model, ALL[:3])
    assert plain == decode_units(model, ALL[:3], [0, 0, 0]) == decode_units(model, ALL[:3], [1] * 3)
    assert decode_units(model, []) == []


def test_many_units_are_decoded_in_chunks_in_their_order(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = ALL[::-7]
    signs = [1 if i % 3 else -1 for i in range(len(units))]
    decoded, ranks = decode_units(model, units, signs), token_ranks(model, units, signs, 20)
    monkeypatch.setattr(decoding, "CHUNK", 4)
    assert decode_units(model, units, signs) == decoded
    assert [one.unit for one in decoded] == units
    assert token_ranks(model, units, signs, 20).tolist() == ranks.tolist()


def test_padding_rows_are_never_decoded(model: LanguageModel) -> None:
    """Their embeddings are thrice as large: they would be in nearly every list."""
    assert len(model.unembedding()) == model.d_vocab < len(model.model.lm_head.weight)
    every = decode_units(model, ALL, top=model.d_vocab)
    known = {model.token_text(token) for token in range(model.d_vocab)}
    assert {token for one in every for token in one.tokens} == known


def test_a_rank_is_the_place_in_the_list(model: LanguageModel) -> None:
    units = [Unit(0, 3), Unit(1, 40), Unit(2, 11)]
    signs = [1, -1, 1]
    lists = decode_units(model, units, signs, top=model.d_vocab)
    text = model.token_text(20)
    expected = [one.tokens.index(text) for one in lists]
    assert token_ranks(model, units, signs, 20).tolist() == expected
    assert token_ranks(model, [], [], 20).tolist() == []
    flipped = token_ranks(model, units, [-s for s in signs], 20).tolist()
    assert flipped == [model.d_vocab - 1 - rank for rank in expected]


@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize("token", [20, 33])
def test_writers_are_those_of_a_search_through_all(
    model: LanguageModel, token: int, final_norm: bool
) -> None:
    every = {
        (unit, sign): int(rank)
        for sign in (1, -1)
        for unit, rank in zip(
            ALL,
            token_ranks(model, ALL, [sign] * len(ALL), token, final_norm=final_norm),
            strict=True,
        )
    }
    found = find_writers(model, token, top=15, final_norm=final_norm)
    assert [rank for *_, rank in found] == sorted(every.values())[:15]
    assert all(every[unit, sign] == rank for unit, sign, rank in found)
    assert len({(unit, sign) for unit, sign, _ in found}) == 15
    assert {sign for _, sign, _ in found} == {1, -1}


def test_the_final_norms_scale_is_used_unless_refused(model: LanguageModel) -> None:
    units, signs = [Unit(1, 5), Unit(0, 9)], [1, -1]
    plain = directions(model, units, signs, HeadLens(model, final_norm=False))
    rows = torch.stack([model.output_rows(1)[5], -model.output_rows(0)[9]])
    assert torch.equal(plain, rows)
    assert torch.equal(directions(model, units, signs), rows * model.final_norm_scale())
    assert (model.final_norm_scale() - 1).abs().max() > 0.1


def test_the_heads_bias_takes_no_part(make_captioner: Callable[..., Any]) -> None:
    model = make_captioner("gptj").language_model
    bias = model.model.lm_head.bias
    assert bias.abs().max() > 0.1
    before = decode_units(model, ALL[:20])
    kept = bias.clone()
    try:
        bias.copy_(100 * torch.arange(len(bias)))
        assert decode_units(model, ALL[:20]) == before
    finally:
        bias.copy_(kept)


def test_among_many_units_the_quick_search_misses_no_writer(
    make_captioner: Callable[..., Any],
) -> None:
    """Beyond 2,000 candidates only those with the highest standardised logit are ranked."""
    model = copy.deepcopy(make_captioner("gpt2").language_model)
    generator = torch.Generator().manual_seed(0)
    for layer in range(N_LAYERS):
        rows = torch.randn(700, 32, generator=generator)
        # Loud units that write much, but another thing: size must not decide.
        rows[:100] *= 50
        model.down_projection(layer).weight = torch.nn.Parameter(rows, requires_grad=False)
    units = [Unit(layer, unit) for layer in range(N_LAYERS) for unit in range(700)]
    ranks = torch.cat([token_ranks(model, units, [sign] * len(units), 20) for sign in (1, -1)])
    assert len(ranks) > 2 * 2000
    found = find_writers(model, 20, top=40)
    assert [rank for *_, rank in found] == sorted(ranks.tolist())[:40]
    assert {sign for _, sign, _ in found} == {1, -1}


@pytest.fixture
def jacobian(model: LanguageModel) -> JacobianLens:
    """A lens of random numbers: that it is gone through shows, whatever it was measured on."""
    generator = torch.Generator().manual_seed(0)
    shape = (N_LAYERS - 1, model.d_model, model.d_stream)
    return JacobianLens({}, torch.randn(shape, generator=generator))


def test_a_lens_takes_the_place_of_the_heads_norm(
    model: LanguageModel, jacobian: JacobianLens
) -> None:
    units, signs = [Unit(1, 5), Unit(0, 7), Unit(2, 3)], [1, -1, 1]
    read = decode_units(model, units, signs, lens=jacobian, top=5)
    for one, sign in zip(read[:2], signs, strict=False):
        row = sign * model.output_rows(one.unit.layer)[one.unit.unit].float()
        logits = model.unembedding().float() @ (jacobian.jacobians[one.unit.layer] @ row)
        best = [model.token_text(token) for token in logits.topk(5).indices.tolist()]
        assert one.tokens == best
        rank = token_ranks(model, [one.unit], [sign], 20, lens=jacobian)
        assert rank.tolist() == [int((logits > logits[20]).sum())]
    assert (read[2].tokens, read[2].suppressed) == ([], [])  # of the last layer
    assert decode_units(model, units, signs, lens=HeadLens(model, False)) == decode_units(
        model, units, signs, final_norm=False
    )


def test_writers_through_a_lens_are_those_of_a_search_through_all_it_reads(
    model: LanguageModel, jacobian: JacobianLens
) -> None:
    units = [unit for unit in ALL if jacobian.reads(unit.layer)]
    every = {
        (unit, sign): int(rank)
        for sign in (1, -1)
        for unit, rank in zip(
            units,
            token_ranks(model, units, [sign] * len(units), 20, lens=jacobian),
            strict=True,
        )
    }
    best = sorted(every.items(), key=lambda item: item[1])
    found = find_writers(model, 20, top=12, lens=jacobian)
    assert [rank for _, _, rank in found] == [rank for _, rank in best[:12]]
    assert all(every[unit, sign] == rank for unit, sign, rank in found)
