"""What exists ready-made: parts that belong together, their sizes, licences and limits."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from molyneux.errors import UsageError
from molyneux.models import efficientnet, smollm2
from molyneux.models.cache import RECORD, cache_dir

_PROJECTIONS = Path(__file__).parent / "projections"


@dataclass(frozen=True)
class Preset:
    """A language model, an image encoder and the projection trained to join them.

    Attributes:
        name: what commands and `Captioner.load` take.
        language_model: which language model, and from which published weights.
        encoder: which image encoder.
        projection: the projection's file in the installed package; its header holds the full
            provenance, the exact prompt layout included.
        reference: the table of reference scores in the installed package, if there is one.
        layout: the prompt layout in words.
        begin: the token ahead of the patches; a projection made for another is refused.
        download_mb: fetched the first time, if the language model's wheel is not installed.
        cache_mb: kept in the cache directory.
        licences: part -> licence, as its publisher states it.
        limits: what must be said wherever the preset is described.
        folders: names of its folders in the cache directory.
    """

    name: str
    language_model: str
    encoder: str
    projection: Path
    reference: Path | None
    layout: str
    begin: str | None
    download_mb: int
    cache_mb: int
    licences: MappingProxyType[str, str]
    limits: tuple[str, ...]
    folders: tuple[str, ...]


_SMOLLM2_EFFNET = Preset(
    name="smollm2-effnet",
    language_model="SmolLM2-135M-Instruct Q4_1",
    encoder="efficientnet-lite0",  # as the encoder names itself in provenance records
    projection=_PROJECTIONS / "smollm2-effnet.safetensors",
    reference=_PROJECTIONS / "smollm2-effnet.reference.safetensors",
    layout='<|im_start|>, then 49 patches, then "A picture of"',
    begin="<|im_start|>",
    download_mb=93,
    cache_mb=560,
    licences=MappingProxyType(
        {
            "language model": "Apache-2.0",
            "encoder code": "Apache-2.0",
            "encoder weights": "Apache-2.0 (the licence file of the package that carries them; "
            "its metadata names none), converted from Google's TensorFlow weights",
            "projection": "MIT, as molyneux itself",
        }
    ),
    limits=(
        "The encoder is category-supervised, not self-supervised as the paper's BEiT is, so "
        "whether its image prompts decode to words says nothing about the paper's claim that "
        "they do not.",
        "The encoder's 49 cells see far beyond their own square, so heat maps localise weakly.",
    ),
    folders=(smollm2.FOLDER, efficientnet.FOLDER),
)

PRESETS: MappingProxyType[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (_SMOLLM2_EFFNET,)}
)


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        UsageError: there is none; the message names those that are near, or all.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(PRESETS)};"
    raise UsageError(f"there is no preset {name!r}; {hint} `molyneux models` lists them")


def is_cached(preset: Preset) -> bool:
    """Return whether everything that is fetched for a preset is in the cache directory.

    Only looks; the files are verified when they are loaded.
    """
    return all((cache_dir() / folder / RECORD).is_file() for folder in preset.folders)
