"""What a measurement was made on, and that it is used with nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from molyneux.errors import WeightsError


def require_same(
    what: str,
    recorded: Mapping[str, Any],
    expected: Mapping[str, Any],
    advice: str,
    unsaid: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Refuse a measurement of other parts than those it is to be used with.

    Args:
        what: was measured, as in "the reference table".
        advice: what to do instead.
        unsaid: what holds of records that do not say it.

    Raises:
        WeightsError: names the part that differs.
    """
    for key, value in expected.items():
        name, found, wanted = _difference(key, recorded.get(key, unsaid.get(key)), value)
        if found != wanted:
            raise WeightsError(
                f"{what} was measured with another {name} ({_short(found)}, not {_short(wanted)}); "
                f"{advice}"
            )


def _difference(name: str, found: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Return the first thing that differs, within records its own name."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                return key, found.get(key), wanted.get(key)
    return name, found, wanted


def _short(value: Any) -> str:
    text = str(value)
    # A hash says as much by its beginning; of a prompt its end may be what differs.
    return f"{text[:16]}..." if len(text) == 64 else text[:200]
