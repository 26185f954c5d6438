"""A run folder as one HTML page that opens from disk; no model is needed, and torch neither."""

from __future__ import annotations

from molyneux.report.page import write_report

__all__ = ["write_report"]
