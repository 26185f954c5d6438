"""Jobs of the explorer: one at a time, in order, and each can be ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from molyneux.errors import PhotoError, UsageError
from molyneux.explore import jobs
from molyneux.explore.asked import AskChange, AskTransplant, FromRun, UnitSetAsked, read_asked
from molyneux.explore.jobs import Job, Queue


@pytest.fixture
def queue() -> Iterator[Queue]:
    found = Queue()
    yield found
    found.close()
    assert not found._thread.is_alive()


def ended(queue: Queue, name: str) -> dict[str, Any]:
    """Wait for a job, and return what became of it."""
    for _ in range(1000):
        found = queue.ask(name)
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.005)
    raise AssertionError(found)


class Held:
    """Work that goes on until it is let go, and looks between its steps."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> dict[str, Any]:
        self.begun.set()
        job.go_on("holding", 0.5)
        while not self.let_go.wait(0.005):
            job.go_on()
        return {"held": True}


def failing(error: Exception) -> Callable[[Job], dict[str, Any]]:
    def work(job: Job) -> dict[str, Any]:
        raise error

    return work


def test_jobs_are_done_in_order_and_say_how_many_are_ahead(queue: Queue) -> None:
    held, done = Held(), []
    first, place = queue.add(held)
    held.begun.wait(5)
    second, behind = queue.add(lambda job: done.append("second") or {})
    third, last = queue.add(lambda job: done.append("third") or {})
    assert (place in (0, 1), behind, last) == (True, 1, 2)
    now = queue.ask(first.id)
    assert (now["state"], now["note"], now["fraction"]) == ("running", "holding", 0.5)
    assert queue.ask(third.id)["place"] == 2
    assert done == []
    held.let_go.set()
    assert ended(queue, third.id)["state"] == "done"
    assert ended(queue, first.id)["result"] == {"held": True}
    assert done == ["second", "third"]
    assert second.state == "done"


def test_one_that_runs_ends_at_its_next_step_and_one_that_waits_at_once(queue: Queue) -> None:
    held = Held()
    first, _ = queue.add(held)
    held.begun.wait(5)
    second, _ = queue.add(lambda job: {})
    queue.cancel(second.id)
    assert queue.ask(second.id)["state"] == "cancelled"
    queue.cancel(first.id)
    assert ended(queue, first.id)["state"] == "cancelled"
    assert not held.let_go.is_set()
    # The thread takes the next one.
    assert ended(queue, queue.add(lambda job: {"next": 1})[0].id)["result"] == {"next": 1}


def test_what_goes_wrong_is_one_line_and_the_next_job_is_done(queue: Queue) -> None:
    known = ended(queue, queue.add(failing(PhotoError("it is torn")))[0].id)
    assert (known["state"], known["error"]) == ("failed", "it is torn")
    unknown = ended(queue, queue.add(failing(KeyError("/home/me/secret")))[0].id)
    assert unknown["state"] == "failed"
    assert "not foreseen (KeyError)" in unknown["error"]
    assert "secret" not in unknown["error"]
    assert "memory" in ended(queue, queue.add(failing(MemoryError()))[0].id)["error"]
    assert ended(queue, queue.add(lambda job: {})[0].id)["state"] == "done"


def test_a_job_that_nobody_asks_after_ends(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FORGOTTEN", 0.05)
    held = Held()
    job, _ = queue.add(held)
    held.begun.wait(5)
    time.sleep(0.1)
    for _ in range(200):
        if job.state == "cancelled":
            break
        time.sleep(0.005)
    assert job.state == "cancelled"


def test_results_are_forgotten_and_too_many_are_refused(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = queue.add(lambda job: {})
    ended(queue, job.id)
    monkeypatch.setattr(jobs, "KEPT", -1.0)
    with pytest.raises(UsageError, match="ended long ago"):
        queue.ask(job.id)
    monkeypatch.setattr(jobs, "MOST_WAITING", 1)
    held = Held()
    queue.add(held)
    held.begun.wait(5)
    queue.add(lambda job: {})
    with pytest.raises(UsageError, match="1 jobs are waiting"):
        queue.add(lambda job: {})
    held.let_go.set()


def test_what_is_asked_is_read() -> None:
    asked = read_asked(
        b'{"kind": "change", "photo": {"run": "r0", "n": 3}, "units": {"set": "total", "top": 9},'
        b' "value": {"scale": -2}, "ask": ["dog"]}'
    )
    assert isinstance(asked, AskChange)
    assert asked.photo == FromRun("r0", 3)
    assert asked.units == UnitSetAsked("total", 9)
    assert asked.ask == ("dog",)
    moved = read_asked(
        b'{"kind": "transplant", "from": {"sample": "bus"}, "into": {"upload": "x"}}'
    )
    assert isinstance(moved, AskTransplant)
    assert moved.units == "change"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON"),
        (b"[]", "the request"),
        (b'{"kind": "format"}', "kind"),
        (b'{"kind": "caption", "photo": {"path": "/etc/passwd"}}', "photo"),
        (b'{"kind": "caption", "photo": {"run": "r0", "n": 0}, "more": 1}', "more"),
        (b'{"kind": "change", "photo": {"sample": "a"}, "units": ["L1.u1; ls"]}', "units"),
        (
            '{"kind": "change", "photo": {"sample": "a"}, "units": ["L١.u1"]}'.encode(),
            "units",
        ),
        (
            b'{"kind": "change", "photo": {"sample": "a"}, "units": {"set": "raw", "top": -1}}',
            "units",
        ),
        (b'{"kind": "change", "photo": {"sample": "a"}, "units": [], "value": "NaN"}', "value"),
        (b'{"kind": "change", "photo": {"sample": "a"}, "units": [], "value": NaN}', "value"),
        (b'{"kind": "explain", "photo": {"sample": "a"}, "words": [""]}', "words"),
        (
            b'{"kind": "explain", "photo": {"sample": "a"}, "words": ["dog", " "]}',
            "words.1: a word to ask for is empty",
        ),
        (
            b'{"kind": "change", "photo": {"sample": "a"}, "units": [], "ask": ["\\t"]}',
            "ask.0: a word to ask for is empty",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(body: bytes, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read_asked(body)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
