"""Two GPUs that are not there: tensors that say `cuda:0` or `cuda:1`, and mix as real ones would.

The numbers lie on the CPU; what is pretended is the place. Every operation of torch passes
`PretendDevices`, below autograd and below vmap, which checks the places of its arguments by the
rules of torch's CUDA kernels, computes on the CPU, and gives the result its place. The rules:

- the tensors of one operation lie on one device;
- but one number (0-dim) of the CPU may take part in elementwise arithmetic on a GPU;
- and indices into a tensor on a GPU may lie on the CPU, not the other way round;
- a random generator lies where the numbers are drawn;
- copies go anywhere, and numpy takes what is on the CPU.

What it cannot show: memory, speed, rounding, streams, kernels that CUDA has or lacks, threads of
the model's own (a thread is outside the mode), and NCCL.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
CPU = torch.device("cpu")
N_DEVICES = 2


class MixedDevicesError(RuntimeError):
    """What torch would raise where devices mix."""


class PretendTensor(Tensor):
    """A tensor that says it lies on a GPU; `held` are its numbers, `place` is where."""

    held: Tensor
    place: torch.device

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(
        cls: type[PretendTensor],
        held: Tensor,
        device: torch.device | None = None,
        requires_grad: bool = False,
    ) -> PretendTensor:
        if isinstance(held, PretendTensor):  # as `type(parameter)(tensor)` asks
            return held.detach().requires_grad_(requires_grad)
        assert device is not None
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=_inside(device),
            requires_grad=requires_grad,
        )
        made.held, made.place = held, device
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def get_device(self) -> int:
        return int(self.device.index)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return compute(func, args, kwargs or {})


_generators: dict[int, torch.device] = {}


class PretendGenerator(torch.Generator):
    """A random generator of a pretended device."""

    def __new__(cls, device: Any = "cpu") -> PretendGenerator:
        made = super().__new__(cls, device="cpu")
        # Torch hands operations another Python object for the same generator.
        _generators[made._cdata] = made.place = _placed(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place


def _placed(device: Any) -> torch.device:
    """Return a device with its number."""
    if isinstance(device, int):
        return torch.device("cuda", device)
    found = _outside(torch.device(device))
    if found.type == "cuda":
        number = found.index or 0
        if number >= N_DEVICES:
            raise MixedDevicesError(f"CUDA error: invalid device ordinal ({found})")
        return torch.device("cuda", number)
    return found


@functools.cache
def _inside(device: torch.device) -> torch.device:
    """Return what torch's own code is told: a kind of device that it has no code for.

    Of CUDA it would ask for streams, which are not there without it.
    """
    return torch.device("lazy", device.index) if device.type == "cuda" else device


@functools.cache
def _outside(device: torch.device) -> torch.device:
    """Return what Python is told."""
    return torch.device("cuda", device.index) if device.type == "lazy" else device


_COPIES = {aten._to_copy.default, aten.copy_.default, aten.copy.default}
_INDEXED = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
    aten._unsafe_index_put.default,
}
# One number of the CPU may come beside a tensor on a GPU, though these are not elementwise in
# torch's own list.
_TAKES_A_NUMBER = {
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.fill.Tensor,
    aten.fill_.Tensor,
    aten.index_fill.int_Tensor,
    aten.index_fill_.int_Tensor,
}


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors among an operation's arguments, lists of them opened."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found


@functools.cache
def _takes_a_number(func: Any) -> bool:
    return torch.Tag.pointwise in func.tags or func in _TAKES_A_NUMBER


@functools.cache
def _writes_into_first(func: Any) -> bool:
    arguments = func._schema.arguments
    into = arguments[0].alias_info if arguments else None
    return into is not None and bool(into.is_write)


def _one_place(func: Any, tensors: list[Tensor]) -> torch.device:
    """Return the place of tensors that must share it, or raise as torch would."""
    places = {tensor.device for tensor in tensors}
    if len(places) < 2:
        return places.pop() if places else CPU
    numbers = [t for t in tensors if t.device == CPU and t.dim() == 0]
    rest = {t.device for t in tensors if not any(t is number for number in numbers)}
    written = _writes_into_first(func) and tensors[0].device == CPU
    if _takes_a_number(func) and len(numbers) == 1 and len(rest) == 1 and not written:
        return rest.pop()
    raise MixedDevicesError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{' and '.join(sorted(map(str, places)))} ({func}: "
        f"{', '.join(f'{tuple(t.shape)} on {t.device}' for t in tensors)})"
    )


def _place_of_result(
    func: Any, args: tuple[Any, ...], wanted: Any, tensors: list[Tensor]
) -> torch.device:
    if func in _COPIES:
        return args[0].device if wanted is None else _placed(wanted)
    if func in _INDEXED:
        place: torch.device = args[0].device
        for index in _tensors(args[1]):
            if index.device not in (place, CPU):
                raise MixedDevicesError(
                    f"indices should be either on cpu or on the same device as the indexed tensor "
                    f"({place}), not on {index.device}"
                )
        if len(args) > 2 and not (args[2].device == CPU and args[2].dim() == 0):
            _one_place(func, [args[0], args[2]])
        return place
    found = _one_place(func, tensors)
    return found if wanted is None else _placed(wanted)


def _require_generator(func: Any, generator: Any, place: torch.device) -> None:
    own = _generators.get(generator._cdata, CPU)
    if own.type != place.type:
        raise MixedDevicesError(
            f"Expected a '{place.type}' device type for generator but found '{own.type}' ({func})"
        )


def _numbers(value: Any) -> Any:
    """Return an argument with the numbers of pretended tensors in their stead."""
    if isinstance(value, PretendTensor):
        return value.held
    if isinstance(value, (list, tuple)):
        return type(value)(_numbers(each) for each in value)
    return value


def compute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operation gives, where it would lie.

    Raises:
        MixedDevicesError: the operation's arguments lie on several devices.
    """
    tensors = _tensors((*args, *kwargs.values()) if kwargs else args)
    place = _place_of_result(func, args, kwargs.get("device"), tensors)
    if kwargs.get("generator") is not None:
        _require_generator(func, kwargs["generator"], place)
    owners = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, PretendTensor)}
    if not owners and place.type == "cpu":
        return func(*args, **kwargs)
    if torch.Tag.inplace_view in func.tags:
        raise NotImplementedError(f"{func} changes a pretended tensor's shape in place")
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": CPU if place.type == "cuda" else place}
    given = {key: _numbers(value) for key, value in kwargs.items()}
    return _put(func(*map(_numbers, args), **given), place, owners)


