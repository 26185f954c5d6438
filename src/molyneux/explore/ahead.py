"""Reading what pages will ask for before they ask, on a thread that ends with the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from molyneux.pages.views import Views

_PAUSE = 0.002  # seconds between pieces, in which answers are made
_PATIENCE = 5  # seconds for one piece to be read when the server ends


@contextmanager
def reading_ahead(views: Views) -> Iterator[threading.Thread]:
    """Read the views' runs on another thread, as far as it comes."""
    ended = threading.Event()

    def read() -> None:
        # What is damaged is told to whoever asks for it.
        with suppress(Exception):
            for _ in views.ahead():
                if ended.wait(_PAUSE):
                    return

    thread = threading.Thread(target=read, name="molyneux-ahead", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        ended.set()
        thread.join(timeout=_PATIENCE)
