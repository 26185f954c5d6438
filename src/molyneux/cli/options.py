"""Options that several verbs share, and how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from molyneux.adapters.language_model import LanguageModel
    from molyneux.models.presets import Decoding
    from molyneux.models.seeing import SeeingModel

Photos = Annotated[
    list[Path], typer.Argument(help="Photos.", metavar="IMAGE...", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Preset = Annotated[str, typer.Option("--preset", help="Which parts; `molyneux models` lists them.")]
PresetOrParts = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Which parts; `molyneux models` lists them; smollm2-effnet if none are given.",
        show_default=False,
    ),
]
LanguageModelSource = Annotated[
    str | None,
    typer.Option(
        "--language-model", help="Instead of a preset: a folder, a GGUF file or a hub name."
    ),
]
EncoderSource = Annotated[
    str | None,
    typer.Option("--encoder", help="Instead of a preset: a folder or hub name."),
]
VisionLanguage = Annotated[
    str | None,
    typer.Option(
        "--vlm",
        help="A vision-language model instead of a preset: its folder, or its name on the hub.",
        show_default=False,
    ),
]
Dtype = Annotated[
    str, typer.Option("--dtype", help="Of the language model: float32, bfloat16 or float16.")
]
Device = Annotated[
    str,
    typer.Option("--device", help="cpu, cuda or auto; the default preset's numbers are the cpu's."),
]
ProjectionFile = Annotated[
    Path | None,
    typer.Option("--projection", help="Another than the preset's, or that of the parts given."),
]
ReferenceFile = Annotated[
    Path | None, typer.Option("--reference", help="Another reference table than the preset's.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder; molyneux-runs/<time> here if not given."),
]
DEFAULT_PRESET = "smollm2-effnet"


def note(line: str) -> None:
    """Say a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a line of data on stdout."""
    print(text)  # noqa: T201


def show_json(document: Any) -> None:
    """Print a document on stdout."""
    show(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def load_captioner(
    preset: str | None,
    projection: Path | None = None,
    reference: Path | None = None,
    *,
    language_model: str | None = None,
    encoder: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    vlm: str | None = None,
) -> SeeingModel:
    """Return the model that sees, with which a command works, saying what takes long.

    A preset, parts, or a vision-language model.

    Raises:
        UsageError: more than one of them is given, or parts that do not make a whole.
    """
    from molyneux.errors import UsageError
    from molyneux.models.captioner import Captioner

    if vlm is not None:
        if any(part is not None for part in (preset, language_model, encoder, projection)):
            raise UsageError(
                "--vlm brings its own language model, encoder and projector: give it without "
                "--preset, --language-model, --encoder and --projection"
            )
        return _load_vlm(vlm, reference, dtype, device)
    if language_model is None and encoder is None:
        return Captioner.load(
            preset or DEFAULT_PRESET,
            projection=projection,
            reference=reference,
            dtype=dtype,
            device=device,
            note=note,
        )
    _require_no_preset(preset)
    given = {"--language-model": language_model, "--encoder": encoder, "--projection": projection}
    missing = [name for name, value in given.items() if value is None]
    if language_model is None or encoder is None or projection is None:
        raise UsageError(
            f"parts come together: {', '.join(given)}; give {' and '.join(missing)} too, or a "
            "--preset alone"
        )
    return Captioner.from_sources(
        language_model,
        encoder,
        projection,
        reference=reference,
        dtype=dtype,
        device=device,
        note=note,
    )


def _load_vlm(vlm: str, reference: Path | None, dtype: str, device: str) -> SeeingModel:
    from molyneux.models.placement import device_named, dtype_named
    from molyneux.models.vlm_loading import load_vlm
    from molyneux.neurons.reference import load_reference

    number = str(dtype_named(dtype)).removeprefix("torch.")
    seeing = load_vlm(vlm, dtype=number, device=str(device_named(device)), note=note)
    return seeing if reference is None else seeing.with_reference(load_reference(reference))


def load_language(
    preset: str | None,
    language_model: str | None = None,
    *,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[LanguageModel, Decoding]:
    """Return the language model of a command that needs no photo, and how its units are decoded.

    Raises:
        UsageError: a preset and a language model are given.
    """
    from molyneux.models.captioner import Parts, load_language
    from molyneux.models.placement import device_named, dtype_named
    from molyneux.models.presets import DEFAULT_DECODING, find_preset

    number, place = dtype_named(dtype), device_named(device)
    if language_model is not None:
        _require_no_preset(preset)
        chosen = find_preset(DEFAULT_PRESET)
        model, _, _ = load_language(chosen, language_model, number, note)
        decoding = DEFAULT_DECODING
    else:
        chosen = find_preset(preset or DEFAULT_PRESET)
        decoding = chosen.decoding
        if chosen.published is None:
            model = Parts.load(chosen, number, note).language_model
        else:
            model, _, _ = load_language(chosen, None, number, note)
    model.model.to(place)  # type: ignore[arg-type, unused-ignore]
    return model, decoding


def _require_no_preset(preset: str | None) -> None:
    from molyneux.errors import UsageError

    if preset is not None:
        raise UsageError(
            f"give --preset {preset} or parts (--language-model, --encoder, --projection), not both"
        )
