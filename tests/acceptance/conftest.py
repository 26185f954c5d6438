"""The real weights are fetched and converted by one process, while its neighbours wait."""

from __future__ import annotations

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> FileLock:
    """Held while weights are made ready.

    The cache bears two that make them at once; but both would fetch and convert.
    """
    return FileLock(tmp_path_factory.getbasetemp().parent / "fetching.lock")
