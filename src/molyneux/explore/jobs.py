"""One heavy computation at a time, with a queue that can be seen and left.

A job looks between its steps whether it was cancelled; one that nobody asks after any more, because
its page was closed, is cancelled too.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from molyneux.errors import MolyneuxError, UsageError, is_out_of_memory

State = Literal["waiting", "running", "done", "failed", "cancelled"]
KEPT = 600.0
"""Seconds for which a finished job's result can be read."""
FORGOTTEN = 180.0
"""Seconds without a question after which nobody waits for a job: hidden tabs ask once a minute."""
MOST_WAITING = 16


class CancelledError(Exception):
    """A job ends before it is finished, because that was asked."""


@dataclass(eq=False)
class Job:
    """A computation that was asked for.

    Attributes:
        id: what its page asks after it by.
        work: what it does; it is handed the job, to look whether it goes on.
        note: what it is doing.
        fraction: how far it is, from 0 to 1; None where that is not known.
    """

    work: Callable[[Job], dict[str, Any]]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: State = "waiting"
    note: str = ""
    fraction: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    asked_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    cancelled: bool = False

    def go_on(self, note: str | None = None, fraction: float | None = None) -> None:
        """Say what comes next; end here if the job was cancelled, or nobody asks after it.

        Raises:
            CancelledError: the job is to end.
        """
        if self.cancelled or time.monotonic() - self.asked_at > FORGOTTEN:
            raise CancelledError
        if note is not None:
            self.note = note
        if fraction is not None:
            self.fraction = fraction


class Queue:
    """Jobs, done one after another on a thread of their own."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="molyneux-jobs", daemon=True)
        self._thread.start()

    def add(self, work: Callable[[Job], dict[str, Any]]) -> tuple[Job, int]:
        """Return a new job, and how many are ahead of it.

        Raises:
            UsageError: too many are waiting.
        """
        with self._changed:
            self._forget()
            if len(self._waiting) >= MOST_WAITING:
                raise UsageError(f"{len(self._waiting)} jobs are waiting; cancel some, or wait")
            job = Job(work)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()
            return job, self._place(job)

    def ask(self, name: str) -> dict[str, Any]:
        """Return how far a job is, and its result once it is done.

        Raises:
            UsageError: there is no such job, or it was forgotten.
        """
        with self._changed:
            self._forget()
            job = self._find(name)
            job.asked_at = time.monotonic()
            return {
                "job": job.id,
                "state": job.state,
                "place": self._place(job),
                "note": job.note,
                "fraction": job.fraction,
                "result": job.result,
                "error": job.error,
            }

    def cancel(self, name: str) -> None:
        """Have a job end: at once if it waits, at its next step if it runs.

        Raises:
            UsageError: there is no such job.
        """
        with self._changed:
            job = self._find(name)
            job.cancelled = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._finish(job, "cancelled")

    def close(self) -> None:
        """Cancel everything, and wait a moment for what runs to end."""
        with self._changed:
            self._ended = True
            for job in self._jobs.values():
                job.cancelled = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _find(self, name: str) -> Job:
        if name not in self._jobs:
            raise UsageError("there is no such job, or it ended long ago; ask again")
        return self._jobs[name]

    def _place(self, job: Job) -> int:
        """Return how many jobs are done before this one."""
        if job not in self._waiting:
            return 0
        running = any(each.state == "running" for each in self._jobs.values())
        return self._waiting.index(job) + running

    def _forget(self) -> None:
        now = time.monotonic()
        old = [j for j in self._jobs.values() if j.ended_at and now - j.ended_at > KEPT]
        for job in old:
            del self._jobs[job.id]

    @staticmethod
    def _finish(job: Job, state: State) -> None:
        job.state, job.ended_at = state, time.monotonic()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if self._ended:
                    return
                job = self._waiting.pop(0)
                job.state = "running"
            state, result, error = _done(job)
            with self._changed:
                job.result, job.error = result, error
                self._finish(job, state)


def _done(job: Job) -> tuple[State, dict[str, Any] | None, str | None]:
    """Do a job; whatever it raises is its own end, not the queue's."""
    try:
        job.go_on()
        return "done", job.work(job), None
    except CancelledError:
        return "cancelled", None, None
    except MolyneuxError as error:
        return "failed", None, str(error)
    except Exception as error:  # the next job must find a thread that works
        if is_out_of_memory(error):
            return "failed", None, "memory ran out; ask for less, or end other programs"
        name = type(error).__name__
        return "failed", None, f"this was not foreseen ({name}); please report it"
