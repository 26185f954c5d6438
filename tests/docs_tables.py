"""Tables in the docs that tests write, and hold to what the code says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def require(page: Path, name: str, table: str, request: pytest.FixtureRequest) -> None:
    """Check that a page holds a table, between two comments; `--rewrite-docs` writes it there."""
    begin, end = f"<!-- table of {name}: begin -->\n", f"<!-- table of {name}: end -->\n"
    text = page.read_text(encoding="utf-8")
    assert text.count(begin) == text.count(end) == 1
    ahead, _, rest = text.partition(begin)
    made = ahead + begin + table + end + rest.partition(end)[2]
    if request.config.getoption("--rewrite-docs"):
        page.write_text(made, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made, "run this file with --rewrite-docs"
