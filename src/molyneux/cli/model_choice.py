"""Which model a command works with: the options that say so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import typer

from molyneux.cli.output import note
from molyneux.models import DEFAULT_PRESET, choice

READS = ("preset", "language_model", "vlm", "centre", "decoding", "lens", "dtype", "device")
"""Options of a command that decodes units of a language model alone."""
SEES = (
    *("preset", "language_model", "encoder", "projection"),
    *("vlm", "prompt", "centre", "decoding", "dtype", "device"),
)
"""Options of a command that is shown photos."""
COMPARES = (*SEES, "reference")
"""Options of a command that compares a photo's units with other photos'."""
TRUSTS = ("trust",)
"""Option of a command that says how often its words are right."""


@dataclass(frozen=True)
class ModelChoice(choice.ModelChoice):
    """What a command was asked to work with.

    Each attribute is an option of every command that `takes_model` offers it to.
    """

    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help=f"Which parts; `molyneux models` lists them; {DEFAULT_PRESET} if none are given.",
            show_default=False,
        ),
    ] = None
    language_model: Annotated[
        str | None,
        typer.Option(
            "--language-model", help="Instead of a preset: a folder, a GGUF file or a hub name."
        ),
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Instead of a preset: a folder or hub name."),
    ] = None
    projection: Annotated[
        Path | None,
        typer.Option("--projection", help="Another than the preset's, or that of the parts given."),
    ] = None
    vlm: Annotated[
        str | None,
        typer.Option(
            "--vlm",
            help="A vision-language model instead of a preset: its folder, or its hub name.",
        ),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="With --vlm: what it continues, {image} standing for the photo; else its family's "
            "plain one.",
        ),
    ] = None
    centre: Annotated[
        int | None,
        typer.Option(
            "--centre",
            min=1,
            help="With --vlm: sides in pixels of the central square that is shown, in families "
            "that keep every photo's shape (Qwen2-VL).",
        ),
    ] = None
    decoding: Annotated[
        str | None,
        typer.Option(
            "--decoding",
            help="What takes part when units are decoded, of final_norm,bias,written; plain for "
            "the bare row; the model's own if not given.",
        ),
    ] = None
    lens: Annotated[
        str | None,
        typer.Option(
            "--lens",
            help="What units are decoded through at patches: none (the head alone), norm, jacobian "
            "(the preset's, if it has one), or a file of `molyneux lens build`.",
        ),
    ] = None
    dtype: Annotated[
        str, typer.Option("--dtype", help="Of the language model: float32, bfloat16 or float16.")
    ] = "float32"
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="cpu, cuda, auto, or split over all GPUs and the memory beside them; the default "
            "preset's numbers are the cpu's.",
        ),
    ] = "cpu"
    reference: Annotated[
        Path | None,
        typer.Option("--reference", help="Another reference table than the preset's."),
    ] = None
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust", help="Another trust scale than the preset's; `molyneux trust` makes one."
        ),
    ] = None

    def begin(self, *, sees: bool = True) -> None:
        """Refuse what is wrong, then say what is loaded: importing torch alone takes seconds."""
        self.require_ready(sees=sees)
        note(f"loading torch and {self.title}")

    def called(self, name: str) -> str:
        """Return an attribute as the option that gives it."""
        return f"--{name.replace('_', '-')}"

    def note(self, line: str) -> None:
        """Say a line of progress on stderr."""
        note(line)


def takes_model(
    *names: str, others: Mapping[str, tuple[Any, Any]] = MappingProxyType({})
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that gives a command options for choosing its model.

    The command's own parameter `model: ModelChoice` is made of them.

    Args:
        names: attributes of `ModelChoice` that become options, such as `SEES`.
        others: annotation and default of those that mean something else to the command.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = get_type_hints(command, include_extras=True)
        offered = get_type_hints(ModelChoice, include_extras=True)
        parameters = [
            parameter.replace(annotation=own[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in inspect.signature(command).parameters.items()
            if name != "model"
        ]
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=others[field.name][1] if field.name in others else field.default,
                annotation=others[field.name][0] if field.name in others else offered[field.name],
            )
            for field in fields(ModelChoice)
            if field.name in names
        ]

        @wraps(command)
        def chosen(**given: Any) -> int:
            model = ModelChoice(**{name: given.pop(name) for name in names})
            return command(**given, model=model)

        # What typer reads the options from.
        signature = inspect.Signature(parameters, return_annotation=int)
        chosen.__signature__ = signature  # type: ignore[attr-defined]
        chosen.__annotations__ = {each.name: each.annotation for each in parameters}
        return chosen

    return decorate
