"""Attribution of models whose layers accelerate keeps elsewhere: the same scores, few weights."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pretend_devices
import pytest
import torch
from tiny_models import count_hooks, tiny_language_model, tiny_model, tiny_tokenizer
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from molyneux.adapters.language_model import LanguageModel
from molyneux.checkpoints.language_models import load_language_model
from molyneux.neurons import attribution, offloading
from molyneux.neurons.attribution import Attribution, Target, attribute_units
from molyneux.vision.layout import ImagePrompt

N_POSITIONS = 6
TARGETS = [Target(5, N_POSITIONS - 1), Target(9, N_POSITIONS - 2), Target(7, N_POSITIONS - 1)]
# Gated; stored the other way round; with biases and a projected stream; with norms that add one;
# with a norm of the embeddings; with a bias in the head; gate and input in one matrix.
KINDS = ("llama", "gpt2", "opt_350m", "gemma2", "bloom", "gptj", "phi3")


class Watched(Mapping[str, Tensor]):
    """What accelerate keeps of a module, with a note of every weight that is fetched."""

    def __init__(self, kept: Mapping[str, Tensor], fetched: Fetched) -> None:
        self.kept, self.fetched = kept, fetched

    def __getitem__(self, key: str) -> Tensor:
        weight, dtype = self.kept[key], self.fetched.dtype
        return self.fetched.noted(weight if dtype is None else weight.to(dtype, copy=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


class Fetched:
    """The weights that were fetched, of which torch still holds some; sizes in bytes.

    With a dtype they are copies: on a CPU, accelerate takes what it keeps in RAM as it lies there.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.memory: list[tuple[StorageWeakRef, int]] = []
        self.most = self.largest = self.all = 0
        for module in model.modules():
            hook: Any = getattr(module, "_hf_hook", None)
            if getattr(hook, "offload", False):
                hook.weights_map = Watched(hook.weights_map, self)
                own = [parameter.nbytes for parameter in module.parameters(recurse=False)]
                self.all += sum(own)
                self.largest = max(self.largest, sum(own))

    def noted(self, weight: Tensor) -> Tensor:
        self.memory.append((StorageWeakRef(weight.untyped_storage()), weight.nbytes))
        self.most = max(self.most, self.held())
        return weight

    def held(self) -> int:
        return sum(size for memory, size in self.memory if not memory.expired())


def prompt_of(model: LanguageModel) -> ImagePrompt:
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(1, N_POSITIONS, model.d_model, generator=generator)
    return ImagePrompt(embeddings.to(model.device, model.dtype), slice(0, 3))


def attributed(model: LanguageModel, **options: Any) -> Attribution:
    return attribute_units(model, prompt_of(model), TARGETS, **options)


def assert_equal(found: Attribution, expected: Attribution, off: float = 1e-5) -> None:
    """Weights that are fetched lie otherwise in memory: kernels may sum in another order."""
    for view in ("patches", "last"):
        for name in ("score", "total", "share"):
            one, other = (getattr(getattr(each, view), name) for each in (found, expected))
            torch.testing.assert_close(one.cpu(), other.cpu(), rtol=off, atol=off)
        for name in ("sign", "peak_patch"):
            one, other = (getattr(getattr(each, view), name) for each in (found, expected))
            assert torch.equal(one.cpu(), other.cpu()), (view, name)
    for name in ("logit", "probability", "activation", "activation_last"):
        one, other = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(one.cpu(), other.cpu(), rtol=off, atol=off)
    assert expected.patches.score[:, :2].any(dim=2).all()


def on_the_disk(kind: str, folder: Path, **options: Any) -> LanguageModel:
    """Return a tiny model of which every layer stays on the disk."""
    model = tiny_model(kind)
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    half = model.num_parameters() * getattr(torch, options.get("dtype", "float32")).itemsize // 2
    options = {"device_map": "auto", "max_memory": {"cpu": half}, **options}
    loaded = load_language_model(folder, **options).language_model
    assert all(loaded.down_projection(layer).weight.is_meta for layer in range(loaded.n_layers))
    return loaded


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_holds_no_weight_that_stays_on_the_disk(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, plain = on_the_disk(kind, tmp_path), tiny_language_model(kind)
    hooks, fetched = count_hooks(model.model), Fetched(model.model)
    for options in ({}, {"of": "logprob", "site": "preactivation"}):
        assert_equal(attributed(model, **options), attributed(plain, **options))
    assert fetched.largest < fetched.all / 6
    assert fetched.most <= fetched.largest
    assert fetched.held() == 0
    assert count_hooks(model.model) == hooks

    # Torch's own graph holds them all.
    monkeypatch.setattr(attribution, "weights_by_reference", lambda model: nullcontext())
    assert_equal(attributed(model), attributed(plain))
    assert fetched.most > 0.9 * fetched.all


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_read_again_in_the_dtype_of_the_model(dtype: str, tmp_path: Path) -> None:
    """The files are in float32; what accelerate keeps may be in that, or in the model's dtype."""
    model = on_the_disk("llama", tmp_path, dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    expected = attributed(load_language_model(tmp_path, dtype=dtype).language_model)
    fetched = Fetched(model.model)
    assert_equal(attributed(model), expected)
    assert 0 < fetched.most <= fetched.largest
    Fetched(model.model, torch.float32)
    assert_equal(attributed(model), expected)


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "opt_350m"])
def test_tied_weights_that_stay_in_memory(kind: str) -> None:
    """The head is the embedding, and is offloaded with all else."""
    from accelerate import cpu_offload

    model, plain = tiny_language_model(kind), tiny_language_model(kind)
    cpu_offload(model.model, execution_device=torch.device("cpu"))
    fetched = Fetched(model.model, torch.float32)
    assert model.model.get_output_embeddings().weight.is_meta
    assert_equal(attributed(model), attributed(plain))
    assert 0 < fetched.most <= fetched.largest


