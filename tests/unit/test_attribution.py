"""Attribution where the right answers are small integers, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import tiny_tokenizer
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from molyneux.adapters import Family, LanguageModel, adapt
from molyneux.neurons.attribution import Target, attribute_units, score_units
from molyneux.vision.layout import ImagePrompt


def test_scores_of_hand_made_tensors() -> None:
    # layers x patches x units
    activation = torch.tensor([[[1, -2], [3, 4], [0, 5]], [[2, 0], [-1, 0], [-3, 0]]]).float()
    gradient = torch.tensor(
        [[[[2, -3], [1, -1], [7, 0]], [[-1, 9], [-4, 9], [2, 9]]]]
    ).float()  # products: u0 2 3 0, u1 6 -4 0; u0 -2 4 -6, u1 0 0 0
    found = score_units(activation, gradient)
    assert found.score.tolist() == [[[3, 6], [4, 0]]]
    assert found.total.tolist() == [[[5, 2], [-4, 0]]]
    assert found.peak_patch.tolist() == [[[1, 0], [1, 0]]]
    # The sign is the activation's, not the product's: u1 scores 6 as -2 x -3.
    assert found.sign.tolist() == [[[1, -1], [-1, 0]]]
    torch.testing.assert_close(found.share, torch.tensor([[[5, 2], [-4, 0]]]) / 11)


def test_a_target_nothing_reaches_has_shares_of_zero() -> None:
    found = score_units(torch.ones(1, 2, 3), torch.zeros(2, 1, 2, 3))
    assert found.share.tolist() == [[[0, 0, 0]]] * 2
    assert found.score.tolist() == [[[0, 0, 0]]] * 2


def test_every_target_has_its_own_shares_and_may_have_its_own_activations() -> None:
    gradient = torch.tensor([[[[1.0, 1.0]]], [[[1.0, -3.0]]]])  # targets layers patches units
    shared = score_units(torch.tensor([[[1.0, 1.0]]]), gradient)
    assert shared.share.tolist() == [[[0.5, 0.5]], [[0.25, -0.75]]]
    own = score_units(torch.tensor([[[[1.0, 1.0]]], [[[-2.0, 0.0]]]]), gradient)
    assert own.score.tolist() == [[[1, 1]], [[-2, 0]]]
    assert own.sign.tolist() == [[[1, 1]], [[-1, 0]]]


class ToyConfig(PreTrainedConfig):
    model_type = "toy"


class ToyLayer(nn.Module):
    def __init__(self, up: list[list[int]], rows: list[list[int]]) -> None:
        super().__init__()
        self.up = nn.Linear(2, 2, bias=False)
        self.down = nn.Linear(2, 2, bias=False)
        self.up.weight = nn.Parameter(torch.tensor(up).float())
        self.down.weight = nn.Parameter(torch.tensor(rows).float().T.contiguous())

    def forward(self, stream: Tensor) -> Tensor:
        return stream + self.down(self.up(stream).relu())


class ToyNetwork(PreTrainedModel):
    """Two layers of two ReLU units; the head reads the sum of the stream over positions so far."""

    config_class = ToyConfig

    def __init__(self) -> None:
        super().__init__(ToyConfig())
        self.tokens = nn.Embedding(3, 2)
        self.layers = nn.ModuleList(
            [
                ToyLayer(up=[[1, 0], [0, 1]], rows=[[0, 1], [3, 0]]),
                ToyLayer(up=[[1, 1], [2, -1]], rows=[[1, 0], [0, -1]]),
            ]
        )
        self.norm = nn.LayerNorm(2)
        self.head = nn.Linear(2, 3, bias=False)
        self.head.weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]))

    def get_input_embeddings(self) -> nn.Module:
        return self.tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(
        self, inputs_embeds: Tensor, use_cache: bool = False, logits_to_keep: int = 0, **_: Any
    ) -> CausalLMOutput:
        stream = inputs_embeds
        for layer in self.layers:
            stream = layer(stream)
        logits = self.head(stream.cumsum(dim=1))
        return CausalLMOutput(logits=logits[:, -logits_to_keep:])


TOY = Family("Toy", ("toy",), layers="layers", down="down", preactivation="up", final_norm="norm")


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return adapt(ToyNetwork(), tiny_tokenizer(), TOY)


@pytest.fixture
def prompt() -> ImagePrompt:
    """Two patches, then one position of text.

    Layer 0 is active (1, 0), (2, 0), (0, 1); layer 1 (2, 1), (3, 3), (4, 5); the stream ends as
    (3, 0), (5, -2), (7, -4).
    """
    return ImagePrompt(torch.tensor([[[1.0, 0.0], [2.0, -1.0], [0.0, 1.0]]]), slice(0, 2))


def test_a_network_of_small_integers(toy: LanguageModel, prompt: ImagePrompt) -> None:
    # Token 2 reads (2, 1). In layer 1 the units' slopes are rows . (2, 1) = 2 and -1; in layer 0,
    # with (2, 1) + 2 (1, 1) - (2, -1) = (2, 4) passing back through layer 1, they are 4 and 6.
    found = attribute_units(toy, prompt, [Target(token_id=2, position=2)])
    assert found.logit.tolist() == [2 * 15 - 6]
    assert found.activation.tolist() == [[[1, 0], [2, 0]], [[2, 1], [3, 3]]]
    assert found.activation_last.tolist() == [[[0, 1], [4, 5]]]
    assert found.patches.score.tolist() == [[[8, 0], [6, -1]]]
    assert found.patches.total.tolist() == [[[12, 0], [10, -4]]]
    assert found.patches.peak_patch.tolist() == [[[1, 0], [1, 0]]]
    assert found.patches.sign.tolist() == [[[1, 0], [1, 1]]]
    torch.testing.assert_close(found.patches.share, torch.tensor([[[12, 0], [10, -4]]]) / 26)
    assert found.last.score.tolist() == [[[0, 6], [8, -5]]]
    assert torch.equal(found.last.total, found.last.score)
    assert not found.last.peak_patch.any()
    assert found.magnitude("patches", 0).tolist() == [[1.5, 0], [2.5, 2]]
    assert found.magnitude("last", 0).tolist() == [[0, 1], [4, 5]]


def test_scores_without_sinks_come_from_the_same_pass(
    toy: LanguageModel, prompt: ImagePrompt
) -> None:
    targets, sinks = [Target(2, 2), Target(0, 1)], torch.tensor([False, True])
    found = attribute_units(toy, prompt, targets, sinks=sinks)
    assert found.without_sinks is not None
    apart = attribute_units(toy, prompt, targets, patches=~sinks)
    for name in ("score", "total", "share", "sign", "peak_patch"):
        assert torch.equal(getattr(found.without_sinks, name), getattr(apart.patches, name))
    assert found.without_sinks.total[0].tolist() == [[4, 0], [4, -1]]
    assert found.patches.total[0].tolist() == [[12, 0], [10, -4]]
    assert apart.without_sinks is None


def test_an_earlier_target_sees_only_what_came_before(
    toy: LanguageModel, prompt: ImagePrompt
) -> None:
    targets = [Target(0, 0), Target(2, 2), Target(0, 1)]
    found = attribute_units(toy, prompt, targets)
    # Token 0 reads (1, 0); position 0 alone: layer 1's slopes 1 and 0, layer 0's from (2, 1).
    assert found.logit.tolist() == [3, 24, 8]
    assert found.patches.total[0].tolist() == [[1, 0], [2, 0]]
    assert found.patches.total[1].tolist() == [[12, 0], [10, -4]]
    assert found.patches.total[2].tolist() == [[1 + 2, 0], [2 + 3, 0]]
    assert found.last.score[2].tolist() == [[2, 0], [3, 0]]
    assert found.targets == tuple(targets)


def test_log_probability_takes_off_what_lifts_every_token(
    toy: LanguageModel, prompt: ImagePrompt
) -> None:
    raw = [attribute_units(toy, prompt, [Target(t, 2)]).patches.total[0] for t in range(3)]
    target = [Target(0, 2)]
    found = attribute_units(toy, prompt, target, of="logprob")
    chances = torch.tensor([15.0, -6.0, 24.0]).softmax(dim=0)
    mean = sum(p * total for p, total in zip(chances, raw, strict=True))
    torch.testing.assert_close(found.patches.total[0], raw[0] - mean)
    torch.testing.assert_close(found.probability, chances[:1])


def test_relu_at_the_papers_site_is_the_same(toy: LanguageModel, prompt: ImagePrompt) -> None:
    """Z dy/dZ = a dy/da where the activation function is linear: ReLU, on either side of 0."""
    targets = [Target(2, 2)]
    at_a, at_z = (
        attribute_units(toy, prompt, targets, site=s) for s in ("activation", "preactivation")
    )
    assert torch.equal(at_a.patches.total, at_z.patches.total)
    # The coefficient of the output row, not Z (here -1): what signs and maps are drawn from.
    assert at_z.activation[0].tolist() == [[1, 0], [2, 0]]
