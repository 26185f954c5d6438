"""Language and vision-language models: one declarative row per family, proved by intervention."""

from molyneux.adapters.adapt import adapt
from molyneux.adapters.encoder_families import EncoderFamily
from molyneux.adapters.families import FAMILIES, Family
from molyneux.adapters.language_model import LanguageModel
from molyneux.adapters.registry import (
    find_family,
    register_encoder_family,
    register_family,
    register_vision_family,
)
from molyneux.adapters.vlm_families import VisionFamily

__all__ = [
    "FAMILIES",
    "EncoderFamily",
    "Family",
    "LanguageModel",
    "VisionFamily",
    "adapt",
    "find_family",
    "register_encoder_family",
    "register_family",
    "register_vision_family",
]
