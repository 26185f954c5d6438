"""Lenses where the right answers are known: a toy whose Jacobian is worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_attribution import TOY, ToyNetwork
from tiny_models import tiny_tokenizer

from molyneux.adapters import LanguageModel, adapt
from molyneux.errors import UsageError, WeightsError
from molyneux.neurons.jacobian import LensBuilder, patch_jacobians
from molyneux.neurons.lens import HeadLens, JacobianLens, Lens, load_lens, save_lens
from molyneux.vision.layout import ImagePrompt

ON = {"projection": "0" * 64, "language_model": "toy", "dtype": "float32"}


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return adapt(ToyNetwork(), tiny_tokenizer(), TOY)


@pytest.fixture
def prompt() -> ImagePrompt:
    """Two patches, then text. Layer 0 leaves (2, 0) and (-2, 1) at the patches.

    There both units of layer 1 are active at the first patch and neither at the second.
    """
    return ImagePrompt(torch.tensor([[[2.0, -2.0], [-5.0, 1.0], [0.0, 1.0]]]), slice(0, 2))


def test_the_jacobian_of_a_network_of_small_integers(
    toy: LanguageModel, prompt: ImagePrompt
) -> None:
    # The head reads the sum over positions. Through layer 1 a shift d at the first patch arrives as
    # d + (1, 0) (1, 1).d + (0, -1) (2, -1).d, at the second as it is.
    first, second = torch.tensor([[2.0, 1.0], [-2.0, 2.0]]), torch.eye(2)
    found = patch_jacobians(toy, prompt)
    assert found.tolist() == [((first + second) / 2).tolist()]
    assert torch.equal(patch_jacobians(toy, prompt, at_once=1), found)


def test_it_is_what_a_shift_at_every_patch_does(toy: LanguageModel, prompt: ImagePrompt) -> None:
    """No step is too small where nothing bends: the toy is linear between its kinks."""
    lens = JacobianLens({}, patch_jacobians(toy, prompt))
    shift = torch.tensor([0.25, -0.125])
    layer = toy.layer(0)
    head = toy.unembedding()

    def logits(*, moved: bool) -> torch.Tensor:
        stream = layer(prompt.embeddings)
        stream[:, prompt.patches] += shift if moved else 0
        found: torch.Tensor = head @ toy.layer(1)(stream).sum(dim=1)[0]
        return found

    with torch.no_grad():
        difference = logits(moved=True) - logits(moved=False)
    torch.testing.assert_close(difference, head @ lens(0, shift) * 2)


def test_the_last_layer_has_no_reading(toy: LanguageModel, prompt: ImagePrompt) -> None:
    lens = JacobianLens({}, patch_jacobians(toy, prompt))
    assert [lens.reads(layer) for layer in range(2)] == [True, False]
    with pytest.raises(UsageError, match="reads layers 0 to 0, not 1"):
        lens(1, torch.ones(2))


def test_lenses_are_of_one_kind() -> None:
    toy = adapt(ToyNetwork(), tiny_tokenizer(), TOY)
    norm: Any = toy.model.norm
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 5.0]))
    row = torch.tensor([[1.0, -1.0]])
    lenses: list[Lens] = [
        HeadLens(toy, final_norm=False),
        HeadLens(toy),
        JacobianLens({}, torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])),
    ]
    assert all(isinstance(lens, Lens) for lens in lenses)
    assert [(lens.name, lens(0, row).tolist()) for lens in lenses] == [
        ("none", [[1, -1]]),
        ("norm", [[2, -5]]),
        ("jacobian", [[-1, 3]]),
    ]


def test_a_prompt_without_text_is_refused(toy: LanguageModel, prompt: ImagePrompt) -> None:
    for patches in (slice(0, 3), slice(1, 1)):
        with pytest.raises(UsageError, match="from patches to a position behind them"):
            patch_jacobians(toy, ImagePrompt(prompt.embeddings, patches))


def test_what_is_put_by_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    photos = {f"{n}" * 64: torch.randn(2, 3, 4, generator=generator) for n in range(4)}
    whole, begun = LensBuilder(ON), LensBuilder(ON)
    for number, (digest, jacobians) in enumerate(photos.items()):
        whole.add(digest, jacobians)
        begun.add(digest, jacobians)
        begun.left_out[f"photo {number}"] = "why"
        begun.save(tmp_path / "begun")
        begun = LensBuilder.restore(tmp_path / "begun", ON)
    assert begun.left_out == {f"photo {number}": "why" for number in range(4)}
    assert begun.build().provenance == whole.build().provenance
    assert torch.equal(begun.build().jacobians, whole.build().jacobians)
    torch.testing.assert_close(whole.build().jacobians, torch.stack([*photos.values()]).mean(dim=0))


def test_what_was_begun_on_another_model_is_not_gone_on_with(tmp_path: Path) -> None:
    LensBuilder(ON).save(tmp_path / "begun")
    assert LensBuilder.restore(tmp_path / "begun", ON).total is None
    with pytest.raises(UsageError, match=r"another projection.*remove .*begun to begin anew"):
        LensBuilder.restore(tmp_path / "begun", {**ON, "projection": "1" * 64})
    (tmp_path / "begun").write_bytes(b"not this")
    with pytest.raises(WeightsError, match="is no lens begun"):
        LensBuilder.restore(tmp_path / "begun", ON)


def test_a_lens_of_no_photo_is_refused() -> None:
    with pytest.raises(UsageError, match="no photo was measured"):
        LensBuilder(ON).build()


def test_a_file_keeps_large_and_small_entries_alike(tmp_path: Path) -> None:
    """Half precision holds nothing below 6e-8, and a layer of a deep model may lie there."""
    generator = torch.Generator().manual_seed(1)
    jacobians = torch.randn(3, 8, 6, generator=generator)
    jacobians *= torch.tensor([1e5, 1.0, 1e-9])[:, None, None]
    jacobians[1] = 0
    save_lens(tmp_path / "lens", JacobianLens(ON, jacobians))
    found = load_lens(tmp_path / "lens")
    assert found.provenance == ON
    largest = jacobians.abs().amax(dim=(1, 2), keepdim=True)
    assert ((found.jacobians - jacobians).abs() <= largest * 2**-11).all()


def test_a_damaged_file_is_no_lens(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no lens at .*`molyneux lens build`"):
        load_lens(tmp_path / "lens")
    save_lens(tmp_path / "lens", JacobianLens(ON, torch.ones(1, 2, 2)))
    data = bytearray((tmp_path / "lens").read_bytes())
    data[-1] ^= 1
    (tmp_path / "lens").write_bytes(data)
    with pytest.raises(WeightsError, match=r"is not a lens.*its numbers are not the ones"):
        load_lens(tmp_path / "lens")


def test_a_lens_of_another_model_is_refused(toy: LanguageModel) -> None:
    lens = JacobianLens(ON, torch.ones(1, 2, 2))
    lens.require(toy, ON)
    with pytest.raises(WeightsError, match="the lens was measured with another projection"):
        lens.require(toy, {**ON, "projection": "1" * 64})
    with pytest.raises(WeightsError, match=r"shape \(2, 2, 2\) and the model \(1, 2, 2\)"):
        JacobianLens(ON, torch.ones(2, 2, 2)).require(toy, ON)
