"""Sets chosen without a word, their controls, and what is written into them."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_captioner, tiny_language_model, tiny_photos

from molyneux import MolyneuxError
from molyneux.neurons.change import change_scores
from molyneux.neurons.rankings import row_norms
from molyneux.neurons.sight.edits import edit_norm, require_same_patches, scrambled, written
from molyneux.neurons.sight.measure import read_photo
from molyneux.neurons.sight.patch_sets import (
    PatchSet,
    all_units,
    change_set,
    layers_with_path,
    matched_set,
    random_set,
)
from molyneux.neurons.sight.reading import Asked, Text

LAYERS, PATCHES, UNITS = 4, 5, 40


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_z_is_the_distance_from_other_photos_in_deviations() -> None:
    # layers x patches x units; the third patch is a sink.
    activation = torch.tensor([[[1.0, 4.0, 9.0], [3.0, 0.0, 9.0], [99.0, 99.0, 99.0]]])
    mean, deviation = torch.tensor([[1.0, 4.0, 9.0]]), torch.tensor([[1.0, 0.0, 3.0]])
    sinks = torch.tensor([False, False, True])
    found = change_scores(activation, mean, deviation, sinks)  # means 2, 2, 9; d0 is 1
    assert found.tolist() == [[(2 - 1) / 2, (2 - 4) / 1, 0 / 4]]


def test_units_that_never_varied_in_a_layer_that_did_not_are_not_far() -> None:
    found = change_scores(torch.ones(1, 2, 3), torch.zeros(1, 3), torch.zeros(1, 3))
    assert found.tolist() == [[0, 0, 0]]


def test_all_patches_cannot_be_sinks() -> None:
    with pytest.raises(MolyneuxError, match="sinks"):
        change_scores(noise(1, 2, 3), noise(1, 3), noise(1, 3), torch.tensor([True, True]))


def test_the_set_is_a_share_of_the_units_farthest_either_way_without_the_last_layer() -> None:
    z = torch.tensor([[1.0, -5.0, 0.0, 2.0], [2.0, -2.0, 0.5, 4.0], [9.0, 9.0, 9.0, 9.0]])
    assert change_set(z, 2 / 8).mask.nonzero().tolist() == [[0, 1], [1, 3]]
    # 2, 2 and -2 tie: the lowest unit comes first.
    assert change_set(z, 3 / 8).mask.nonzero().tolist() == [[0, 1], [0, 3], [1, 3]]
    assert change_set(z, 4 / 8).mask.nonzero().tolist()[-2:] == [[1, 0], [1, 3]]
    of_layer = change_set(z, 1 / 4, [1])
    assert (of_layer.mask.nonzero().tolist(), of_layer.layers) == ([[1, 3]], (1,))


@pytest.mark.parametrize("layers", [[2], [0, 2], [], [-1], [7]])
def test_layers_without_a_path_are_refused(layers: list[int]) -> None:
    with pytest.raises(MolyneuxError):
        change_set(noise(3, 8), 0.5, layers)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_a_fraction_is_above_0_and_up_to_1(fraction: float) -> None:
    with pytest.raises(MolyneuxError):
        change_set(noise(3, 8), fraction)


def test_no_word_enters_the_set() -> None:
    captioner = tiny_captioner("llama")
    model, prompt = captioner.language_model, captioner.see(tiny_photos(1))
    texts = [Text((), (Asked(5, 0),)), Text((9, 11, 30), (Asked(40, 3), Asked(7, 1)))]
    mean, deviation = noise(model.n_layers, model.d_mlp), noise(model.n_layers, model.d_mlp).abs()
    masks = [
        change_set(
            change_scores(read_photo(model, prompt, text).activation, mean, deviation), 0.1
        ).mask
        for text in texts
    ]
    assert torch.equal(*masks)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.8])
def test_random_units_are_as_many_of_each_layer_and_others_while_there_are(fraction: float) -> None:
    chosen = change_set(noise(LAYERS, UNITS), fraction)
    drawn = [random_set(chosen, draw) for draw in range(3)]
    for one in drawn:
        assert torch.equal(one.mask.sum(dim=1), chosen.mask.sum(dim=1))
        shared, spare = (one.mask & chosen.mask).sum(dim=1), UNITS - chosen.mask.sum(dim=1)
        assert torch.equal(shared, (chosen.mask.sum(dim=1) - spare).clamp(min=0))
    if fraction < 0.5:
        assert not torch.equal(drawn[0].mask, drawn[1].mask)
    assert torch.equal(drawn[0].mask, random_set(chosen, 0).mask)
    if fraction < 0.5:
        assert not torch.equal(drawn[0].mask, random_set(chosen, 0, seed=1).mask)


def test_matched_units_are_the_nearest_in_strength_each_once() -> None:
    strength = torch.tensor([[1.0, 1.1, 5.0, 4.0, 1.2], [0.0, 0.0, 0.0, 0.0, 0.0]])
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[0, [0, 2]] = True
    chosen = PatchSet("change", 0.2, None, mask)
    assert matched_set(chosen, strength).mask.nonzero().tolist() == [[0, 1], [0, 3]]
    mask[0, 4] = True  # three of five: two are left
    assert matched_set(PatchSet("change", 0.3, None, mask), strength).n_units == 2


def test_all_units_are_those_with_a_path() -> None:
    assert all_units(3, 4).mask.sum(dim=1).tolist() == [4, 4, 0]
    assert all_units(3, 4, [1]).mask.sum(dim=1).tolist() == [0, 4, 0]
    assert layers_with_path(3) == (0, 1)


def test_a_scrambled_edit_has_the_same_changes_at_other_units_of_the_layer() -> None:
    there, values = noise(LAYERS, PATCHES, UNITS), noise(LAYERS, PATCHES, UNITS, seed=1)
    chosen = change_set(noise(LAYERS, UNITS, seed=2), 0.2)
    new = scrambled(chosen, there, values)
    outside = ~chosen.mask[:, None].expand_as(there)
    assert torch.equal(new[outside], there[outside])
    for layer in range(LAYERS):
        own = chosen.mask[layer]
        wanted, found = ((to[layer] - there[layer])[:, own].T.tolist() for to in (values, new))
        assert len(wanted) == int(own.sum())
        for column in found:
            assert any(column == pytest.approx(other, abs=1e-5) for other in wanted)
        torch.testing.assert_close(
            torch.tensor(sorted(map(sum, wanted))), torch.tensor(sorted(map(sum, found)))
        )
    assert not torch.allclose(new, torch.where(outside, there, values))
    # One value for all patches is what it is at each of them.
    torch.testing.assert_close(
        scrambled(chosen, there, values[:, 0]),
        scrambled(chosen, there, values[:, :1].expand_as(there)),
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_the_norm_of_an_edit_is_the_formulas(kind: str) -> None:
    model = tiny_language_model(kind)
    change = noise(model.n_layers, PATCHES, model.d_mlp)
    chosen = change_set(noise(model.n_layers, model.d_mlp, seed=1), 0.1)
    squares = 0.0
    for layer in range(model.n_layers):
        rows = model.output_rows(layer).double()
        scale = model.write_scale(layer)
        for patch in range(PATCHES):
            write = torch.zeros(model.d_stream, dtype=torch.float64)
            for unit in range(model.d_mlp):
                if chosen.mask[layer, unit]:
                    row = rows[unit] if scale is None else rows[unit] * scale.double()
                    write += float(change[layer, patch, unit]) * row
            squares += float(write @ write)
    assert edit_norm(model, chosen.mask, change) == pytest.approx(squares**0.5, rel=1e-5)
    one = torch.zeros_like(chosen.mask)
    one[1, 7] = True
    single = torch.zeros_like(change)
    single[1, 2, 7] = -3.0
    assert edit_norm(model, one, single) == pytest.approx(
        3 * float(row_norms(model)[1, 7]), rel=1e-5
    )


def test_an_edit_is_an_intervention_at_the_patches() -> None:
    chosen, values = change_set(noise(LAYERS, UNITS), 0.2), noise(LAYERS, PATCHES, UNITS)
    edit = written(chosen, values)
    assert (edit.positions, edit.units is chosen.mask, edit.value is values) == (
        "patches",
        True,
        True,
    )


def test_photos_of_different_patches_are_refused_by_name() -> None:
    require_same_patches(49, 49, "dog.jpg")
    with pytest.raises(MolyneuxError, match=r"49 patches and dog\.jpg has 64.*crop"):
        require_same_patches(49, 64, "dog.jpg")