def wholly_on_a_gpu(kind: str) -> LanguageModel:
    model = tiny_language_model(kind)
    model.model.to("cuda")  # type: ignore[arg-type]
    return model


def partly_in_ram(kind: str) -> tuple[Attribution, int, int]:
    """Return a model's attribution on a GPU, and how often weights of its last layers were fetched.

    That is in a forward pass without gradients, and in the attribution.
    """
    from accelerate import dispatch_model

    model = tiny_language_model(kind)
    away = tuple(f"{model.family.layers}.{layer}." for layer in (1, 2))
    device_map: dict[str, str | int] = {
        name: "cpu" if name.startswith(away) else 0
        for name, module in model.model.named_modules()
        if not any(module.children())
    }
    dispatch_model(model.model, device_map, main_device=0)
    fetched = Fetched(model.model)
    with torch.no_grad():
        model.run(inputs_embeds=prompt_of(model).embeddings)
    once = len(fetched.memory)
    found = attributed(model)
    assert (str(found.logit.device), found.patches.score.device.type) == ("cuda:0", "cuda")
    return found, once, len(fetched.memory) - once


@pytest.mark.parametrize("kind", ["qwen2", "gptj"])
def test_layers_that_stay_in_ram_are_fetched_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks, mode = offloading.saved_tensors_hooks, pretend_devices._AsCalled

    def within(called: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(given: Any) -> Any:
            with mode():  # which torch leaves for the operation that calls back
                return called(given)

        return call

    monkeypatch.setattr(
        offloading,
        "saved_tensors_hooks",
        lambda pack, unpack: hooks(within(pack), within(unpack)),
    )
    with pretend_devices.pretend_devices():
        expected = attributed(wholly_on_a_gpu(kind))
        found, once, twice = partly_in_ram(kind)
        assert_equal(found, expected)
    assert once > 0
    assert twice >= once + 2 * 4  # of each layer, four matrices at least


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: this was not run")
@pytest.mark.parametrize("kind", ["qwen2", "gptj"])
def test_layers_that_stay_in_ram_of_a_real_gpu(kind: str) -> None:
    expected = attributed(wholly_on_a_gpu(kind))
    found, once, twice = partly_in_ram(kind)
    torch.testing.assert_close(found.patches.score, expected.patches.score)
    torch.testing.assert_close(found.last.total, expected.last.total)
    assert twice >= once + 2 * 4


def test_a_model_in_memory_is_attributed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that accelerate spreads out, all of whose layers are on a device."""
    from accelerate import dispatch_model

    model, spread = tiny_language_model("llama"), tiny_language_model("llama")
    dispatch_model(spread.model, {"": "cpu"}, force_hooks=True)
    assert hasattr(spread.down_projection(0), "_hf_hook")
    expected = attributed(model)

    def refuse(*hooks: object) -> None:
        raise AssertionError("what the graph saves passed hooks")

    monkeypatch.setattr(offloading, "saved_tensors_hooks", refuse)
    assert_equal(attributed(model), expected)
    assert_equal(attributed(spread), expected)


def test_nothing_of_a_graph_outlives_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the collector of cycles: on a GPU, memory would run out before it came."""
    model, hooks = on_the_disk("llama", tmp_path), offloading.saved_tensors_hooks
    saved: list[StorageWeakRef] = []

    def noting(pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> Any:
        def note(tensor: Tensor) -> Any:
            saved.append(StorageWeakRef(tensor.untyped_storage()))
            return pack(tensor)

        return hooks(note, unpack)

    monkeypatch.setattr(offloading, "saved_tensors_hooks", noting)
    gc.collect()
    gc.disable()
    try:
        attributed(model)
        assert len(saved) > 10 * model.n_layers
        assert all(memory.expired() for memory in saved)
    finally:
        gc.enable()
