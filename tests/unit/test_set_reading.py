"""What sets of units say together, and that fakes say it as often as chance has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_attribution import TOY, ToyNetwork
from tiny_models import D_MLP, N_LAYERS, tiny_photos, tiny_tokenizer
from torch import Tensor

from molyneux.adapters import LanguageModel, adapt
from molyneux.errors import UsageError
from molyneux.hooks import capture, edit
from molyneux.neurons.fakes import (
    PassRate,
    random_directions,
    random_directions_pass,
    swapped_rows_pass,
)
from molyneux.neurons.jacobian import patch_jacobians
from molyneux.neurons.lens import HeadLens, JacobianLens
from molyneux.neurons.rankings import row_norms
from molyneux.neurons.set_reading import (
    WordList,
    own_minus_others,
    percentiles,
    read_writes,
    set_writes,
    word_list,
)
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

ACTIVATION = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[2.0, 1.0], [3.0, 3.0]]])
MEAN = torch.tensor([[1.0, 4.0], [1.0, 1.0]])
ALL = torch.ones(2, 2, dtype=torch.bool)
TOKENS = WordList(("right", "down", "both"), (0, 1, 2))  # the head's rows: (1, 0), (0, 1), (2, 1)


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return adapt(ToyNetwork(), tiny_tokenizer(), TOY)


def test_what_a_set_writes_of_small_integers(toy: LanguageModel) -> None:
    # Rows of layer 0 are (0, 1) and (3, 0), of layer 1 (1, 0) and (0, -1).
    assert set_writes(toy, ACTIVATION, MEAN, ALL).tolist() == [
        [[-12, 0], [-12, 1]],
        [[1, 0], [2, -2]],
    ]
    one = set_writes(toy, ACTIVATION, MEAN, ["L1.u1"])
    assert one.tolist() == [[[0, 0], [0, 0]], [[0, 0], [0, -2]]]
    assert torch.equal(set_writes(toy, ACTIVATION, MEAN, [Unit(1, 1)]), one)


def test_its_scores_by_layer_by_patch_and_of_the_whole_photo(toy: LanguageModel) -> None:
    writes = set_writes(toy, ACTIVATION, MEAN, ALL)
    found = read_writes(toy, HeadLens(toy, final_norm=False), writes, TOKENS)
    assert found.words == TOKENS.words
    assert found.by_layer().tolist() == [[-24, 1, -47], [3, -2, 4]]
    assert found.by_patch().tolist() == [[-11, 0, -22], [-10, -1, -21]]
    assert found.whole().tolist() == [-21, -1, -43]
    assert found.whole(layers=[1]).tolist() == [3, -2, 4]
    assert found.whole(patches=torch.tensor([False, True])).tolist() == [-10, -1, -21]
    through = JacobianLens({}, torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    # Layer 1 has no reading; of layer 0 the axes change places.
    assert read_writes(toy, through, writes, TOKENS).whole().tolist() == [1, -24, -22]


def test_sets_add_up(toy: LanguageModel) -> None:
    parts = [unit_mask([Unit(layer, unit)], 2, 2) for layer in range(2) for unit in range(2)]
    written = sum(set_writes(toy, ACTIVATION, MEAN, part) for part in parts)
    assert torch.equal(written, set_writes(toy, ACTIVATION, MEAN, ALL))


def test_tensors_of_another_model_are_refused(toy: LanguageModel) -> None:
    with pytest.raises(UsageError, match="activation is of 2 layers x 2 units"):
        set_writes(toy, ACTIVATION[:1], MEAN[:1], ["L0.u0"])
    three = torch.zeros(2, 3)
    with pytest.raises(UsageError, match=r"activation is of 2 layers x 2 units, not \(2, 3\)"):
        set_writes(toy, three[:, None], three, three > 0)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gptj", "falcon", "opt"])
def test_a_set_reads_what_putting_it_to_the_mean_takes(
    kind: str, make_captioner: Callable[..., Any]
) -> None:
    """To first order: a small step towards the mean, at all patches of one layer.

    With its own photo's Jacobian, and activations that change alike at all patches, as the mean
    over patches is exact only then.
    """
    captioner = make_captioner(kind)
    model: LanguageModel = captioner.language_model
    prompt: ImagePrompt = captioner.see(tiny_photos(1))
    step = 0.05 * torch.randn(N_LAYERS, D_MLP, generator=torch.Generator().manual_seed(0))
    down = {layer: model.down_projection(layer) for layer in range(N_LAYERS)}
    head = {"head": model.model.get_output_embeddings()}
    lens = JacobianLens({}, patch_jacobians(model, prompt))
    words = WordList(("a", "b", "c"), (20, 21, 22))
    chosen = torch.zeros(N_LAYERS, D_MLP, dtype=torch.bool)
    chosen[1, ::2] = True

    def logits(factor: float) -> Tensor:
        def moved(layer: int, values: Tensor) -> Tensor:
            flat = values.reshape(prompt.n_positions, D_MLP).clone()
            flat[prompt.patches] += factor * torch.where(chosen[layer], step[layer], 0.0)
            return flat.reshape(values.shape)

        with torch.no_grad(), edit(down, moved), capture(head) as read:
            model.read(prompt)
        return (model.unembedding()[list(words.tokens)] @ read["head"][0, -1]).double()

    with torch.no_grad(), capture(down) as seen:
        model.read(prompt)
    activation = torch.stack(
        [seen[i].reshape(prompt.n_positions, D_MLP)[prompt.patches] for i in range(N_LAYERS)]
    )
    shifted = set_writes(model, activation + step[:, None], torch.zeros(N_LAYERS, D_MLP), chosen)
    plain = set_writes(model, activation, torch.zeros(N_LAYERS, D_MLP), chosen)
    predicted = read_writes(model, lens, shifted - plain, words).whole()
    measured = logits(1.0) - logits(-1.0)
    torch.testing.assert_close(2 * predicted.double(), measured, rtol=0.05, atol=0.02)


def test_a_percentile_is_the_share_of_the_others_below() -> None:
    found = percentiles(torch.tensor([[3.0, 1.0, 2.0, 2.0, -1.0], [0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert found.tolist() == [[1, 0.25, 0.625, 0.625, 0], [0.5] * 5]
    with pytest.raises(UsageError, match="not among 1; give a longer list"):
        percentiles(torch.zeros(3, 1))


def test_a_word_that_is_high_everywhere_gains_nothing() -> None:
    percentile = torch.tensor([[0.9, 0.8, 0.5], [0.9, 0.2, 0.5], [0.9, 0.4, 0.5]])
    own = torch.tensor([[True, True, True], [False, False, True], [False, False, True]])
    found = own_minus_others(percentile, own)
    torch.testing.assert_close(found[0, :2], torch.tensor([0.0, 0.5], dtype=torch.float64))
    assert found[1:].isnan().all()
    assert found[0, 2].isnan()  # every photo has it


def test_the_list_holds_words_of_one_token_once(captioner: Any) -> None:
    model = captioner.language_model
    found = word_list(model, ["dog", "cat", "umbrella", "dog", "street"])
    assert found.words == ("dog", "cat", "street")
    assert [model.token_text(token) for token in found.tokens] == [" dog", " cat", " street"]


def test_random_directions_keep_the_norm_alone() -> None:
    rows = torch.randn(5, 40, 32, generator=torch.Generator().manual_seed(0))
    fake = random_directions(rows, 1)
    torch.testing.assert_close(fake.norm(dim=-1), rows.norm(dim=-1))
    assert torch.equal(fake, random_directions(rows, 1))
    assert not torch.equal(fake, random_directions(rows, 2))
    cosine = torch.nn.functional.cosine_similarity(fake, rows, dim=-1)
    assert cosine.abs().mean() < 0.25
    assert random_directions(torch.zeros(2, 3), 0).tolist() == [[0, 0, 0]] * 2


def test_fakes_pass_a_verdict_as_often_as_it_is_empty(captioner: Any) -> None:
    model: LanguageModel = captioner.language_model
    units = [Unit(layer, unit) for layer in range(N_LAYERS) for unit in range(12)]
    strength = row_norms(model)
    own = {f"{read.tokens}" for read in _decoded(model, units)}
    verdicts = {
        "always": lambda place, tokens: True,
        "its own list": lambda place, tokens: f"{tokens}" in own,
        "half of them": lambda place, tokens: place % 2 == 0,
    }
    for name, passes in (("always", 36), ("its own list", 0), ("half of them", 18)):
        verdict = verdicts[name]
        swapped = swapped_rows_pass(model, units, None, strength, verdict)
        random = random_directions_pass(model, units, None, verdict, seed=0)
        assert swapped == random == PassRate(passes, 36), name
    assert PassRate(18, 36).share == 0.5
    # The last layer has no reading at patches, and takes no part.
    lens = JacobianLens({}, torch.eye(model.d_model).expand(N_LAYERS - 1, -1, -1))
    always = verdicts["always"]
    assert swapped_rows_pass(model, units, None, strength, always, lens=lens).n == 24
    assert random_directions_pass(model, units, None, always, seed=0, lens=lens).n == 24


def _decoded(model: LanguageModel, units: list[Unit]) -> Any:
    from molyneux.neurons.decoding import decode_units

    return decode_units(model, units)
