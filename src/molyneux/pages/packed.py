"""Data as a page holds it inside: rows of one kind share their names and their repeated texts.

Two thirds of a photo's data are lists of units whose rows all have the same names, and a unit
that stands in several lists has its tokens in each. `data.js` unpacks.
"""

from __future__ import annotations

from typing import Any

LEAST = 4
"""Rows that a list has at least to be packed."""
COLUMNS, ROWS = "\u0001columns", "\u0001rows"


def packed(data: Any) -> Any:
    """Return data in which a list of objects with the same names is their names, once, and rows."""
    if isinstance(data, dict):
        return {name: packed(value) for name, value in data.items()}
    if not isinstance(data, list | tuple):
        return data
    if len(data) >= LEAST and all(isinstance(row, dict) for row in data):
        columns = list(data[0])
        if all(list(row) == columns for row in data):
            return {COLUMNS: columns, ROWS: [[packed(v) for v in row.values()] for row in data]}
    return [packed(value) for value in data]
