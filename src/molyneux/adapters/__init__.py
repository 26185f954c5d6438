"""Language models: one declarative row per family, resolved and proved by intervention."""

from molyneux.adapters.families import FAMILIES, Family, find_family, register_family
from molyneux.adapters.language_model import LanguageModel

__all__ = ["FAMILIES", "Family", "LanguageModel", "find_family", "register_family"]
