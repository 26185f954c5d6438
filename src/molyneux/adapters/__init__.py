"""Language and vision-language models: one declarative row per family, proved by intervention."""

from molyneux.adapters.families import FAMILIES, Family, find_family, register_family
from molyneux.adapters.language_model import LanguageModel
from molyneux.adapters.vlm_families import VisionFamily, register_vision_family

__all__ = [
    "FAMILIES",
    "Family",
    "LanguageModel",
    "VisionFamily",
    "find_family",
    "register_family",
    "register_vision_family",
]