def _put(found: Any, place: torch.device, owners: dict[int, PretendTensor]) -> Any:
    """Return an operation's result at its place; what was written in place, as it was given."""
    if isinstance(found, Tensor):
        if id(found) in owners:
            return owners[id(found)]
        return found if place.type == "cpu" else PretendTensor(found, place)
    if isinstance(found, (list, tuple)):
        return type(found)(_put(each, place, owners) for each in found)
    return found


class PretendDevices(TorchDispatchMode):
    """The mode that every operation passes."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return compute(func, args, kwargs or {})


class _AsCalled(TorchFunctionMode):
    """What torch's Python interface decides by itself, before any operation: here as for CUDA."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], PretendTensor):
            if func is Tensor.tolist:
                return args[0].held.tolist()
            if func is Tensor.__repr__:
                return f"{args[0].held!r} on {args[0].device}"
            if func is Tensor.__format__ and args[0].dim() == 0:
                return format(args[0].item(), args[1])
            if func is Tensor.untyped_storage:  # whose address tells shared tensors apart
                return args[0].held.untyped_storage()
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError(
                    f"can't convert {args[0].device} device type tensor to numpy. Use Tensor.cpu() "
                    "to copy the tensor to host memory first."
                )
        if func is torch.tensor:
            args = (_with_numbers(args[0]), *args[1:])
        if func is Tensor.cuda:
            wanted = args[1] if len(args) > 1 else kwargs.get("device")
            return args[0].to(_inside(_placed("cuda" if wanted is None else wanted)))
        if func is torch.device and isinstance(args[0], int):
            return torch.device("cuda", *args)
        if func is Tensor.to and len(args) > 1 and type(args[1]) is int:
            args = (args[0], _inside(_placed(args[1])), *args[2:])
        if func is Tensor.to or "device" in kwargs:
            args = tuple(_numbered(value) for value in args)
            kwargs = {key: _numbered(value) for key, value in kwargs.items()}
        if type(kwargs.get("device")) is int:
            kwargs["device"] = _inside(_placed(kwargs["device"]))
        return func(*args, **kwargs)


def _with_numbers(data: Any) -> Any:
    """Return what a tensor is made of, with the numbers of the tensors in its lists."""
    if isinstance(data, (list, tuple)):
        return [_with_numbers(value) for value in data]
    return data.held.tolist() if isinstance(data, PretendTensor) else data


def _numbered(value: Any) -> Any:
    """Return a device as torch's own code is to see it, and anything else as it is."""
    if isinstance(value, str) and not value.startswith("cuda"):
        return value
    return _inside(_placed(value)) if isinstance(value, (torch.device, str)) else value


@contextmanager
def pretend_devices() -> Iterator[None]:
    """Have two GPUs while the context is open: torch says so, and tensors can be put on them."""
    real: Callable[..., Any] = torch._C._only_lift_cpu_tensors  # type: ignore[attr-defined]
    before = real()
    # `torch.tensor(..., device=...)` is made on the CPU then, and passes the mode on its way.
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    patched = {
        "is_available": lambda: True,
        "device_count": lambda: N_DEVICES,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_properties": lambda device=None: SimpleNamespace(is_integrated=False),
        "mem_get_info": lambda device=None: (2**33, 2**33),
    }
    try:
        with (
            mock.patch.multiple(torch.cuda, **patched),
            mock.patch.object(torch, "Generator", PretendGenerator),
            PretendDevices(),
            _AsCalled(),
        ):
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)  # type: ignore[attr-defined]
        torch.__future__.set_swap_module_params_on_conversion(swaps)
