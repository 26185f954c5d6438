"""What a model is, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sees(projection: Mapping[str, Any], encoder: str) -> str:
    """Say through what a language model sees, to be read after its name."""
    if "projector" in projection:
        return "sees through its own vision network and projector"
    return f"frozen, sees through {encoder} and one linear layer"
