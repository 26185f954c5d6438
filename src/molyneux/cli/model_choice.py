"""Which model a command works with: the options that say so, and loading what they name."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from molyneux.cli.options import DEFAULT_PRESET, note

if TYPE_CHECKING:
    from molyneux.adapters.language_model import LanguageModel
    from molyneux.models.seeing_model import SeeingModel
    from molyneux.neurons.decoding_rule import Decoding

READS = ("preset", "language_model", "vlm", "centre", "decoding", "dtype", "device")
"""Options of a command that needs a language model alone."""
SEES = (
    *("preset", "language_model", "encoder", "projection"),
    *("vlm", "prompt", "centre", "decoding", "dtype", "device"),
)
"""Options of a command that is shown photos."""
COMPARES = (*SEES, "reference")
"""Options of a command that compares a photo's units with other photos'."""


@dataclass(frozen=True)
class ModelChoice:
    """A preset, parts, or a vision-language model: what a command was asked to work with.

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

    def load(self) -> SeeingModel:
        """Return the model that sees, saying what takes long.

        Raises:
            UsageError: more than one model is named, or parts that do not make a whole.
            WeightsError: weights are missing, corrupt, or do not belong together.
            AdapterError: the model's family is not known.
        """
        self.require_one()
        if self.vlm is not None:
            from molyneux.models.vlm_loading import load_vlm
            from molyneux.neurons.decoding_rule import DEFAULT_DECODING

            return load_vlm(
                self.vlm,
                **self._placed(),
                prompt=self.prompt,
                centre=self.centre,
                reference=self.reference,
                decoding=self._decoding() or DEFAULT_DECODING,
                note=note,
            )
        from molyneux.models.captioner import Captioner

        chosen: dict[str, Any] = {
            "reference": self.reference,
            "decoding": self._decoding(),
            "dtype": self.dtype,
            "device": self.device,
            "note": note,
        }
        if self.language_model is None or self.encoder is None or self.projection is None:
            preset = self.preset or DEFAULT_PRESET
            return Captioner.load(preset, projection=self.projection, **chosen)
        return Captioner.from_sources(self.language_model, self.encoder, self.projection, **chosen)

    def load_language(self) -> tuple[LanguageModel, Decoding]:
        """Return the language model alone, and how its units are decoded.

        Raises:
            UsageError: more than one model is named, or a file where a folder is needed.
            WeightsError: weights are missing or corrupt.
            AdapterError: the model's family is not known.
        """
        from molyneux.checkpoints.placement import dtype_named, place_named
        from molyneux.models.parts import load_language
        from molyneux.models.presets import find_preset
        from molyneux.neurons.decoding_rule import DEFAULT_DECODING

        self.require_alternatives()
        asked = self._decoding()
        if self.vlm is not None:
            seeing = self.load()
            return seeing.language_model, seeing.decoding
        chosen = find_preset(self.preset or DEFAULT_PRESET)
        number, place = dtype_named(self.dtype), place_named(self.device)
        model, _, _ = load_language(chosen, self.language_model, number, note, place.device_map)
        place.put(model.model)
        own = chosen.decoding if self.language_model is None else DEFAULT_DECODING
        return model, asked or own

    def require_one(self) -> None:
        """Refuse what does not name exactly one model, before anything is loaded.

        Raises:
            UsageError: says which options go together.
        """
        from molyneux.errors import UsageError

        self.require_alternatives()
        if self.language_model is None and self.encoder is None:
            return
        parts = {
            "--language-model": self.language_model,
            "--encoder": self.encoder,
            "--projection": self.projection,
        }
        missing = [name for name, value in parts.items() if value is None]
        if missing:
            raise UsageError(
                f"parts come together: {', '.join(parts)}; give {' and '.join(missing)} too, or a "
                "--preset alone"
            )

    def require_alternatives(self) -> None:
        """Refuse options that do not go together, whether or not they name a whole model.

        Raises:
            UsageError: says which.
        """
        from molyneux.errors import UsageError

        parts = (self.language_model, self.encoder)
        if self.vlm is not None and (self.preset, *parts, self.projection) != (None,) * 4:
            raise UsageError(
                "--vlm brings its own language model, encoder and projector: give it without "
                "--preset, --language-model, --encoder and --projection"
            )
        if self.preset is not None and parts != (None, None):
            raise UsageError(
                f"give --preset {self.preset} or parts (--language-model, --encoder, "
                "--projection), not both"
            )
        if self.prompt is not None and self.vlm is None:
            raise UsageError(
                "--prompt goes with --vlm: a projection was trained with one text, which is always "
                "the one that follows its patches; leave --prompt out"
            )
        if self.centre is not None and self.vlm is None:
            raise UsageError(
                "--centre goes with --vlm: any other encoder says itself what it sees of a photo; "
                "leave --centre out"
            )
        vlm = None if self.vlm is None else Path(self.vlm).expanduser()
        if vlm is not None and vlm.is_file() and vlm.suffix != ".gguf":
            raise UsageError(
                f"{vlm} is a single file; --vlm takes the folder of the whole model, with its "
                f"config.json, weights, tokenizer and preprocessor_config.json: try {vlm.parent}"
            )

    def require_reference(self) -> None:
        """Refuse a model without a reference table, before anything is loaded.

        Raises:
            UsageError: says which command measures one.
        """
        from molyneux.errors import UsageError
        from molyneux.models.presets import find_preset

        self.require_one()
        if self.reference is not None:
            return
        if self.vlm is None and self.projection is None:
            preset = find_preset(self.preset or DEFAULT_PRESET)
            # Its own table was measured with its own decoding.
            if preset.reference is not None and self._decoding() in (None, preset.decoding):
                return
        raise UsageError(
            "a study needs a reference table, and this model brings none: "
            f"`{self._measuring()}` measures one on 200 photos or more; then give it with "
            "--reference TABLE/reference.safetensors"
        )

    def _measuring(self) -> str:
        """Return the command that measures a reference table of this model."""
        words = ["molyneux", "reference", "DATA", "--out", "TABLE"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def _decoding(self) -> Decoding | None:
        """Return how units are decoded, where it was asked for."""
        from molyneux.neurons.decoding_rule import Decoding

        return None if self.decoding is None else Decoding.parse(self.decoding)

    def _placed(self) -> dict[str, Any]:
        """Return dtype and device, or device map, as loaders take them."""
        from molyneux.checkpoints.placement import dtype_named, place_named

        place = place_named(self.device)
        where = {"device_map": "auto"} if place.split else {"device": str(place.device)}
        return {"dtype": str(dtype_named(self.dtype)).removeprefix("torch."), **where}


def takes_model(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that gives a command options for choosing its model.

    The command's own parameter `model: ModelChoice` is made of them.

    Args:
        names: attributes of `ModelChoice` that become options, such as `SEES`.
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
                default=field.default,
                annotation=offered[field.name],
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
