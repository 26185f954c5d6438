"""Looking at what is chosen of a scorer, and recording it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from molyneux.errors import UsageError


def require_choice(scorer: str, field: str, value: Any, known: Sequence[Any]) -> None:
    """Refuse a value that a scorer does not know.

    Raises:
        UsageError: names those it knows.
    """
    if not any(type(value) is type(one) and value == one for one in known):
        raise UsageError(
            f"{scorer} has no {field} {value!r}; give {' or '.join(map(_written, known))}"
        )


def require_number(scorer: str, field: str, value: Any, least: int, most: int) -> None:
    """Refuse what is no whole number between two.

    Raises:
        UsageError: names them.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(
            f"{scorer} takes a whole number from {least} to {most} as {field}, not {value!r}"
        )


def record_of(scorer: Any) -> dict[str, Any]:
    """Return the name of a scorer and each of its choices."""
    return {"name": scorer.name, **dataclasses.asdict(scorer)}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
