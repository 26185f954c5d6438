"""Molyneux: find, decode and switch off the neurons that let a text-only language model see.

Everything public is here. Importing costs nothing: torch and transformers are loaded when a name
that needs them is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from molyneux.adapters import (
        Family,
        LanguageModel,
        VisionFamily,
        adapt,
        register_family,
        register_vision_family,
    )
    from molyneux.data.open import open_dataset
    from molyneux.errors import MolyneuxError
    from molyneux.model import Model, load
    from molyneux.models.captioner import Captioner
    from molyneux.models.vlm import VisionLanguageModel
    from molyneux.models.vlm_loading import load_vlm
    from molyneux.neurons.ablation import Intervention, Scaled, ablate_units
    from molyneux.neurons.attribution import Target, attribute_units
    from molyneux.neurons.decoding import decode_units, find_writers
    from molyneux.neurons.decoding_rule import Decoding
    from molyneux.neurons.receptive_fields import receptive_fields
    from molyneux.neurons.unit import Unit, top_units

_PLACES = {
    "Captioner": "models.captioner",
    "Decoding": "neurons.decoding_rule",
    "Family": "adapters",
    "Intervention": "neurons.ablation",
    "LanguageModel": "adapters",
    "Model": "model",
    "MolyneuxError": "errors",
    "Scaled": "neurons.ablation",
    "Target": "neurons.attribution",
    "Unit": "neurons.unit",
    "VisionFamily": "adapters",
    "VisionLanguageModel": "models.vlm",
    "ablate_units": "neurons.ablation",
    "adapt": "adapters",
    "attribute_units": "neurons.attribution",
    "decode_units": "neurons.decoding",
    "find_writers": "neurons.decoding",
    "load": "model",
    "load_vlm": "models.vlm_loading",
    "open_dataset": "data.open",
    "receptive_fields": "neurons.receptive_fields",
    "register_family": "adapters",
    "register_vision_family": "adapters",
    "top_units": "neurons.unit",
}

__all__ = [
    "Captioner",
    "Decoding",
    "Family",
    "Intervention",
    "LanguageModel",
    "Model",
    "MolyneuxError",
    "Scaled",
    "Target",
    "Unit",
    "VisionFamily",
    "VisionLanguageModel",
    "ablate_units",
    "adapt",
    "attribute_units",
    "decode_units",
    "find_writers",
    "load",
    "load_vlm",
    "open_dataset",
    "receptive_fields",
    "register_family",
    "register_vision_family",
    "top_units",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("molyneux")
    if name not in _PLACES:
        raise AttributeError(f"module 'molyneux' has no attribute {name!r}")
    return getattr(import_module(f"molyneux.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
