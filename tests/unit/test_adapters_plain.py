"""A linear map that is more than its weight is refused, in whichever layer it sits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_models import N_LAYERS, tiny_model, tiny_tokenizer, weights_hash
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from transformers import PreTrainedModel

from molyneux import LanguageModel, adapt
from molyneux.adapters.proof.prove import prove
from molyneux.adapters.registry import find_family
from molyneux.errors import AdapterError

FAMILIES = ("llama", "gpt2", "opt_350m", "gemma2", "falcon", "bloom", "phi3")


class LowRank(nn.Module):
    """An unmerged low-rank adapter: its `weight` is that of the layer that it wraps."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_layer = base
        wide, narrow = (base.nx, base.nf) if hasattr(base, "nf") else base.weight.T.shape
        generator = torch.Generator().manual_seed(1)
        self.a = nn.Parameter(torch.randn(wide, 2, generator=generator) / wide**0.5)
        self.b = nn.Parameter(torch.randn(2, narrow, generator=generator))

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base_layer.bias

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.base_layer(values) + values @ self.a @ self.b
        return out


class Bare(nn.Linear):
    """A linear layer whose forward pass is not what its parameters say."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values) + 0.3 * super().forward(values.flip(-1))


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _wrap(model: PreTrainedModel, kind: str, layer: int, make: Callable[[nn.Module], nn.Module]):
    row = find_family(model.config.model_type, model.config)
    path = f"{row.layers}.{layer}.{row.down}"
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, name, make(getattr(owner, name)))


def _bare(base: nn.Module) -> nn.Module:
    module = Bare(base.in_features, base.out_features, bias=base.bias is not None)
    module.load_state_dict(base.state_dict())
    return module


def _hooked(base: nn.Module) -> nn.Module:
    base.register_forward_hook(lambda module, given, output: output * 1.5)
    return base


def _parametrised(base: nn.Module) -> nn.Module:
    parametrize.register_parametrization(base, "weight", Doubled())
    return base


def _pruned(base: nn.Module) -> nn.Module:
    prune.l1_unstructured(base, "weight", amount=0.5)
    return base


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("kind", FAMILIES)
def test_an_adapter_is_refused_in_every_layer(kind: str, layer: int) -> None:
    model = tiny_model(kind)
    _wrap(model, kind, layer, LowRank)
    before = weights_hash(model)
    with pytest.raises(AdapterError, match=f"layer {layer}'s down.*more than its weight.*merge"):
        adapt(model, tiny_tokenizer())
    assert weights_hash(model) == before


@pytest.mark.parametrize("make", [_bare, _hooked])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_a_map_that_does_more_than_it_holds_is_refused(
    layer: int, dtype: torch.dtype, make: Callable[[nn.Module], nn.Module]
) -> None:
    """By what it does: it has a weight and a bias, and nothing else."""
    model = tiny_model("llama")
    _wrap(model, "llama", layer, make)
    model = model.to(dtype).requires_grad_(False)
    with pytest.raises(AdapterError, match=f"layer {layer}: the units' writes sum"):
        adapt(model, tiny_tokenizer())
    unproved = adapt(model, tiny_tokenizer(), check=False)
    failed = [check.claim for check in prove(unproved) if not check.holds]
    assert f"layer {layer}: the units' writes sum to the MLP's output" in failed


@pytest.mark.parametrize("make", [_parametrised, _pruned])
def test_a_weight_that_is_made_on_the_way_is_refused(
    make: Callable[[nn.Module], nn.Module],
) -> None:
    model = tiny_model("llama")
    _wrap(model, "llama", 0, make)
    with pytest.raises(AdapterError, match=r"layer 0's down projection .* permanent"):
        adapt(model, tiny_tokenizer())


def test_an_adapter_at_the_head_is_refused() -> None:
    model = tiny_model("llama")
    model.lm_head = LowRank(model.lm_head)
    with pytest.raises(AdapterError, match=r"the head .* computes with more"):
        adapt(model, tiny_tokenizer())
    hooked = tiny_model("llama")
    _hooked(hooked.lm_head)
    with pytest.raises(AdapterError, match="the head's output is its weight times"):
        adapt(hooked, tiny_tokenizer())


def test_merged_it_is_taken_and_read_as_it_computes() -> None:
    model, plain = tiny_model("llama"), tiny_model("llama")
    _wrap(model, "llama", 0, LowRank)
    adapter = model.model.layers[0].mlp.down_proj
    merged = adapter.base_layer.weight.T + adapter.a @ adapter.b
    plain.model.layers[0].mlp.down_proj.weight.copy_(merged.T.detach())
    taken: LanguageModel = adapt(plain, tiny_tokenizer())
    torch.testing.assert_close(taken.output_rows(0), merged.detach())


def test_a_hook_that_only_looks_is_no_fault() -> None:
    model = tiny_model("llama")
    seen: list[int] = []
    model.model.layers[0].mlp.down_proj.register_forward_hook(
        lambda module, given, output: seen.append(1)
    )
    adapt(model, tiny_tokenizer())
    assert seen
