"""The only place that registers hooks.

All context managers register on entry and remove on every exit: success, an error in the
caller, an error in the model. The model's own code runs unmodified.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Key = TypeVar("Key", bound=Hashable)


def _first(value: Any) -> Tensor:
    first: Tensor = value[0] if isinstance(value, tuple) else value
    return first


@contextmanager
def capture(
    modules: Mapping[Key, nn.Module], at: Literal["input", "output"] = "input"
) -> Iterator[dict[Key, Tensor]]:
    """Yield a dictionary that each forward pass fills with the modules' inputs or outputs.

    The tensors are the ones the model computed with, still in its graph: `torch.autograd.grad`
    can be taken with respect to them.
    """
    seen: dict[Key, Tensor] = {}
    with ExitStack() as stack:
        for key, module in modules.items():
            if at == "input":

                def keep_input(_: nn.Module, args: Any, key: Key = key) -> None:
                    seen[key] = _first(args)

                stack.callback(module.register_forward_pre_hook(keep_input).remove)
            else:

                def keep_output(_: nn.Module, __: Any, output: Any, key: Key = key) -> None:
                    seen[key] = _first(output)

                stack.callback(module.register_forward_hook(keep_output).remove)
        yield seen


@contextmanager
def edit(
    modules: Mapping[Key, nn.Module],
    change: Callable[[Key, Tensor], Tensor],
    at: Literal["input", "output"] = "input",
) -> Iterator[None]:
    """Replace the modules' inputs by `change(key, input)` while the context is open.

    Or their outputs; of a tuple, its first.
    """
    with ExitStack() as stack:
        for key, module in modules.items():
            if at == "input":

                def replace(_: nn.Module, args: Any, key: Key = key) -> Any:
                    return (change(key, args[0]), *args[1:])

                stack.callback(module.register_forward_pre_hook(replace).remove)
            else:

                def put_out(_: nn.Module, __: Any, output: Any, key: Key = key) -> Any:
                    changed = change(key, _first(output))
                    return (changed, *output[1:]) if isinstance(output, tuple) else changed

                stack.callback(module.register_forward_hook(put_out).remove)
        yield


class _Replaced(TorchFunctionMode):
    """Calls functions of torch through others while it is entered."""

    def __init__(self, functions: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        instead = self.functions.get(func, func)
        return instead(*args, **(kwargs or {}))


@contextmanager
def replaced(functions: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
    """Have others called instead of some of torch's functions while the context is open.

    For what a model's code computes without a module that a hook could stand at. What is called
    instead may call the function itself.
    """
    with _Replaced(functions):
        yield
