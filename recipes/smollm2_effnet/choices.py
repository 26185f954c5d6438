"""Choices that follow from SHA-256 digests, so that two runs make the same ones."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path


def digest(text: str) -> str:
    """The SHA-256 of a text, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def lowest(names: Iterable[str], count: int) -> set[str]:
    """The `count` names whose base names have the lowest digests."""
    return set(sorted(names, key=lambda name: (digest(Path(name).name), name))[:count])


def seeded(text: str) -> random.Random:
    """A random generator that depends on the text only."""
    return random.Random(int(digest(text)[:16], 16))
