"""Giving units other activations, where the right answers are small integers."""

from __future__ import annotations

import pytest
import torch
from test_attribution import TOY, ToyNetwork
from tiny_models import tiny_captioner, tiny_photos, tiny_tokenizer

from molyneux import MolyneuxError
from molyneux.adapters import LanguageModel, adapt
from molyneux.hooks import capture
from molyneux.neurons.ablation import (
    Intervention,
    Scaled,
    ablated_logits,
    intervened,
    intervened_logits,
)
from molyneux.neurons.unit import Unit, unit_mask
from molyneux.vision.layout import ImagePrompt

# Layer 1 is active (2, 1), (3, 3), (4, 5) with rows (1, 0), (0, -1); token 2 reads (2, 1) off the
# sum of the stream over positions: unit 0 adds 2 a to its logit of 24, unit 1 takes a.
FIRST, SECOND = Unit(1, 0), Unit(1, 1)
CLEAN = 24.0


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return adapt(ToyNetwork(), tiny_tokenizer(), TOY)


@pytest.fixture(scope="module")
def prompt() -> ImagePrompt:
    return ImagePrompt(torch.tensor([[[1.0, 0.0], [2.0, -1.0], [0.0, 1.0]]]), slice(0, 2))


def logit(toy: LanguageModel, prompt: ImagePrompt, *rows: Intervention) -> list[float]:
    found: list[float] = intervened_logits(toy, prompt, rows)[:, 2].tolist()
    return found


def test_every_kind_of_value_in_one_pass(toy: LanguageModel, prompt: ImagePrompt) -> None:
    each_unit = torch.zeros(2, 2)
    each_unit[1, 1] = 7
    each_patch = torch.zeros(2, 2, 2)
    each_patch[1, :, 0] = torch.tensor([10.0, 20.0])
    found = logit(
        toy,
        prompt,
        Intervention([]),
        Intervention([FIRST]),
        Intervention([FIRST], value=1.0),
        Intervention([FIRST, SECOND], value=Scaled(2.0)),
        Intervention([SECOND], "patches", "mean"),
        Intervention([SECOND], value="mean"),
        Intervention([SECOND], value=each_unit),
        Intervention([FIRST], "patches", each_patch),
        Intervention(unit_mask([FIRST, SECOND], 2, 2), "patches"),
    )
    assert found == [
        CLEAN,
        CLEAN - 2 * (2 + 3 + 4),
        CLEAN - 2 * (1 + 2 + 3),
        CLEAN + 2 * (2 + 3 + 4) - (1 + 3 + 5),
        CLEAN,  # 2 and 2 for 1 and 3
        CLEAN + 9 - 6,
        CLEAN + 9 - 21,
        CLEAN + 2 * (8 + 17),
        CLEAN - 2 * (2 + 3) + (1 + 3),
    ]


def test_positions_are_all_the_patches_or_given_ones(
    toy: LanguageModel,
    prompt: ImagePrompt,
) -> None:
    each_patch = torch.full((2, 2, 2), 9.0)
    each_patch[1, 1, 0] = 30
    found = logit(
        toy,
        prompt,
        Intervention([FIRST], (2,)),
        Intervention([FIRST], (0, 2), 0.0),
        Intervention([FIRST], (1,), each_patch),
        Intervention([FIRST], ()),
    )
    assert found == [CLEAN - 8, CLEAN - 12, CLEAN + 2 * 27, CLEAN]
    with pytest.raises(MolyneuxError, match="a position is from 0 to 2, not 3"):
        logit(toy, prompt, Intervention([FIRST], (3,)))


def test_what_an_earlier_layer_is_given_passes_on_to_later_ones(
    toy: LanguageModel,
    prompt: ImagePrompt,
) -> None:
    off = ablated_logits(toy, prompt, [[Unit(0, 0)]], positions="patches")[0, 2]
    # Without its writes of (0, 1) and (0, 2) at the patches the stream is (1, 0), (2, -1) there,
    # layer 1 is active (1, 2), (1, 5) instead of (2, 1), (3, 3).
    assert float(off) == CLEAN - (1 + 2) - 2 * (1 + 2) - (1 + 2)


@pytest.mark.parametrize(
    ("value", "said"), [(torch.zeros(2, 3, 4), "positions=patches"), (torch.zeros(4), "shape")]
)
def test_values_of_another_shape_are_refused(value: torch.Tensor, said: str) -> None:
    with pytest.raises(MolyneuxError, match=said):
        Intervention([FIRST], value=value)


def test_the_mean_over_the_patches_lasts_while_a_caption_is_written() -> None:
    captioner = tiny_captioner("llama")
    model, prompt = captioner.language_model, captioner.see(tiny_photos(2))
    unit, down = Unit(1, 7), {1: model.down_projection(1)}
    with torch.no_grad(), capture(down) as clean:
        model.read(prompt)
    mean = clean[1][:, prompt.patches, unit.unit].mean(dim=1)
    assert (mean[0] - mean[1]).abs() > 1e-4  # each photo has its own
    rows = [Intervention([unit], value="mean")] * 2
    with torch.no_grad(), intervened(model, rows, prompt.patches), capture(down) as seen:
        first = model.read(prompt, use_cache=True)
        prefilled = seen[1][:, :, unit.unit]
        tokens = first.logits[:, -1].argmax(dim=-1)
        model.run(input_ids=tokens[:, None], past_key_values=first.past_key_values, use_cache=True)
    torch.testing.assert_close(prefilled, mean[:, None].expand_as(prefilled))
    torch.testing.assert_close(seen[1][:, :, unit.unit], mean[:, None])
