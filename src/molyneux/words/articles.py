"""The article ahead of a noun: "a dog", "an umbrella", "a uniform"."""

from __future__ import annotations

_AS_CONSONANTS = ("eu", "one", "uku", "uni", "urin", "use", "ute")
_AS_VOWELS = ("heir", "hono", "hour")


def article_of(noun: str) -> str:
    """Return the indefinite article of a noun, by its first letters."""
    start = noun.strip().lower()
    if start.startswith(_AS_CONSONANTS):
        return "a"
    return "an" if start.startswith(("a", "e", "i", "o", "u", *_AS_VOWELS)) else "a"
