"""Serving on this machine alone, until it is ended."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from molyneux.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
PORT = 8631
"""Where it serves if nothing is asked for, or at any free port where this one is taken."""
_PATIENCE = 2  # seconds for answers that are on their way when it ends


def listen(port: int | None = None) -> socket.socket:
    """Return a socket on the loopback interface; no other machine can connect to it.

    Args:
        port: which; `PORT` if None, or any that is free if that is taken.

    Raises:
        UsageError: the port that was asked for cannot be had.
    """
    for wanted in (PORT, 0) if port is None else (port,):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, wanted))
        except OSError as error:
            found.close()
            if port is None and wanted:
                continue
            raise UsageError(
                f"cannot serve at port {wanted} ({error.strerror}); give --port another number"
            ) from error
        found.listen(128)
        return found
    raise AssertionError("any free port was tried last")


def serve(app: ASGIApp, at: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM; then answers on their way are given a moment.

    Args:
        ready: called once it answers.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_PATIENCE,
        limit_concurrency=64,
        h11_max_incomplete_event_size=16_384,
    )
    with at, suppress(KeyboardInterrupt):
        Server(config).run([at])
