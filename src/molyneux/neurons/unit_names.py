"""How a unit's name reads; nothing of a model is needed for that."""

from __future__ import annotations

import re

from molyneux.errors import UsageError

_NAME = re.compile(r"L(\d+)\.u(\d+)(-?)", re.IGNORECASE)


def read_name(name: str) -> tuple[int, int, int]:
    """Return the layer, the unit and the sign of a name: `L12.u905-` is the negative direction.

    Raises:
        UsageError: it does not read as a unit.
    """
    match = _NAME.fullmatch(name.strip())
    if not match:
        raise UsageError(f"{name!r} is not a unit; write a layer and a unit, as in L12.u905")
    return int(match[1]), int(match[2]), -1 if match[3] else 1
