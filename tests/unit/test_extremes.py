"""Both ends of a row, and the nearest directions, against sorting and multiplying everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import D_MLP, N_LAYERS

from molyneux.errors import UsageError
from molyneux.neurons import neighbours
from molyneux.neurons.extremes import extremes
from molyneux.neurons.neighbours import nearest_units
from molyneux.neurons.rankings import row_norms


def sorted_whole(row: np.ndarray, n: int) -> tuple[list[int], list[int]]:
    """Return both ends of a row by sorting it, equal ones by place."""
    places = range(len(row))
    return (
        sorted(places, key=lambda i: (-row[i], i))[:n],
        sorted(places, key=lambda i: (row[i], i))[:n],
    )


@pytest.mark.parametrize("width", [5, 40, 640, 1280, 1283, 2000])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_both_ends_are_those_of_a_sorted_row(width: int, n: int) -> None:
    if n > width:
        n = width
    logits = torch.randn(7, width, generator=torch.Generator().manual_seed(width))
    raised, lowered = extremes(logits, n)
    for row, high, low in zip(logits.numpy(), raised.tolist(), lowered.tolist(), strict=True):
        assert (high, low) == sorted_whole(row, n)


def test_what_lies_at_the_edges_of_blocks_and_in_one_block_is_found() -> None:
    logits = torch.zeros(3, 2 * 640 + 3)
    logits[0, :10] = torch.arange(10, 20).float()  # all ten in the first block
    logits[1, -2:] = torch.tensor([5.0, -5.0])  # in what is left over at the end
    logits[2, [63, 64, 639, 640]] = torch.tensor([4.0, 3.0, -3.0, -4.0])
    raised, lowered = extremes(logits, 10)
    assert raised[0].tolist() == list(range(9, -1, -1))
    assert (raised[1, 0], lowered[1, 0]) == (2 * 640 + 1, 2 * 640 + 2)
    assert raised[2, :2].tolist() == [63, 64]
    assert lowered[2, :2].tolist() == [640, 639]


def test_equal_ones_are_in_the_order_of_their_tokens() -> None:
    logits = torch.zeros(1, 6400)
    logits[0, [300, 5000, 40]] = 2.0
    assert extremes(logits, 3)[0].tolist() == [[40, 300, 5000]]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt2"])
def test_the_nearest_are_those_of_all_cosines(
    kind: str, make_captioner: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_captioner(kind).language_model
    rows = []
    for layer in range(N_LAYERS):
        own = model.output_rows(layer).detach().double().numpy()
        scale = model.write_scale(layer)
        rows.append(own if scale is None else own * scale.double().numpy())
    every = np.concatenate(rows)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    cosine = every @ every.T
    np.fill_diagonal(cosine, -np.inf)
    monkeypatch.setattr(neighbours, "_CHUNK", 20)
    for layer in range(N_LAYERS):
        layers, units, found = nearest_units(model, layer, 4)
        for unit in range(D_MLP):
            row = cosine[layer * D_MLP + unit]
            expected = np.argsort(-row)[:4]
            places = layers[unit] * D_MLP + units[unit]
            assert places.tolist() == expected.tolist()
            np.testing.assert_allclose(found[unit], row[expected], atol=1e-5)


def test_no_neighbours_are_none_and_too_many_are_refused(captioner: Any) -> None:
    model = captioner.language_model
    assert [tuple(each.shape) for each in nearest_units(model, 0, 0)] == [(D_MLP, 0)] * 3
    every = nearest_units(model, 1, model.n_units - 1)[0]
    assert every.shape == (D_MLP, model.n_units - 1)
    for wrong in ({"n": model.n_units}, {"layer": N_LAYERS}):
        with pytest.raises(UsageError):
            nearest_units(model, **{"layer": 0, "n": 2, **wrong})
    assert row_norms(model).shape == (N_LAYERS, D_MLP)
