"""Ends asked for from outside, all alike: Ctrl-C, SIGTERM (schedulers, `timeout`), SIGHUP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C, as shells have it."""
_LIKE_CTRL_C = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@dataclass
class Ended:
    """Which signal ended a command, if one did."""

    number: signal.Signals = signal.SIGINT

    @property
    def status(self) -> int:
        """The exit status that says so."""
        return 128 + self.number


@contextmanager
def like_ctrl_c() -> Iterator[Ended]:
    """Raise KeyboardInterrupt in the block for SIGTERM and SIGHUP too, so that all clean up alike.

    Once: what asks again while it is cleaned up is not heard, Ctrl-C apart. A signal that the
    process was started to ignore (`nohup`) stays ignored.
    """
    ended = Ended()
    before: dict[int, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        ended.number = signal.Signals(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for each in _LIKE_CTRL_C:
            if signal.getsignal(each) is signal.SIG_DFL:
                before[each] = signal.signal(each, interrupt)
    try:
        yield ended
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
