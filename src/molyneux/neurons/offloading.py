"""Gradients through offloaded layers: the graph refers to their weights instead of holding them.

Of a model larger than its devices, accelerate keeps layers in RAM or on the disk: it fetches a
module's weights before its forward pass and lets go of them after it. Autograd would not let go:
it saves the weights that activations were multiplied by for the backward pass, and so the whole
model would be on the device at once. Here it saves where a weight is kept, and the backward pass
fetches it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


@dataclass(frozen=True)
class _Offloaded:
    """A parameter that accelerate keeps elsewhere, and the module that has it for its own pass."""

    module: nn.Module
    name: str
    kept: Mapping[str, Any]
    key: str

    def in_module(self) -> Tensor:
        """Return what the module has now: no numbers, except in its forward pass."""
        found: Tensor = getattr(self.module, self.name)
        return found


@dataclass(frozen=True)
class _Reference:
    """A view of a parameter, perhaps transposed, without its numbers."""

    parameter: _Offloaded
    dtype: torch.dtype
    device: torch.device
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    def view(self) -> Tensor:
        """Return the view of the parameter, fetched again."""
        kept: Tensor = self.parameter.kept[self.parameter.key]
        again = kept.to(self.dtype).to(self.device)  # as accelerate did
        return again.as_strided(self.size, self.stride, again.storage_offset() + self.offset)


def _offloaded(model: nn.Module) -> Iterator[_Offloaded]:
    for module in model.modules():
        hook: Any = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", [hook]):  # a module may have several of accelerate's
            if getattr(one, "offload", False):
                for key, _ in module.named_parameters(recurse=one.place_submodules):
                    owner, _, name = key.rpartition(".")
                    yield _Offloaded(module.get_submodule(owner), name, one.weights_map, key)


@contextmanager
def weights_by_reference(model: nn.Module) -> Iterator[None]:
    """Have the graphs of forward passes in the context refer to what is offloaded.

    Gradients are those of a graph that holds its weights, to the bit. Everything else is saved
    as ever; without an offloaded layer, so is everything.
    """
    by_size: dict[int, list[_Offloaded]] = {}
    for parameter in _offloaded(model):
        empty = parameter.in_module()
        # A quantised weight is held: what is kept of it may not be what is multiplied.
        if empty.is_floating_point() and not hasattr(empty, "__tensor_flatten__"):
            by_size.setdefault(empty.nbytes, []).append(parameter)
    if not by_size:
        yield
        return

    def pack(saved: Tensor) -> Tensor | _Reference:
        storage = saved.untyped_storage()
        for parameter in by_size.get(storage.nbytes(), []):
            fetched = parameter.in_module()
            if fetched.is_meta or fetched.dtype != saved.dtype:
                continue
            if fetched.untyped_storage().data_ptr() == storage.data_ptr():
                offset = int(saved.storage_offset() - fetched.storage_offset())
                return _Reference(
                    parameter, saved.dtype, saved.device, saved.size(), saved.stride(), offset
                )
        return saved.detach()  # the tensor itself would be a cycle of references

    def unpack(packed: Tensor | _Reference) -> Tensor:
        return packed.view() if isinstance(packed, _Reference) else packed

    with saved_tensors_hooks(pack, unpack):
        yield
