"""The Jacobian lens of every family: it says what a shift at the patches does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import count_hooks, tiny_captioner, tiny_photos
from tiny_vlms import VLM_KINDS, tiny_vlm
from torch import Tensor

from molyneux.adapters import LanguageModel
from molyneux.data.dataset import Item
from molyneux.errors import UsageError, WeightsError
from molyneux.explain.measure_lens import (
    lens_provenance,
    measure_lens,
    photo_contexts,
    sentence_contexts,
)
from molyneux.hooks import capture, edit
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.jacobian import LensBuilder, patch_jacobians
from molyneux.neurons.lens import JacobianLens
from molyneux.vision.layout import ImagePrompt

STEP = 1e-2  # rotary, softmax and norms round to float32 even in a float64 model


def final_state(model: LanguageModel, prompt: ImagePrompt, layer: int, shift: Tensor) -> Tensor:
    """Return what the head is given at the last position, a layer's patches shifted."""

    def moved(_: int, stream: Tensor) -> Tensor:
        stream = stream.clone()
        stream[:, prompt.patches] += shift.to(stream)
        return stream

    head = {"head": model.model.get_output_embeddings()}
    with (
        torch.no_grad(),
        edit({layer: model.layer(layer)}, moved, at="output"),
        capture(head, at="input") as read,
    ):
        model.read(prompt)
    return read["head"][0, -1].double()


def test_it_agrees_with_central_differences_of_a_shift_at_all_patches(kind: str) -> None:
    require_agreement(tiny_captioner(kind, dtype=torch.float64))


@pytest.mark.parametrize("vlm", VLM_KINDS)
def test_of_a_vision_language_model_it_does_too(vlm: str) -> None:
    """Only the patches of one view are shifted, behind whatever else the model puts there."""
    require_agreement(tiny_vlm(vlm, dtype=torch.float64))


def require_agreement(seeing: SeeingModel) -> None:
    model, prompt = seeing.language_model, seeing.see(tiny_photos(1))
    hooks = count_hooks(model.model)
    found = patch_jacobians(model, prompt)
    assert count_hooks(model.model) == hooks
    assert found.shape == (model.n_layers - 1, model.d_model, model.d_stream)
    n_patches = prompt.patches.stop - prompt.patches.start
    generator = torch.Generator().manual_seed(0)
    for layer, jacobian in enumerate(found):
        for _ in range(2):
            shift = torch.nn.functional.normalize(
                torch.randn(model.d_stream, generator=generator, dtype=torch.float64), dim=0
            )
            after, before = (
                final_state(model, prompt, layer, sign * STEP * shift) for sign in (1, -1)
            )
            expected = (after - before) / (2 * STEP)
            predicted = n_patches * jacobian.double() @ shift
            assert (predicted - expected).norm() < 0.02 * expected.norm()


def test_of_the_last_layer_there_is_nothing_to_read(family_captioner: Any) -> None:
    """What its patches hold reaches no other position."""
    model, prompt = family_captioner.language_model, family_captioner.see(tiny_photos(1))
    shift = torch.ones(model.d_stream)
    last = model.n_layers - 1
    clean, shifted = (final_state(model, prompt, last, by) for by in (0 * shift, shift))
    assert torch.equal(clean, shifted)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_how_many_are_taken_back_at_once_changes_nothing(captioner: Any, at_once: int) -> None:
    model, prompt = captioner.language_model, captioner.see(tiny_photos(1))
    expected = patch_jacobians(model, prompt)
    torch.testing.assert_close(patch_jacobians(model, prompt, at_once=at_once), expected)


def test_a_vision_language_models_lens_goes_with_its_prompt_alone(tmp_path: Path) -> None:
    seeing = tiny_vlm("llava")
    photo = tmp_path / "photo.png"
    tiny_photos(1)[0].save(photo)
    builder = LensBuilder(lens_provenance(seeing, ["photo"], data="a drawing"))
    measure_lens(seeing, photo_contexts(seeing, [Item("photo", photo)]), builder)
    assert len(builder.measured) + len(builder.left_out) == 1
    jacobians = patch_jacobians(seeing.language_model, seeing.see([photo]))
    lens = JacobianLens(builder.provenance, jacobians)
    assert seeing.with_lens(lens).lens is lens
    layout = {**lens.provenance["layout"], "text": "Other"}
    with pytest.raises(WeightsError, match="the lens was measured with another text"):
        seeing.with_lens(JacobianLens({**lens.provenance, "layout": layout}, jacobians))
    with pytest.raises(UsageError, match="lays its photos out itself"):
        next(sentence_contexts(seeing, ["A dog runs."]))
