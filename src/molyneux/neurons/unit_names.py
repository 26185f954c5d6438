"""How a unit's name reads; nothing of a model is needed for that."""

from __future__ import annotations

import re

from molyneux.checks import is_a, shown
from molyneux.errors import UsageError

_NAME = re.compile(r"L(\d{1,18})\.u(\d{1,18})(-?)", re.IGNORECASE | re.ASCII)


def read_name(name: str) -> tuple[int, int, int]:
    """Return the layer, the unit and the sign of a name: `L12.u905-` is the negative direction.

    Raises:
        UsageError: it does not read as a unit.
    """
    name = is_a("a unit's name", name, str, "one, as L12.u905")
    match = _NAME.fullmatch(name.strip())
    if not match:
        raise UsageError(f"{shown(name)} is not a unit; write a layer and a unit, as in L12.u905")
    return int(match[1]), int(match[2]), -1 if match[3] else 1
