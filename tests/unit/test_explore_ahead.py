"""What pages will ask for is read before they ask: once, and without harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_run import image, word, write_run

from molyneux.errors import RunError
from molyneux.explain.document import read_document
from molyneux.explain.tables import units_table
from molyneux.explore.ahead import reading_ahead
from molyneux.pages import unit_lists
from molyneux.pages.runs import open_runs
from molyneux.pages.views import Views


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    photos = [image("a.jpg", "a woman.", [word("woman")]), image("b.jpg", "a river.", [word("x")])]
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", photos)
    (folder / "units.parquet").write_bytes(units_table(read_document(folder).images))
    return folder


def views_of(run: Path) -> Views:
    return Views(open_runs([run]), lambda name, n: f"/api/image/{name}/{n}", at_once=0.0)


class Reads:
    """How often the table of units was read; each batch waits until it may go on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun: list[list[str]] = []
        self.here, self.may = threading.Event(), threading.Event()
        real = unit_lists._batches

        def read(run: Any, columns: list[str]) -> Iterator[Any]:
            self.begun.append(columns)
            self.here.set()
            assert self.may.wait(20)
            yield from real(run, columns)

        patch.setattr(unit_lists, "_batches", read)


def test_what_was_read_ahead_is_not_read_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = views_of(run)
    search = expected.get("search/r0")
    name = search["units"][3]["id"]
    unit = expected.get(f"unit/r0/{name}")
    reads = Reads(monkeypatch)
    reads.may.set()
    views = views_of(run)
    with reading_ahead(views) as thread:
        thread.join(20)
        assert not thread.is_alive()
        assert len(reads.begun) == 2
        assert len(views._cards["r0"]) == 2  # all of them, though an answer has time for one
        assert views.get(f"unit/r0/{name}") == unit
        assert views.get("search/r0")["units"] == search["units"]
    assert len(reads.begun) == 2


def test_one_who_asks_meanwhile_waits_for_the_same_reading(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = views_of(run).get("search/r0")["units"][0]["id"]
    expected = views_of(run).get(f"unit/r0/{name}")
    reads, found = Reads(monkeypatch), []
    views = views_of(run)
    with reading_ahead(views) as thread:
        assert reads.here.wait(20)
        asking = threading.Thread(target=lambda: found.append(views.get(f"unit/r0/{name}")))
        asking.start()
        asking.join(0.2)
        assert asking.is_alive()
        reads.may.set()
        asking.join(20)
        thread.join(20)
    assert found == [expected]
    assert len(reads.begun) == 2  # the places, and what is searched


def test_it_ends_with_the_server(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch)
    with reading_ahead(views_of(run)) as thread:
        assert reads.here.wait(20)
        threading.Timer(0.1, reads.may.set).start()
    assert not thread.is_alive()
    assert len(reads.begun) == 1  # it went no further than the piece that it was at


def test_a_damaged_table_is_told_to_whoever_asks_for_it(run: Path, tmp_path: Path) -> None:
    photos = [image("a.jpg", "a woman.", [word("woman")])]
    folder = write_run(tmp_path / "run", photos)
    (folder / "units.parquet").write_bytes(b"no table")
    views = views_of(folder)
    with reading_ahead(views) as thread:
        thread.join(20)
        assert not thread.is_alive()
        with pytest.raises(RunError, match="missing or damaged"):
            views.get("unit/r0/L0.u1")
        assert views.get("gallery/r0")["cards"]
